"""The quotas and rates of an owner, and how much of them is used."""

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY
from storage import rfc3339, usage_of


async def get_limits(request: web.Request) -> web.StreamResponse:
    """The quotas and rates of the owner who asks."""
    gateway = request.app[GATEWAY]
    owner, quotas = gateway.owner_of(request), gateway.store.config
    usage = await usage_of(gateway.store.link, owner)
    levels = await gateway.limits.levels_of(owner)
    body = {
        "owner": owner,
        "contexts": _allowance(quotas.contexts_per_owner_max, usage.contexts),
        "turns": _allowance(quotas.turns_per_owner_max, usage.turns),
        "tokens_today": _allowance(quotas.tokens_per_owner_day_max, usage.tokens),
        "today_ends_at": rfc3339(usage.day_ends_at_ms),
        "streams": _allowance(
            gateway.config.streams_per_owner_max, gateway.limits.streams_of(owner)
        ),
        "messages_per_context": quotas.messages_per_context_max or None,
        "bytes_per_context": quotas.bytes_per_context_max or None,
        "rates": {
            traffic: {"per_minute": rate.per_minute, "burst": rate.burst, "left": left}
            for traffic, (rate, left) in levels.items()
        },
    }
    return json_response(body)


def _allowance(most: int, used: int) -> dict[str, int | None]:
    return {"limit": most or None, "used": used}
