"""Puts a gateway together and serves it."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from gateway.app import GATEWAY, Gateway, answer_errors
from gateway.clients import PROXIES, read_proxies
from gateway.config import GatewayConfig
from gateway.connection import LINGER_S, Connections
from gateway.directory import Directory
from gateway.extension import Extension
from gateway.limits import show_levels
from gateway.routes import add_routes
from gateway.tls import tls_context
from storage import Store, unix_ms

log = structlog.get_logger(__name__)

BACKLOG = 1_024
LOOK_S = 0.1
"""How often a stopping gateway looks whether anybody is still connected."""


def make_app(gateway: Gateway, extensions: Sequence[Extension] = ()) -> web.Application:
    """The aiohttp application of a gateway."""
    around = [middleware for each in extensions for middleware in each.middlewares]
    app = web.Application(
        middlewares=[*around, answer_errors], client_max_size=gateway.config.body_bytes_max
    )
    app[GATEWAY] = gateway
    app[PROXIES] = read_proxies(gateway.config.trusted_proxies)
    app.on_response_prepare.append(gateway.browsers.protect)
    app.on_response_prepare.append(_end_connections_when_stopping)
    if gateway.limits.have_rates:
        app.on_response_prepare.append(show_levels)
    add_routes(
        app,
        (route for each in extensions for route in each.routes),
        (channel for each in extensions for channel in each.channels),
    )
    return app


async def _end_connections_when_stopping(
    request: web.Request, response: web.StreamResponse
) -> None:
    # A socket's handshake says Upgrade there; its end says bye.
    if request.app[GATEWAY].stopping.is_set() and not isinstance(
        response, web.WebSocketResponse
    ):
        response.force_close()
        # Headers were made before; a client that is not told uses the connection again.
        response.headers["Connection"] = "close"


async def serve(
    config: GatewayConfig,
    store: Store,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    listener: socket.socket | None = None,
    extensions: Sequence[Extension] = (),
) -> int:
    """Serve until `stop` is set, then drain.

    Streams get a `bye` and reconnect elsewhere; requests under way are answered.

    Args:
        config: Address and limits.
        store: Where the contexts are.
        stop: Set it to drain and return.
        ready: Called once, when connections are accepted.
        listener: A listening socket to accept connections of; None: one of its own.
        extensions: What else is served.

    Returns:
        How many streams were sent elsewhere.

    Raises:
        BadCertificate: TLS is configured and cannot be spoken.
        OSError: The address cannot be listened on.
    """
    tls = tls_context(config)
    async with asyncio.TaskGroup() as group:
        gateway = Gateway(config, store, Directory(store, config, group), unix_ms, stop)
        helpers = (
            group.create_task(gateway.directory.sweep(), name="feeds-sweep"),
            group.create_task(gateway.directory.check_feeds(), name="feeds-check"),
            group.create_task(gateway.viewers.keep_alive(), name="viewers-keep-alive"),
            group.create_task(gateway.guard.check_streams(), name="streams-check"),
            group.create_task(gateway.limits.settle(), name="limits-settle"),
            *(group.create_task(helper()) for each in extensions for helper in each.helpers),
        )
        runner = web.AppRunner(
            make_app(gateway, extensions),
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=config.gateway_drain_s,
        )
        await runner.setup()
        assert runner.server is not None, "it was set up"
        connections = Connections(runner.server, config)
        accepting = await asyncio.get_running_loop().create_server(
            connections,
            sock=listener or _listen(config),
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=config.head_s_max if tls else None,
            ssl_shutdown_timeout=LINGER_S if tls else None,
        )
        parts = (gateway.load, *(each.load for each in extensions))
        process_id = f"gateway-{os.getpid()}-{secrets.token_hex(3)}"
        store.begin(
            *("gateway", process_id),
            lambda: {name: n for part in parts for name, n in part().items()},
        )
        ready()
        await stop.wait()
        store.meters.draining = True
        accepting.close()
        gateway.end_waits()
        moved = gateway.viewers.say_bye()
        for each in extensions:
            each.say_bye()
        # Clients that keep a connection may be just about to use it: they are answered, and
        # told with the answer that it ends.
        await _until_alone(connections, config.farewell_s)
        await runner.cleanup()
        gateway.directory.close()
        for helper in helpers:
            helper.cancel()
        await store.leave()
    log.info("gateway drained", port=config.port, moved=moved)
    return moved


async def _until_alone(connections: Connections, seconds: float) -> None:
    """Wait until no connection is left, so many seconds at most."""
    while seconds > 0:
        # What was accepted just now is counted after the first of these.
        await asyncio.sleep(min(LOOK_S, seconds))
        if not connections.open:
            return
        seconds -= LOOK_S


def _listen(config: GatewayConfig) -> socket.socket:
    """A listening socket that several gateways of this machine can share."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((config.host, config.port))
    listener.setblocking(False)
    return listener
