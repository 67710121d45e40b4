"""What gateways serve of other rooms (pages, statistics), handed in by runtime/."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp.typedefs import Middleware

from gateway.channel import Channel
from gateway.route import Route

Helper: TypeAlias = Callable[[], Coroutine[object, object, None]]
"""Runs until it is cancelled."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Extension:
    """What one other room adds to a gateway."""

    routes: Sequence[Route] = ()
    """Guarded, limited and described like the gateway's own."""
    middlewares: Sequence[Middleware] = ()
    """Around everything, errors included: they see the answer as the client gets it."""
    helpers: Sequence[Helper] = ()
    """Run for as long as the gateway serves."""
    channels: Sequence[Channel] = ()
    """Described like the gateway's own."""
    say_bye: Callable[[], None] = _nothing
    """Called once when the gateway begins to drain."""
    load: Callable[[], Mapping[str, int]] = dict
    """What it has at work."""
