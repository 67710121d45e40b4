"""How patient a client is: every bound of the room, and how long it waits between tries."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

Sleep: TypeAlias = Callable[[float], Awaitable[None]]
Draw: TypeAlias = Callable[[], float]
"""Draws a number from [0, 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Bounds of one client."""

    tries_max: int = 8
    """How often a request is sent, or a stream opened in a row, before it is given up."""
    first_tries_max: int = 3
    """The same while no request was ever answered: then the address is most often wrong."""
    connect_s_max: float = 10.0
    answer_s_max: float = 30.0
    """For one try; what the server was asked to wait comes on top."""
    silence_s_max: float = 45.0
    """Of a stream; the server sends a comment each 15 s, so three are missed."""
    backoff_s_base: float = 0.2
    """Longest wait before the second try; doubled for each further one."""
    backoff_s_max: float = 5.0
    retry_after_s_max: float = 60.0
    """A server that asks for a longer wait is not waited for."""
    connections_max: int = 1_000
    """A stream takes one for as long as it is open."""
    context_bytes_max: int = 67_108_864
    """Of one answer and of one event; some hold a whole context."""


LIMITS: Final = ClientLimits()
"""The defaults."""


def pause_s(limits: ClientLimits, *, failures: int, asked_s: float, drawn: float) -> float:
    """Wait before the next try, after so many `failures` in a row.

    Jitter comes on top of what the server asks for: a thousand clients were told the same.
    """
    window_s = limits.backoff_s_base * 2.0 ** min(failures - 1, 64)
    return asked_s + min(limits.backoff_s_max, window_s) * (0.5 + drawn / 2)
