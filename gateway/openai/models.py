"""`/v1/models`: the names that requests may name."""

import orjson
from aiohttp import web

from gateway.app import GATEWAY
from gateway.openai.asking import served_models


async def list_models(request: web.Request) -> web.StreamResponse:
    """The models that `openai_models` names."""
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "contextd"}
        for name in served_models(request.app[GATEWAY])
    ]
    body = orjson.dumps({"object": "list", "data": models})
    return web.Response(body=body, content_type="application/json")
