"""Tickets: a credential for browsers' streams, which can set no header."""

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY
from gateway.guard import PRINCIPAL
from storage import rfc3339


async def issue_ticket(request: web.Request) -> web.StreamResponse:
    """Make a ticket for the client."""
    gateway = request.app[GATEWAY]
    ticket = await gateway.guard.issue(request[PRINCIPAL])
    expires_at = rfc3339(gateway.clock() + round(gateway.config.ticket_s * 1_000))
    body = {"ticket": ticket, "expires_at": expires_at}
    return json_response(body, status=201)
