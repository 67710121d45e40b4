"""What the tests of activations share: a context in memory, a scripted performer, a run."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, cast

from pydantic import JsonValue

from fsm import (
    AnyEffect,
    AwaitRetry,
    CallModel,
    Config,
    ContextCreated,
    ContextRenamed,
    ContextState,
    Event,
    MakeTitle,
    PrepareRequest,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    RequestedCall,
    RequestPrepared,
    RetryDue,
    RunTool,
    StopEffect,
    TitleMade,
    ToolReturned,
    decode_event,
    replay,
)
from storage import Delivered, Listener, Mail, Result, Store, keys, worker_mail
from storage.contract import MAIL
from tests.support.clock import now_s
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, NOW
from workers import Activation, WorkerConfig

S = TypeVar("S", bound=Store)

OWNER: Final = "ada"
POLL_S: Final = 0.01
MESSAGE_ID: Final = "01932c5e-7a11-7000-8000-0000000000"
"""Of replies; the number of the reply is appended."""


def now_ms() -> int:
    """Unix time that goes with the loop's."""
    return BEGAN_MS + round(now_s() * 1_000)


def nth_id(number: int) -> str:
    """The id of one of many contexts."""
    return f"01932c5e-7a10-7c3b-9d2e-{number:012x}"


class Bug(Exception):
    """Raised by a performer that has one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model does with one call."""

    words: Sequence[str] = ("Hi.",)
    pause_s: float = 0.0
    """Before each word."""
    calls: Sequence[RequestedCall] = ()
    fails: str = ""
    """With this code, after the words; it may be tried again."""
    hangs: bool = False
    """After the words."""
    silent: bool = False
    """It ends without an answer, which is a bug."""
    bug: bool = False
    """It raises, after the words."""


@dataclass(slots=True)
class Scripted:
    """Performs effects as a test has written it down, else well and at once."""

    replies: deque[Reply] = field(default_factory=deque[Reply])
    usual: Reply = Reply()
    """Once `replies` are used up."""
    tool_hangs: bool = False
    bug_in: str = ""
    """The context whose effects all raise."""
    tool_bug: str = ""
    """The call id whose tool raises."""
    retrieval_hangs: bool = False
    stops_after_s: float = 0.0
    """How long a performance that was cancelled takes to end."""
    performed: list[AnyEffect] = field(default_factory=list[AnyEffect])
    stopped: list[str] = field(default_factory=list[str])
    """Effect ids whose performance was cancelled."""
    forgotten: list[str] = field(default_factory=list[str])
    """Contexts whose activations are over."""

    def forget(self, context_id: str) -> None:
        """Keep nothing of a context."""
        self.forgotten.append(context_id)

    async def perform(
        self, effect: AnyEffect, state: ContextState, activation: Activation
    ) -> None:
        """Perform one effect."""
        assert state.pending[effect.effect_id] == effect
        self.performed.append(effect)
        try:
            if self.bug_in == state.id:
                raise Bug
            await self._perform(effect, activation)
        except asyncio.CancelledError:
            await asyncio.sleep(self.stops_after_s)
            self.stopped.append(effect.effect_id)
            raise

    @property
    def kinds(self) -> list[str]:
        """What was performed, in order."""
        return [effect.kind for effect in self.performed]

    async def _perform(self, effect: AnyEffect, activation: Activation) -> None:
        effect_id = effect.effect_id
        match effect:
            case CallModel():
                reply = self.replies.popleft() if self.replies else self.usual
                await self._reply(effect_id, reply, activation)
            case RunTool():
                if effect.call_id == self.tool_bug:
                    raise Bug
                await _forever(self.tool_hangs)
                answer = ToolReturned(at_ms=now_ms(), effect_id=effect_id, content="noon")
                activation.post(answer)
            case PrepareRequest():
                await _forever(self.retrieval_hangs)
                activation.post(RequestPrepared(at_ms=now_ms(), effect_id=effect_id))
            case AwaitRetry():
                await asyncio.sleep(max(0, effect.due_ms - now_ms()) / 1_000)
                activation.post(RetryDue(at_ms=now_ms(), effect_id=effect_id))
            case MakeTitle():
                activation.post(TitleMade(at_ms=now_ms(), effect_id=effect_id, title="A title"))
            case StopEffect():
                raise AssertionError("never performed")

    async def _reply(self, effect_id: str, reply: Reply, activation: Activation) -> None:
        message_id = f"{MESSAGE_ID}{len(self.performed):02d}"
        for word in reply.words:
            await asyncio.sleep(reply.pause_s)
            if activation.drafts.add(effect_id, word):
                activation.post(
                    ReplyStarted(at_ms=now_ms(), effect_id=effect_id, message_id=message_id)
                )
        await _forever(reply.hangs)
        if reply.bug:
            raise Bug
        if reply.silent:
            return
        if reply.fails:
            failed = ReplyFailed(
                at_ms=now_ms(),
                effect_id=effect_id,
                code=reply.fails,
                detail="The model server is busy.",
                retryable=True,
                partial=activation.drafts.partial_of(effect_id),
            )
            activation.post(failed)
            return
        activation.post(
            ReplyEnded(
                at_ms=now_ms(),
                effect_id=effect_id,
                message_id=message_id,
                text="".join(reply.words),
                tool_calls=tuple(reply.calls),
            )
        )


