"""`/v1/models`: the names that requests may name."""

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY
from gateway.openai.asking import served_models


async def list_models(request: web.Request) -> web.StreamResponse:
    """The models that `openai_models` names."""
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "contextd"}
        for name in served_models(request.app[GATEWAY])
    ]
    return json_response({"object": "list", "data": models})
