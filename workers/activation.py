"""One context in memory, under one fencing token, handling one event after another.

The order never changes: transition, commit, perform. Nothing is performed for a state
that was not committed, and nothing but this loop changes the state. What arrives while a
commit is under way is committed together by the next one.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol

import structlog
from typing_extensions import override

from fsm import (
    AnyEffect,
    ContextState,
    Event,
    Refusal,
    StaleAnswer,
    StopEffect,
    ended,
    event_due,
    refusal,
    rests,
    take_over,
    wakes_at_ms,
    witnessed,
)
from storage import (
    Attributes,
    Commit,
    Delivered,
    Mail,
    Owned,
    Result,
    Store,
    StoreUnavailable,
    VersionConflict,
)
from workers.batch import Batch
from workers.compaction import Compaction
from workers.config import WorkerConfig
from workers.deadline import Deadline
from workers.draft import Drafts
from workers.patience import Patience
from workers.poison import Suspicion, give_up
from workers.traces import TurnTraces

log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""Unix time in milliseconds."""

CLOCK_S_MAX = 60.0
"""Longest wait before the clock is looked at again, because it may have jumped."""

Reason = Literal["idle", "deleted"]
"""Why an activation ended by itself."""


class Performer(Protocol):
    """Performs effects; the product's is `workers/effects.py`, tests bring their own."""

    async def perform(
        self, effect: AnyEffect, state: ContextState, activation: "Activation"
    ) -> None:
        """Perform one effect and post its answer to the activation.

        Never raises for a failure of the effect itself: that is an event.
        """
        ...

    def forget(self, context_id: str) -> None:
        """Keep nothing of a context: its activation is over."""
        ...


