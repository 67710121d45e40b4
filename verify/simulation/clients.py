"""Clients of a run: they act, read, watch, give up as programs do, and write it down.

Invariant: a client knows nothing but what it was answered; all tries of one action go out
under one Idempotency-Key with one body.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from verify.records import (
    Connection,
    Cursor,
    Final as FinalState,
    Json,
    Log,
    Operation,
    Outcome,
    Read,
    StreamFrame,
    StreamRecording,
    number_of,
)
from verify.simulation.http import Answer, Cut, Door, ask, listen
from verify.simulation.world import World

ANSWERED_S_MAX: Final = 8.0
"""How long a client waits for an answer."""
AGAIN_S: Final = 0.05
"""How long a client waits before it tries again, at least."""
TRIES_MAX: Final = 60
STALE: Final = "contextd-stale"
"""Header of a read that promises nothing: the store did not answer."""


@dataclass(slots=True, eq=False)
class Records:
    """What the clients of a run have written down."""

    operations: list[Operation] = field(default_factory=list[Operation])
    reads: list[Read] = field(default_factory=list[Read])
    streams: list[StreamRecording] = field(default_factory=list[StreamRecording])
    finals: list[FinalState] = field(default_factory=list[FinalState])
    logs: list[Log] = field(default_factory=list[Log])

    @property
    def count(self) -> int:
        """Operations, reads among them."""
        return len(self.operations) + len(self.reads)

    @property
    def acknowledged(self) -> int:
        """Those whose outcome was answered."""
        unknown = sum(one.outcome is Outcome.UNKNOWN for one in self.operations)
        return self.count - unknown


@dataclass(slots=True, eq=False)
class Client:
    """A client of the service; it uses any gateway."""

    name: str
    world: World
    records: Records
    rng: random.Random
    gives_up_s: float = 120.0
    """How long it goes on trying."""
    send_policy: str = "enqueue"
    """Of its messages that do not bring their own, as the contexts are configured."""
    _keys: int = 0

    def _now_s(self) -> float:
        return self.world.loop.time()

    def _door(self) -> Door | None:
        doors = [living.door for living in self.world.gateways.values() if living.door]
        doors = [door for door in doors if door.server is not None]
        return self.rng.choice(doors) if doors else None

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: object
    ) -> Answer | str:
        """The answer to a request, or why there is none."""
        door = self._door()
        if door is None:
            return "refused"
        try:
            return await ask(
                door, method, path, headers=headers, body=body, within_s=ANSWERED_S_MAX
            )
        except Cut as cut:
            return str(cut)
        except TimeoutError:
            return "TimeoutError"

    async def act(
        self,
        context_id: str,
        kind: str,
        body: Mapping[str, Json],
        *,
        key: str | None = None,
        wait_s: int | None = None,
        takes: Sequence[str] = (),
    ) -> Operation:
        """Do an action, repeating it until the answer says what became of it.

        Args:
            context_id: Where.
            kind: The action's name.
            body: What it holds.
            key: Idempotency-Key of all tries; None: a new one.
            wait_s: How long to wait for the turn to rest; None: not for that.
            takes: Texts of waiting messages that an `update_queue` names.
        """
        self._keys += 1
        key = key or f"{self.name}-{self._keys}"
        headers = {"Idempotency-Key": key}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        called_s = self._now_s()
        unheard = False
        last = ""
        tries = 0
        path = f"/api/contexts/{context_id}/actions/{kind}"
        operation = Operation(
            client=self.name,
            context_id=context_id,
            kind=kind,
            called_s=called_s,
            key=key,
            content=_said(kind, body),
            takes=tuple(takes),
            policy=body.get("policy", self.send_policy) if kind == "send_message" else None,
            later="not_before" in body,
            tool_call_ids=tuple(body.get("tool_call_ids", ())),
            denied_ids=tuple(denial["id"] for denial in body.get("deny", ())),
        )
        while tries < TRIES_MAX and self._now_s() - called_s < self.gives_up_s:
            tries += 1
            answer = await self._ask("POST", path, headers, body)
            if not isinstance(answer, str) and answer.status < 500:
                settled = _settled(operation, answer, self._now_s(), tries, unheard=unheard)
                if settled is not None:
                    self.records.operations.append(settled)
                    self.world.note(
                        f"{self.name} {kind} {key} {settled.outcome} v{settled.version} "
                        f"{settled.code or ''}"
                    )
                    return settled
                last = str(answer.status)
            else:
                last = answer if isinstance(answer, str) else str(answer.status)
                unheard = unheard or last != "refused"
            await asyncio.sleep(AGAIN_S * (1 + 3 * self.rng.random()))
        unknown = replace(operation, outcome=Outcome.UNKNOWN, code=last, tries=tries)
        self.records.operations.append(unknown)
        self.world.note(f"{self.name} {kind} {key} unknown {last}")
        return unknown

    async def read(self, context_id: str) -> Json | None:
        """Poll once; None if there was no answer, or no such context."""
        called_s = self._now_s()
        answer = await self._ask("GET", f"/api/contexts/{context_id}/state", {}, None)
        if isinstance(answer, str) or answer.status >= 500:
            return None
        if answer.headers.get(STALE) == "true":
            self.world.note(f"{self.name} reads {context_id[-2:]}: stale")
            return None
        returned_s = self._now_s()
        if answer.status != 200:
            self.records.reads.append(
                Read(
                    client=self.name,
                    context_id=context_id,
                    called_s=called_s,
                    returned_s=returned_s,
                    found=False,
                )
            )
            self.world.note(f"{self.name} reads {context_id[-2:]}: {answer.status}")
            return None
        context = answer.json()["context"]
        read = Read.of(context, client=self.name, called_s=called_s, returned_s=returned_s)
        self.records.reads.append(read)
        self.world.note(
            f"{self.name} reads {context_id[-2:]}: v{read.version} n{read.n} {read.status}"
        )
        return context

    async def export(self, context_id: str, *, within_s: float) -> Log | None:
        """A context's log, as far as there is one; None if it cannot be had."""
        ends_s = self._now_s() + within_s
        path = f"/api/contexts/{context_id}/export"
        while self._now_s() < ends_s:
            answer = await self._ask("GET", path, {}, None)
            if not isinstance(answer, str) and answer.status == 200:
                document = answer.json()
                after = document["version"] - len(document["events"])
                events = tuple(document["events"])
                return Log(context_id=context_id, events=events, after=after)
            await asyncio.sleep(AGAIN_S)
        return None

    async def until(
        self, context_id: str, statuses: Sequence[str], *, within_s: float = 60.0
    ) -> Json | None:
        """Poll until a context has one of these statuses; None if it never has, or is gone."""
        ends_s = self._now_s() + within_s
        while self._now_s() < ends_s:
            gone = len(self.records.reads)
            context = await self.read(context_id)
            if context is not None and context["status"] in statuses:
                return context
            if len(self.records.reads) > gone and not self.records.reads[-1].found:
                return None
            await asyncio.sleep(AGAIN_S)
        return None


