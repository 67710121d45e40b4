"""Under which traces an activation works, and what it keeps of them for the next owner."""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

from fsm import Event
from storage import Attributes, Mail, Span
from tests.support.clock import in_virtual_time, until
from tests.support.memory_store import MemoryStore
from tests.support.playbook import CONTEXT_ID, rename, say
from tests.workers.stage import OWNER, Reply, Stage, now_ms, open_stage

NONE: Final[Mapping[str, str]] = {}


class Noted:
    """A span whose traceparent tells all that it continues."""

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def note(self, attributes: Attributes) -> None:
        pass

    def failed(self, error_type: str) -> None:
        pass


class Noting:
    """A tracer that takes note of what commits continue."""

    def __init__(self) -> None:
        self.commits: list[str | None] = []

    def child(self, name: str, attributes: Attributes = NONE) -> AbstractContextManager[Span]:
        return contextlib.nullcontext(Noted(name))

    def continued(
        self, traceparent: str | None, name: str, attributes: Attributes = NONE
    ) -> AbstractContextManager[Span]:
        if name == "commit":
            self.commits.append(traceparent)
        return contextlib.nullcontext(Noted(traceparent and f"{traceparent} {name}"))

    def trace_id(self) -> str | None:
        return None


async def deliver(stage: Stage[MemoryStore], event: Event, traceparent: str) -> None:
    event = event.model_copy(update={"at_ms": now_ms()})
    mail = Mail.model_validate({"event": event, "traceparent": traceparent})
    await stage.store.admissions.deliver(CONTEXT_ID, OWNER, mail, key="", digest="")


@in_virtual_time
async def test_a_commit_belongs_to_the_mail_that_it_applies_or_else_to_the_turn() -> None:
    async with open_stage() as stage:
        stage.store.tracer = noting = Noting()
        stage.performer.usual = Reply(("Hel", "lo."), pause_s=1)
        await deliver(stage, say(), "said")
        async with stage.running() as run:
            await until(lambda: stage.performer.kinds)
            await deliver(stage, rename("Another"), "renamed")
            await run.ended()
        turn = "said apply"
        assert noting.commits == [turn, "renamed apply", turn, turn]


@in_virtual_time
async def test_the_trace_of_a_turn_is_told_to_the_store_when_it_changes_and_not_else() -> None:
    async with open_stage() as stage:
        stage.store.tracer = Noting()
        stage.performer.usual = Reply(("Hel", "lo."), pause_s=1)
        await deliver(stage, say(), "said")
        async with stage.running() as run:
            await until(lambda: stage.performer.kinds)
            (turn_id,) = [m.id for m in (await stage.state()).messages]
            await deliver(stage, rename("Another"), "renamed")
            await run.ended()
        told = [commit.trace for commit in stage.store.commits]
        assert told == [f"{turn_id} said apply", None, None, ""]
