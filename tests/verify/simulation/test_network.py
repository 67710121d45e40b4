"""The store as the simulated processes reach it."""

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

from verify.simulation.clock import VirtualTimeLoop
from verify.simulation.network import Network

if TYPE_CHECKING:
    from verify.simulation.fates import Plan
    from verify.simulation.server import Server

RENEW: Final = b"digest of renew"
WITHIN_S: Final = 4e-10
"""Timers so close to each other go off in one turn of the loop, the later ones too early."""


def test_sessions_that_end_in_one_moment_all_end() -> None:
    loop = VirtualTimeLoop()
    deleted: list[object] = []

    def call(*command: object) -> object:
        if command[0] == "DEL":
            deleted.append(command[1])
        return [b"alive"]

    server = cast("Server", SimpleNamespace(call=call, call_published=call))
    plan = cast("Plan", SimpleNamespace())
    network = Network(server, loop, plan, scripts={RENEW: "renew"}, session_s=3.0)

    async def story() -> None:
        for name in (b"one", b"two"):
            network.execute((b"EVALSHA", RENEW, b"2", name))
            await asyncio.sleep(WITHIN_S)
        await asyncio.sleep(2.9)
        assert deleted == []
        await asyncio.sleep(0.2)

    loop.run_until_complete(story())
    loop.close()
    assert deleted == [b"one", b"two"]