@dataclass(slots=True, eq=False)
class Viewer:
    """A viewer of a context; it reconnects whenever its stream ends."""

    name: str
    context_id: str
    world: World
    rng: random.Random
    leaves_after_s: float = 0.0
    """Now and then it goes away by itself after about so long; 0: never."""
    frames: list[StreamFrame] = field(default_factory=list[StreamFrame])
    connections: list[Connection] = field(default_factory=list[Connection])
    _at: str | None = None

    async def watch(self) -> None:
        """Watch until cancelled, or until the context is deleted."""
        while True:
            doors = [g.door for g in self.world.gateways.values() if g.door]
            doors = [door for door in doors if door.server is not None]
            if doors and await self._connect(self.rng.choice(doors)):
                return
            await asyncio.sleep(AGAIN_S * (1 + self.rng.random()))

    async def _connect(self, door: Door) -> bool:
        """One connection; True if there is nothing more to see."""
        opened_s = self.world.loop.time()
        number = len(self.connections)
        at = self._at
        statuses: list[int] = []
        path = f"/api/contexts/{self.context_id}/events"
        leaves_s = None
        if self.leaves_after_s:
            leaves_s = self.leaves_after_s * (0.2 + 2 * self.rng.random())
        try:
            async with (
                asyncio.timeout(leaves_s),
                contextlib.aclosing(
                    listen(door, path, last_event_id=at, answered=statuses.append)
                ) as said,
            ):
                async for one in said:
                    if not self.connections[number:]:
                        self.connections.append(Connection(opened_s=opened_s, last_event_id=at))
                    self.frames.append(
                        StreamFrame(one.id, one.event, one.data, self.world.loop.time(), number)
                    )
                    self._at = one.id or self._at
                    self.world.note(f"{self.name} sees {one.event} {one.id}")
        except (Cut, TimeoutError):
            pass
        finally:
            if self.connections[number:]:
                self.connections[number] = Connection(
                    opened_s=opened_s, last_event_id=at, closed_s=self.world.loop.time()
                )
        deleted = bool(self.frames) and self.frames[-1].event == "context-deleted"
        return deleted or statuses == [404]

    @property
    def version(self) -> int:
        """Up to where it has seen the context; 0 before its first frame."""
        return Cursor.parse(self._at).version if self._at is not None else 0

    def recording(self) -> StreamRecording:
        """What it has seen."""
        return StreamRecording(
            subscriber=self.name,
            context_id=self.context_id,
            frames=tuple(self.frames),
            connections=tuple(self.connections),
        )


def _said(kind: str, body: Mapping[str, Json]) -> str | None:
    """The words of a client that an action brings: one text at most."""
    match kind:
        case "send_message" | "edit_message":
            return str(body["content"])
        case "record_messages":
            return str(body["messages"][0]["content"])
        case "update_queue":
            return next(iter(body.get("edit", {}).values()), None)
        case _:
            return None


def _settled(
    operation: Operation, answer: Answer, now_s: float, tries: int, *, unheard: bool
) -> Operation | None:
    """The operation, if this answer says what has become of it."""
    said = answer.json()
    if answer.status < 300:
        action = said["action"]
        context = said["context"]
        return replace(
            operation,
            returned_s=now_s,
            tries=tries,
            outcome=Outcome.APPLIED if action["result"] == "applied" else Outcome.ACCEPTED,
            action_id=number_of(action["id"]),
            version=action["version"],
            seen_version=None if answer.headers.get(STALE) == "true" else said["version"],
            epoch=context and Cursor.parse(context["cursor"]).epoch,
        )
    code = said["type"].rpartition("/")[2]
    if code == "mailbox-full":
        return None
    if code == "not-found" and (unheard or operation.kind == "delete"):
        # It may be what this very action has done: its result went with the context.
        return replace(
            operation, returned_s=None, tries=tries, outcome=Outcome.UNKNOWN, code=code
        )
    return replace(operation, returned_s=now_s, tries=tries, outcome=Outcome.REFUSED, code=code)
