"""What clients do while a process is about to die: one short conversation each.

Each goes on, by repeats, whatever dies, and returns once the context rests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from verify.chaos import witness
from verify.chaos.api import Api
from verify.chaos.clients import RESTS, Approvals
from verify.records import Json, Outcome

POLL_S = 0.01
POLL_S_MAX = 0.1
DECISIONS_MAX = 20
_NOT_SEEN = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
Component = Literal["worker", "gateway"]


class Stuck(Exception):
    """A context did not come to rest in time; the message holds its last state."""


@dataclass(slots=True)
class Stage:
    """What a scenario plays on."""

    api: Api
    context_id: str
    serial: str
    """Unique in the run: texts and keys are made of it."""
    approvals: Approvals
    drain: Callable[[], None]
    """Asks the worker to drain."""
    rest_s_max: float
    _flushes: int = 0
    seen: set[str] = field(default_factory=set[str])
    """Statuses and the like that were seen on the way."""

    async def send(self, text: str, *, number: int = 0) -> None:
        """Send a message under a key of its own."""
        text = f"{self.serial}.{number} {text}"
        await self.api.act(
            self.context_id,
            "send_message",
            {"content": text},
            key=f"{self.serial}.send.{number}",
            content=text,
        )

    async def until(self, reached: Callable[[Json], object]) -> Json:
        """Poll until the state is as wanted, or it is gone (None).

        Raises:
            Stuck: It is not in time.
        """
        state: Json = None
        pause_s = POLL_S
        due_s = time.monotonic() + self.rest_s_max
        while time.monotonic() < due_s:
            state = await self.api.read(self.context_id) or state
            if state is not None and reached(state):
                return state
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_S_MAX, pause_s * 1.3)
        raise Stuck(str(state)[:2_000])

    async def until_gone(self) -> None:
        """Poll until the context is not found any more.

        Raises:
            Stuck: It still is, when the time is over.
        """
        due_s = time.monotonic() + self.rest_s_max
        while not await self.api.is_gone(self.context_id):
            if time.monotonic() > due_s:
                raise Stuck("it was deleted and is still there")
            await asyncio.sleep(POLL_S)

    async def rest(self) -> Json:
        """Decide what waits for a person until the context is idle.

        Raises:
            Stuck: It is not in time.
        """
        if any(one.outcome in _NOT_SEEN for one in self.api.records.operations):
            self._flushes += 1
            key = f"{self.serial}.flush.{self._flushes}"
            if not await self.api.flush(self.context_id, key, within_s=self.rest_s_max):
                raise Stuck("what was accepted is not applied")
        state: Json = None
        for _ in range(DECISIONS_MAX):
            state = await self.until(
                lambda now: (
                    (now["status"] in RESTS and not now["queue"])
                    or now["status"] == "awaiting_tool_approval"
                )
            )
            if state["status"] != "awaiting_tool_approval":
                if state["status"] == "failed":
                    self.seen.add("failed")
                return state
            await self.decide(state)
        raise Stuck(f"{DECISIONS_MAX} decisions, and still one to make: {str(state)[:2_000]}")

    async def decide(self, state: Json) -> None:
        """Approve what waits, deny what may have run."""
        for call in state["pending_tool_calls"]:
            body: Json
            if call["approval_status"] == "outcome_unknown":
                self.seen.add("person asked")
                body = {"deny": [{"id": call["id"], "reason": "It may have run."}]}
                key = f"{self.serial}.deny.{call['id']}"
            else:
                self.approvals.consented.add(witness.text_of(call["arguments"]))
                body, key = {"tool_call_ids": [call["id"]]}, f"{self.serial}.{call['id']}"
            await self.api.act(self.context_id, "approve_tools", body, key=key)


Scenario = Callable[[Stage], Awaitable[None]]


async def send(stage: Stage) -> None:
    """One message, one reply."""
    await stage.send("hello")
    await stage.rest()


async def stream(stage: Stage) -> None:
    """A reply in chunks."""
    await stage.send("\n/chunks 8 3")
    await stage.rest()


async def queue(stage: Stage) -> None:
    """Two messages, one of which waits."""
    await stage.send("\n/chunks 4 2", number=0)
    await stage.send("and?", number=1)
    await stage.rest()


async def once_tool(stage: Stage) -> None:
    """A tool declared `once`, approved by a person."""
    text = f"{stage.serial}.0"
    content = witness.asking_for(text)
    await stage.api.act(
        stage.context_id,
        "send_message",
        {"content": content},
        key=f"{stage.serial}.send.0",
        content=content,
    )
    await stage.rest()


async def deny(stage: Stage) -> None:
    """The same tool, denied."""
    text = f"{stage.serial}.0"
    content = witness.asking_for(text)
    await stage.api.act(
        stage.context_id,
        "send_message",
        {"content": content},
        key=f"{stage.serial}.send.0",
        content=content,
    )
    state = await stage.until(lambda now: now["status"] == "awaiting_tool_approval")
    denied = [{"id": call["id"], "reason": "No."} for call in state["pending_tool_calls"]]
    await stage.api.act(
        stage.context_id, "approve_tools", {"deny": denied}, key=f"{stage.serial}.deny"
    )
    await stage.rest()


async def cancel(stage: Stage) -> None:
    """A reply that is stopped in its middle."""
    await stage.send("\n/chunks 2000 5")
    await stage.until(lambda now: now["draft"] is not None)
    await stage.api.act(stage.context_id, "cancel", {}, key=f"{stage.serial}.cancel")
    await stage.rest()


async def drain(stage: Stage) -> None:
    """The worker is told to stop in the middle of a reply."""
    await stage.send("\n/chunks 30 5")
    await stage.until(lambda now: now["draft"] is not None)
    stage.drain()
    await stage.rest()


async def delete(stage: Stage) -> None:
    """A context that is deleted after a turn."""
    await stage.send("hello")
    await stage.rest()
    await stage.api.act(stage.context_id, "delete", {}, key=f"{stage.serial}.delete")
    await stage.until_gone()


WORKER_SCENARIOS: dict[str, Scenario] = {
    "send": send,
    "stream": stream,
    "queue": queue,
    "once tool": once_tool,
    "denied tool": deny,
    "cancel": cancel,
    "drain": drain,
    "delete": delete,
}
"""Each ends with passivation: the worker lets a context go as soon as it rests."""
GATEWAY_SCENARIOS: dict[str, Scenario] = {
    "send": send,
    "stream": stream,
    "once tool": once_tool,
    "cancel": cancel,
}
