"""`/v1/models`: the models that requests may name."""

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY
from gateway.openai.asking import check_model, served_models


async def list_models(request: web.Request) -> web.StreamResponse:
    """The models that `openai_models` names."""
    models = [_model(name) for name in served_models(request.app[GATEWAY])]
    return json_response({"object": "list", "data": models})


async def get_model(request: web.Request) -> web.StreamResponse:
    """A model that requests may name."""
    name = request.match_info["model"]
    check_model(request.app[GATEWAY], name)
    return json_response(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "contextd"}
