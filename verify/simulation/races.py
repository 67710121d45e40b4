"""Sixteen clients who send at the same moment, under each policy, while processes die.

Invariant: a seed decides everything, as in `verify/simulation/explorer.py`; only the first turn
is the same in each run, so that the sends come while it runs.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from fsm import SendPolicy
from verify.promises import check_policy
from verify.simulation.chances import RandomPlan
from verify.simulation.clients import Client
from verify.simulation.clock import VirtualTimeLoop
from verify.simulation.configuration import configuration
from verify.simulation.explorer import ExploreReport
from verify.simulation.run import Ran, Scene, run, silent
from verify.simulation.scenarios import see_through
from verify.simulation.server import Server, open_server
from verify.simulation.world import script_names

RACERS: Final = 16
SPREAD_S: Final = 0.25
"""Over which the sends are spread; the first turn takes longer."""
ANSWERED: Final = "/chunks 3 15"
_FIRST: Final = "/chunks 30 12"
_FIRST_STEERED: Final = '/tool look {"pause_ms": 200}'
_RETRIES_MAX: Final = 5


def run_race(
    server: Server, scripts: Mapping[bytes, str], policy: SendPolicy, seed: int
) -> Ran:
    """One race, judged."""
    drawn = configuration(seed)
    settings = replace(
        drawn.settings, gateways=2, mailbox_max=256, linger_s=max(drawn.settings.linger_s, 0.3)
    )
    configured = replace(drawn, settings=settings, death=0.004)

    def plan(_loop: VirtualTimeLoop, note: Callable[[str], None]) -> RandomPlan:
        return RandomPlan(seed, configured, note)

    async def story(scene: Scene) -> None:
        await _race(scene, policy)

    seeded = f"{policy} {seed}"
    ran = run(server, scripts, plan=plan, settings=settings, story=story, seed=seeded)
    records = ran.records
    broken = [v for log in records.logs for v in check_policy(policy, records.operations, log)]
    return replace(ran, violations=(*ran.violations, *broken))


async def _race(scene: Scene, policy: SendPolicy) -> None:
    scene.linearized_max = 0  # all overlap: there are too many orders to search
    context_id = await scene.create(
        {
            "tool_policy": {"mode": "auto_loop"},
            "limits": {"attempts_max": 20, "backoff_ms_base": 1},
        }
    )
    scene.watch("v0", context_id)
    scene.watch("v1", context_id, leaves_after_s=0.1)
    first = _FIRST_STEERED if policy == "steer" else _FIRST
    await scene.client("first").act(context_id, "send_message", {"content": f"m0\n{first}"})
    async with asyncio.TaskGroup() as group:
        for number in range(1, RACERS + 1):
            client = scene.client(f"c{number}")
            pause_s = scene.rng(f"pause {number}").random() * SPREAD_S
            content = f"m{number}\n{ANSWERED}"
            group.create_task(_send(client, context_id, content, policy, pause_s))
    scene.calm()
    judge = scene.client("person")
    for _ in range(_RETRIES_MAX):
        context = await see_through(judge, context_id)
        if context is None or context["status"] != "failed":
            return
        await judge.act(context_id, "retry", {})


async def _send(
    client: Client, context_id: str, content: str, policy: SendPolicy, pause_s: float
) -> None:
    await asyncio.sleep(pause_s)
    await client.act(context_id, "send_message", {"content": content, "policy": policy})


def race(server_path: Path, policy: SendPolicy, seeds: Iterable[int]) -> ExploreReport:
    """Run a policy's races on a server of their own.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    report = ExploreReport()
    with silent(), open_server(server_path) as server:
        scripts = script_names(server)
        for seed in seeds:
            report.count(f"races/{policy}", seed, run_race(server, scripts, policy, seed))
    return report


def replay_race(server_path: Path, policy: SendPolicy, seed: int) -> Ran:
    """One race again.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    with silent(), open_server(server_path) as server:
        return run_race(server, script_names(server), policy, seed)