class Activation:
    """Runs one context until it has rested for `linger_s`."""

    def __init__(
        self,
        owned: Owned,
        *,
        worker_id: str,
        store: Store,
        performer: Performer,
        config: WorkerConfig,
        clock: Clock,
        on_draft: Callable[["Activation"], None],
        suspicion: Suspicion | None = None,
    ) -> None:
        self.context_id = owned.context_id
        self.token = owned.token
        self.state = owned.state
        self._left_draft = owned.draft
        self._worker_id = worker_id
        self._store = store
        self._performer = performer
        self._config = config
        self._patience = Patience(owned.context_id, config)
        self._compaction = Compaction(owned, store, self._patience)
        self._clock = clock
        self._inbox: deque[Delivered | Event] = deque(owned.mail)
        self._woken = asyncio.Event()
        self.drafts = Drafts(
            owned,
            store,
            on_first=self._note_first_text,
            on_waiting=partial(on_draft, self),
            on_broken=self._woken.set,
        )
        self._wait_ends = Deadline(self._look_at_clock)
        self._rested_s = math.inf
        """Loop time at which it has rested for `linger_s`."""
        self._next_seq = owned.mail[0].seq if owned.mail else 0
        """Number of the next mail to apply; 0: not known, the mailbox is read first."""
        self._mail_missed = False
        self._messages_saved = owned.messages_saved
        self._snapshot_version = owned.snapshot_version
        self._traces = TurnTraces(owned.trace)
        self._trace_kept = owned.trace
        self._performing: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        """Performances that were stopped and have not ended. A tool may take its time, or never
        end: whoever has given the context back would wait for it and hear nothing."""
        self._linger_s = config.linger_s
        self._suspicion = suspicion
        self._tried = not owned.mail
        """Whether the mail that waited at the start is behind us; true if there was none."""

    @override
    def __repr__(self) -> str:
        return (
            f"<Activation {self.context_id} v{self.state.version} {self.state.phase.value} "
            f"token {self.token}, {len(self._inbox)} waiting, "
            f"{len(self._performing)} performing>"
        )

    # What others call

    @property
    def traceparent(self) -> str | None:
        """The span under which the running turn's work belongs."""
        return self._traces.of(self.state)

    def deliver(self, delivered: Delivered) -> None:
        """Take mail that was pushed; if its numbers have a hole, the mailbox is read."""
        if len(self._inbox) < self._config.inbox_max:
            self._inbox.append(delivered)
        else:
            self._mail_missed = True
        self._woken.set()

    def check_mail(self) -> None:
        """Have the mailbox read: publications may have been lost."""
        self._mail_missed = True
        self._woken.set()

    def post(self, event: Event) -> None:
        """Take an effect's answer."""
        self._inbox.append(event)
        self._woken.set()

    def _note_first_text(self) -> None:
        """Time how long the turn took until its first text."""
        turn = self.state.turn
        if turn is not None and turn.rounds == 0 and turn.attempt == 1:
            waited_ms = max(0, self._clock() - turn.started_at_ms)
            self._store.meters.took("first_token", waited_ms / 1_000)

    def hurry(self) -> None:
        """Give the context back as soon as it rests: the worker is stopping."""
        self._linger_s = 0.0
        self._woken.set()

    # The loop

    async def run(self) -> Reason:
        """Handle events until the context has rested for `linger_s` and was given back.

        Cancelling stops the effects and commits nothing more; the context then belongs
        to whoever takes it over.

        Raises:
            ExceptionGroup: Of Fenced, if another activation has taken over; of
                VersionConflict or ContextMissing, if the store does not hold what this
                activation has committed; of whatever an effect's performer has raised.
        """
        try:
            async with asyncio.TaskGroup() as group:
                if self._suspicion and self._suspicion.deaths >= self._config.kills_max:
                    await self._commit(self._given_up(self._suspicion))
                first = take_over(self.state, at_ms=self._clock(), partial=self._left_draft)
                self._inbox.extendleft(reversed(first.events))
                self._perform(group, first.effects)
                reason = await self._loop(group)
                for task in self._performing.values():
                    task.cancel()
            return reason
        finally:
            # What they would call is ours: only the garbage collector would free the state.
            self._wait_ends.cancel()
            self.drafts.end()
            self._performer.forget(self.context_id)

    async def _loop(self, group: asyncio.TaskGroup) -> Reason:
        while True:
            idle = not (self._inbox or self._mail_missed or self._is_due())
            if idle and not await self._wait():
                await self._compaction.if_too_long(self.state)
                if await self._passivate():
                    return "idle"
                await self._compaction.as_wished(self.state)
                self._mail_missed = True
            if self.drafts.broken is not None:
                raise self.drafts.broken
            if self._mail_missed:
                await self._read_mailbox()
            batch = self._apply_waiting()
            self._apply_due(batch)
            if batch.events or batch.acknowledged:
                await self._commit(batch)
                if ended(self.state):
                    return "deleted"
            self._perform(group, batch.effects)

    async def _wait(self) -> bool:
        """Wait for something to do; False if the context has rested for `linger_s`."""
        self._woken.clear()
        if self.drafts.broken is not None:
            return True
        if unanswered := self.state.pending.keys() - self._performing.keys():
            raise RuntimeError(f"performed without an answer: {', '.join(sorted(unanswered))}")
        resting = rests(self.state) and not self._performing and not self._stopping
        clock = asyncio.get_running_loop().time
        self._rested_s = clock() + self._linger_s if resting else math.inf
        self._look_at_clock()
        await self._woken.wait()
        return self._is_due() or clock() < self._rested_s

    def _look_at_clock(self) -> None:
        """Wake up if what is waited for has come, or else look again later."""
        now_s = asyncio.get_running_loop().time()
        if self._is_due() or now_s >= self._rested_s:
            self._woken.set()
        else:
            self._wait_ends.move(min(self._rested_s, now_s + self._due_s()))

    def _due_s(self) -> float:
        """Seconds until the machine wants to be told that time has passed."""
        at_ms = wakes_at_ms(self.state)
        if at_ms is None:
            return math.inf
        # A clock may jump meanwhile: it is looked at again now and then.
        return min(max(0, at_ms - self._clock()) / 1_000, CLOCK_S_MAX)

    def _is_due(self) -> bool:
        at_ms = wakes_at_ms(self.state)
        return at_ms is not None and at_ms <= self._clock()

    async def _passivate(self) -> bool:
        if self._snapshot_version == self.state.version:
            self._store.meters.count("saves:clean")
        return await self._patience.insist(
            lambda: self._store.ownership.passivate(
                self.context_id, self.token, self._worker_id, version=self.state.version
            )
        )

    async def _read_mailbox(self) -> None:
        """Read all mail that waits; it includes pushed mail that is not handled yet."""
        self._mail_missed = False
        known = len(self._inbox)
        try:
            mail = await self._store.ownership.undelivered(self.context_id, self.token)
        except StoreUnavailable:
            self._mail_missed = True
            await asyncio.sleep(self._config.commit_pause_s)
            return
        if mail and mail[0].seq < self._next_seq:
            # What was acknowledged is gone, unless the store was set back.
            raise VersionConflict(self.context_id, expected=self._next_seq, found=mail[0].seq)
        if mail:
            self._next_seq = mail[0].seq
        inbox = tuple(self._inbox)
        events = [item for item in inbox if not isinstance(item, Delivered)]
        pushed = [item for item in inbox[known:] if isinstance(item, Delivered)]
        self._inbox = deque([*events, *mail, *pushed])

    def _apply_waiting(self) -> Batch:
        """Apply what waits, up to `commit_events_max`; ends early at a hole in the mail."""
        batch = Batch(self.state, self._store)
        # What comes after an action that ends workers is not to be blamed for it.
        most = 1 if self._suspicion else self._config.commit_events_max
        while self._inbox and max(len(batch.events), len(batch.results)) < most:
            item = self._inbox[0]
            if isinstance(item, Delivered):
                if item.seq > self._next_seq:
                    self._mail_missed = True
                    break
                self._inbox.popleft()
                if item.seq < self._next_seq:
                    continue  # seen before: pushed, and read from the mailbox
                self._next_seq = item.seq + 1
                batch.answer(item.seq, self._apply_traced(batch, item.mail))
            else:
                self._inbox.popleft()
                try:
                    batch.apply(witnessed(batch.state, item, ""))
                except StaleAnswer:
                    continue
            if ended(batch.state):
                break
        return batch

    def _apply_due(self, batch: Batch) -> None:
        """Apply what is due behind the mail that came before.

        That may have put it off, and then nothing changes; what it has made due is next.
        """
        if ended(batch.state) or self._mail_missed:
            return
        alone = self._suspicion is None or not (batch.events or batch.results)
        if alone and self._is_due():
            batch.apply(event_due(batch.state, self._clock()))

    def _apply_traced(self, batch: Batch, mail: Mail) -> Result:
        """Apply mail, under the trace that it came with."""
        about = {"contextd.context_id": self.context_id, "contextd.action": mail.event.action}
        with self._store.tracer.continued(mail.traceparent, "apply", about) as span:
            before = batch.state
            result = self._apply_mail(batch, mail)
            span.note({"contextd.outcome": result.outcome})
            if span.traceparent is not None:
                self._traces.brought(before, batch.state, span.traceparent)
                batch.traceparent = batch.traceparent or span.traceparent
        return result

    def _apply_mail(self, batch: Batch, mail: Mail) -> Result:
        event: Event = mail.event
        state = batch.state
        event = witnessed(state, event, self.drafts.current.text if self.drafts.current else "")
        try:
            if mail.if_version is not None and mail.if_version != state.version:
                detail = f"The context is at version {state.version}."
                raise refusal(state, "version-mismatch", detail)
            batch.apply(event)
        except Refusal as refused:
            log.info(
                "action refused",
                context_id=self.context_id,
                version=state.version,
                code=refused.code,
                phase=refused.phase,
            )
            return Result.of(refused, state.version)
        return Result(outcome="applied", version=batch.state.version)

    def _given_up(self, suspicion: Suspicion) -> Batch:
        """The oldest action that waited at the start, or else what runs, or is due."""
        delivered: Delivered | None = None
        if not self._tried:
            oldest = self._inbox.popleft()
            assert isinstance(oldest, Delivered)
            delivered = oldest
            self._next_seq = delivered.seq + 1
        batch = Batch(self.state, self._store)
        give_up(batch, suspicion, delivered, partial=self._left_draft, at_ms=self._clock())
        return batch

    async def _commit(self, batch: Batch) -> None:
        state = batch.state
        at_rest = rests(state)
        snapshot = bool(batch.events) and (
            at_rest or state.version - self._snapshot_version >= self._config.snapshot_events
        )
        self._tried = self._tried or bool(batch.acknowledged)
        wake_ms = wakes_at_ms(state)
        trace = self._traces.kept(state)
        commit = Commit(
            context_id=self.context_id,
            token=self.token,
            base=self.state.version,
            events=batch.events,
            state=state,
            rests=at_rest,
            acknowledged=batch.acknowledged,
            results=batch.results,
            draft=self.drafts.change(self.state, state),
            snapshot=snapshot,
            messages_saved=self._messages_saved,
            letter=batch.letter,
            wake_ms=wake_ms if wake_ms != wakes_at_ms(self.state) else -1,
            progress=self._tried,
            notices=batch.notices,
            tokens=batch.tokens,
            trace=trace if trace != self._trace_kept else None,
            tally=batch.tally,
        )
        about: Attributes = {
            "contextd.context_id": self.context_id,
            "contextd.version": state.version,
        }
        traceparent = batch.traceparent or self.traceparent or self._traces.of(state)
        with self._store.tracer.continued(traceparent, "commit", about):
            if ended(state):
                await self._patience.insist(
                    lambda: self._store.ownership.delete(commit, self._worker_id)
                )
            else:
                await self._patience.insist(lambda: self._store.ownership.commit(commit))
        self.state = state
        self._trace_kept = trace
        for announcement in batch.announced:
            self._store.announcer.tell(announcement)
        if not batch.events:
            self._store.meters.count("saves:clean")
        if self._suspicion is not None and self._tried:
            self._suspicion.cleared()
            self._suspicion = None
        if commit.draft.op == "start":
            self.drafts.begun(state)
        if snapshot:
            self._messages_saved = len(state.messages)
            self._snapshot_version = state.version

    def _perform(self, group: asyncio.TaskGroup, effects: Sequence[AnyEffect]) -> None:
        for effect in effects:
            if isinstance(effect, StopEffect):
                if (task := self._performing.pop(effect.effect_id, None)) is not None:
                    task.cancel()
                    self._stopping.add(task)
                continue
            if effect.effect_id not in self.state.pending:
                continue  # stopped by a later event of the same commit
            task = group.create_task(
                self._performer.perform(effect, self.state, self),
                name=f"{effect.kind} {self.context_id} {effect.effect_id}",
            )
            self._performing[effect.effect_id] = task
            task.add_done_callback(partial(self._performed, effect.effect_id))

    def _performed(self, effect_id: str, task: asyncio.Task[None]) -> None:
        if self._performing.get(effect_id) is task:
            del self._performing[effect_id]
        self._stopping.discard(task)
        self._woken.set()
