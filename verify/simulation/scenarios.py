"""What clients do while processes die: one short story for each promise that a death may break.

Invariant: a story goes on until its contexts rest, whatever dies meanwhile; a person decides
whatever waits for one.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from verify.records import Json
from verify.simulation.clients import Client
from verify.simulation.run import Scene, Story
from verify.simulation.settings import Settings

SEEN_THROUGH_S_MAX: Final = 60.0
_RESTING: Final = (*("idle", "awaiting_tool_approval", "awaiting_answer", "failed", "paused"),)
_DECIDED: Final = ("awaiting_tool_approval", "awaiting_answer")
_MANUAL: Final[Mapping[str, Json]] = {"tool_policy": {"mode": "manual"}}
_AUTO: Final[Mapping[str, Json]] = {"tool_policy": {"mode": "auto_loop"}}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story and how it is set up."""

    name: str
    story: Story
    settings: Settings = field(default_factory=Settings)


async def see_through(client: Client, context_id: str) -> Json | None:
    """Decide whatever waits for a person until the context rests otherwise."""
    for _ in range(8):
        context = await client.until(context_id, _RESTING, within_s=SEEN_THROUGH_S_MAX)
        if context is None or context["status"] not in _DECIDED:
            return context
        for question in context["pending_questions"]:
            body = {"question_id": question["id"], "content": "Yes."}
            await client.act(context_id, "answer", body)
        calls = context["pending_tool_calls"]
        waiting = [call["id"] for call in calls if call["approval_status"] == "pending"]
        unknown = [call["id"] for call in calls if call["approval_status"] == "outcome_unknown"]
        if waiting or unknown:
            decision = {
                "tool_call_ids": waiting,
                "deny": [{"id": call_id, "reason": "Who knows."} for call_id in unknown],
            }
            await client.act(context_id, "approve_tools", decision)
    return None


async def _send(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 2 5"})
    await see_through(ada, context_id)
    await ada.act(context_id, "send_message", {"content": "m2\n/chunks 2 5"})
    await see_through(ada, context_id)


async def _stream(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id)
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 5 30"})
    scene.watch("v2", context_id)
    await see_through(ada, context_id)


async def _approve(scene: Scene) -> None:
    context_id = await scene.create(_MANUAL)
    ada, bob = scene.client("ada"), scene.client("bob")
    await ada.act(context_id, "send_message", {"content": "m1\n/tool look {}\n/tool look {}"})
    context = await ada.until(context_id, _RESTING)
    if context is not None and context["pending_tool_calls"]:
        ids = [call["id"] for call in context["pending_tool_calls"]]
        body: Mapping[str, Json] = {"tool_call_ids": ids[:1], "deny": [{"id": ids[-1]}]}
        async with asyncio.TaskGroup() as group:
            group.create_task(_act(ada, context_id, "approve_tools", body))
            group.create_task(_act(bob, context_id, "approve_tools", body))
    await see_through(ada, context_id)


async def _act(client: Client, context_id: str, kind: str, body: Mapping[str, Json]) -> None:
    await client.act(context_id, kind, body)


async def _once(scene: Scene) -> None:
    context_id = await scene.create(_AUTO)
    ada = scene.client("ada")
    said = "m1\n/tool charge {}\n/tool charge {}"
    await ada.act(context_id, "send_message", {"content": said})
    await see_through(ada, context_id)


async def _cancel(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id)
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 40 20"})
    await ada.act(context_id, "send_message", {"content": "m2\n/chunks 1 1"})
    await asyncio.sleep(0.1)
    await ada.act(context_id, "cancel", {})
    await see_through(ada, context_id)


async def _takeover(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id)
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 6 40"})
    await asyncio.sleep(0.1)
    frozen = [*scene.world.workers.values()][:1]
    for living in frozen:
        living.process.freeze()
    await asyncio.sleep(scene.world.settings.session_s)
    await ada.act(context_id, "send_message", {"content": "m2\n/chunks 6 40"})
    await asyncio.sleep(0.1)
    for living in frozen:
        living.process.thaw()
    await see_through(ada, context_id)


async def _passivate(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    for number in range(1, 4):
        said = f"m{number}\n/chunks 1 1"
        await ada.act(context_id, "send_message", {"content": said})
        await asyncio.sleep(0.05)


async def _delete(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id)
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 20 20"})
    await asyncio.sleep(0.1)
    await ada.act(context_id, "delete", {})
    await ada.read(context_id)


async def _snapshot(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    for number in range(1, 3):
        said = f"m{number}\n/chunks 1 1"
        await ada.act(context_id, "send_message", {"content": said})
    await see_through(ada, context_id)
    await asyncio.sleep(0.1)
    await ada.act(context_id, "rename", {"title": "Once more"})
    await see_through(ada, context_id)


async def _compact(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id, leaves_after_s=0.4)
    for number in range(1, 5):
        said = f"m{number}\n/chunks 1 1"
        await ada.act(context_id, "send_message", {"content": said})
        await see_through(ada, context_id)
        await asyncio.sleep(0.2)


async def _restart(scene: Scene) -> None:
    context_id = await scene.create()
    ada = scene.client("ada")
    scene.watch("v1", context_id)
    await ada.act(context_id, "send_message", {"content": "m1\n/chunks 6 50"})
    await asyncio.sleep(0.1)
    for living in (*scene.world.workers.values(), *scene.world.gateways.values()):
        living.stop.set()
        await asyncio.sleep(0.1)
    await ada.act(context_id, "send_message", {"content": "m2\n/chunks 1 1"})
    await see_through(ada, context_id)


SCENARIOS: Final = (
    Scenario("send", _send),
    Scenario("stream", _stream),
    Scenario("approve", _approve),
    Scenario("tool once", _once),
    Scenario("cancel", _cancel),
    Scenario("takeover", _takeover, Settings(workers=2, session_s=2.0, supervised=False)),
    Scenario("passivate", _passivate, Settings(linger_s=0.05)),
    Scenario("delete", _delete),
    Scenario("snapshot in the store", _snapshot, Settings(snapshot_events=2, linger_s=0.05)),
    Scenario(
        "snapshot as JSON",
        _snapshot,
        Settings(snapshot_events=2, linger_s=0.05, json_snapshots=True),
    ),
    Scenario("compact", _compact, Settings(log_events_max=4, linger_s=0.05)),
    Scenario("restart", _restart, Settings(workers=2, gateways=2, drain_s=0.1)),
)
"""Every story of `run_crash_points`."""