async def _forever(hangs: bool) -> None:
    if hangs:
        await asyncio.Event().wait()


@dataclass(slots=True)
class Run:
    """An activation under way."""

    activation: Activation
    task: asyncio.Task[None]
    outcome: asyncio.Future[str]
    """Why it ended; or what it raised."""

    async def ended(self) -> str:
        """Wait for its end."""
        return await asyncio.shield(self.outcome)


class Stage(Generic[S]):
    """One worker's side of a store, with mail that is pushed as a host would."""

    def __init__(
        self,
        store: S,
        *,
        worker_id: str = "w1",
        performer: Scripted | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> None:
        self.store = store
        self.worker_id = worker_id
        self.performer = performer or Scripted()
        self.config = WorkerConfig.model_validate(settings or {})
        self.deaf = False
        """Publications are lost."""
        self.drafts: deque[Activation] = deque()
        """Activations with text to send."""
        self._mail = Listener(self._on_mail, lambda: None)
        self._runs: dict[str, Activation] = {}

    async def create(
        self, context_id: str = CONTEXT_ID, config: Mapping[str, JsonValue] | None = None
    ) -> None:
        """A context at rest, owned by nobody."""
        event = ContextCreated(
            at_ms=now_ms(),
            context_id=context_id,
            owner=OWNER,
            config=Config.model_validate(config or {}),
        )
        await self.store.admissions.create(event, first=None, key="", digest="")

    async def deliver(
        self, event: Event, *, context_id: str = CONTEXT_ID, if_version: int | None = None
    ) -> int:
        """Put an action into the mailbox; its number."""
        if event.at_ms == NOW:
            event = event.model_copy(update={"at_ms": now_ms()})
        mail = Mail.model_validate({"event": event, "if_version": if_version})
        receipt = await self.store.admissions.deliver(
            context_id, OWNER, mail, key="", digest=""
        )
        return receipt.seq

    async def deliver_all(self, *events: Event) -> list[int]:
        """Put actions into the mailbox; their numbers."""
        return [await self.deliver(event) for event in events]

    async def live(self) -> None:
        """Begin this worker's session and listen to its mail."""
        await self.store.sessions.renew(self.worker_id, now_ms=now_ms(), begin=True)
        await self.store.subscriber.subscribe(worker_mail(self.worker_id), self._mail)

    async def die(self) -> None:
        """The worker's session runs out; its tasks, if they run, do not know yet."""
        self.store.subscriber.unsubscribe(worker_mail(self.worker_id), self._mail)
        await self.store.link.call("DEL", keys.session(self.worker_id))

    @contextlib.asynccontextmanager
    async def running(self, context_id: str = CONTEXT_ID) -> AsyncGenerator[Run, None]:
        """Activate the context; whatever runs of it is cancelled at the block's end."""
        await self.live()
        owned = await self.store.ownership.activate(context_id, self.worker_id)
        activation = Activation(
            owned,
            worker_id=self.worker_id,
            store=self.store,
            performer=self.performer,
            config=self.config,
            clock=now_ms,
            on_draft=lambda one: self.drafts.append(one),
        )
        self._runs[context_id] = activation
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_run(activation, outcome), name="activation")
            try:
                yield Run(activation, task, outcome)
            finally:
                task.cancel()
        self.store.subscriber.unsubscribe(worker_mail(self.worker_id), self._mail)

    async def pass_through(self, context_id: str = CONTEXT_ID) -> str:
        """Activate the context and wait until it is passivated."""
        async with self.running(context_id) as run:
            return await run.ended()

    def forget_runs(self) -> None:
        """Let go of the activations that were run."""
        self._runs.clear()
        self.drafts.clear()

    async def send_drafts(self) -> None:
        """Send the text that waits, as a host would, one frame a call."""
        waiting, self.drafts = self.drafts, deque()
        for activation in dict.fromkeys(waiting):
            if (answer := activation.drafts.send(version=activation.state.version)) is not None:
                await activation.drafts.confirm(answer)

    async def until_phase(self, phase: str, context_id: str = CONTEXT_ID) -> ContextState:
        """Wait until the store shows a phase."""
        shown: list[ContextState] = []

        async def look() -> None:
            shown.append(await self.state(context_id))

        await look()
        deadline_s = now_s() + 30
        while shown[-1].phase.value != phase:
            assert now_s() < deadline_s, shown[-1].phase
            await asyncio.sleep(POLL_S)
            await look()
        return shown[-1]

    def _on_mail(self, message: bytes) -> None:
        raw_id, seq, raw = message.split(b"\n", 2)
        if not self.deaf:
            self._runs[raw_id.decode()].deliver(Delivered(int(seq), MAIL.validate_json(raw)))

    # What the store holds

    async def state(self, context_id: str = CONTEXT_ID) -> ContextState:
        """The context as a reader sees it."""
        reading = await self.store.read(context_id, OWNER)
        assert reading.view is not None
        return reading.view.state

    async def draft(self) -> str:
        """The draft as a reader sees it."""
        reading = await self.store.read(CONTEXT_ID, OWNER)
        assert reading.view is not None
        assert reading.view.n == len(reading.view.draft)
        return reading.view.draft

    async def result(self, seq: int, context_id: str = CONTEXT_ID) -> Result | None:
        """What became of an action."""
        return (await self.store.read(context_id, OWNER, seq=seq)).result

    async def log(self, context_id: str = CONTEXT_ID) -> list[Event]:
        """The whole event log, which replays to the state."""
        raw = await self.store.logs.events(context_id, after=0, until=1_000_000)
        events = [decode_event(each) for each in raw]
        assert replay(events) == await self.state(context_id)
        return [*events]

    async def kinds(self, context_id: str = CONTEXT_ID) -> list[str]:
        """The kinds of the event log."""
        return [str(event.model_dump()["kind"]) for event in await self.log(context_id)]

    async def titles(self) -> list[str]:
        """Every title that the context has had."""
        return [each.title for each in await self.log() if isinstance(each, ContextRenamed)]

    async def snapshot_writes(self, context_id: str = CONTEXT_ID) -> int:
        """How many snapshots were written."""
        (snap,) = keys.of_context(context_id, "snap")
        reply = cast("bytes | None", await self.store.link.call("HGET", snap, "writes"))
        return int(reply or 0)

    async def waiting_mail(self, context_id: str = CONTEXT_ID) -> list[int]:
        """Numbers of the mail that is not acknowledged."""
        return [item.seq for item in await self.store.undelivered(context_id)]

    async def owner_of(self, context_id: str = CONTEXT_ID) -> str:
        """The worker that the store says has the context, or ""."""
        reply = await self.store.link.call("HGET", keys.meta(context_id), "worker")
        return cast("bytes", reply).decode()

    async def said(self, context_id: str = CONTEXT_ID) -> list[tuple[str, str, str]]:
        """Role, text and status of every message."""
        messages = (await self.state(context_id)).messages
        return [(m.role, m.content, m.status) for m in messages]

    async def dump(self, context_id: str = CONTEXT_ID) -> Mapping[str, object]:
        """Everything the store holds of a context."""
        found: dict[str, object] = {}
        names = ("log", "draft", "snap", "msgs", "meta", "mail", "results", "keys")
        for name, key in zip(names, keys.of_context(context_id, *names), strict=True):
            found[name] = await self.store.link.call("DUMP", key)
        return found


@contextlib.asynccontextmanager
async def open_stage(
    *said: Event, config: Mapping[str, JsonValue] | None = None, **settings: float
) -> AsyncGenerator[Stage[MemoryStore], None]:
    """A stage over a store in memory, with one context and its first mail."""
    async with open_memory_store() as store:
        stage = Stage(store, settings=settings)
        await stage.create(config=config)
        await stage.deliver_all(*said)
        yield stage


async def _run(activation: Activation, outcome: asyncio.Future[str]) -> None:
    try:
        reason = await activation.run()
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except ExceptionGroup as group:
        outcome.set_exception(group)
        outcome.exception()  # looked at by those tests that expect one
    else:
        outcome.set_result(reason)


async def taken_over(stage: Stage[MemoryStore]) -> None:
    """Another worker has become the owner; ours is taken for dead."""
    await stage.store.link.call("DEL", keys.session("w1"))
    await stage.store.sessions.renew("w2", now_ms=now_ms(), begin=True)
    await stage.store.ownership.activate(CONTEXT_ID, "w2")
