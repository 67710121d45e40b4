"""P2, P4 and P5 under random interleavings, against a model of a few lines.

Two workers and two clients deliver, activate, commit, repeat and lose each other's sessions;
every call may be made twice. After each step what everybody sees is what the model says.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from fsm import ContextState, MessageReceived, replay, transition
from storage import (
    Commit,
    CommitFrame,
    ContextBusy,
    Delivered,
    Fenced,
    Mail,
    MailboxFull,
    Owned,
    Result,
    Store,
    VersionConflict,
    WorkerBuried,
)
from tests.storage.arranging import Ear, create, created, die, listening, live
from tests.storage.conftest import Backend
from tests.support.playbook import BEGAN_MS, CONTEXT_ID

WORKERS: Final = ("w1", "w2")

Move = tuple[str, str]
MOVES: Final[st.SearchStrategy[Move]] = st.one_of(
    st.tuples(st.just("deliver"), st.sampled_from(["k1", "k2", "k3", "k4", "k5", "k6"])),
    st.tuples(st.just("activate"), st.sampled_from(WORKERS)),
    st.tuples(st.just("commit"), st.sampled_from(WORKERS)),
    st.tuples(st.just("commit-one"), st.sampled_from(WORKERS)),
    st.tuples(st.just("repeat"), st.sampled_from(WORKERS)),
    st.tuples(st.just("passivate"), st.sampled_from(WORKERS)),
    st.tuples(st.just("die"), st.sampled_from(WORKERS)),
    st.tuples(st.just("bury"), st.sampled_from(WORKERS)),
)


@dataclass
class Believer:
    """A worker that believes it owns the context, perhaps wrongly."""

    owned: Owned
    state: ContextState
    mail: list[Delivered]
    saved: int
    last: Commit | None = None


@dataclass
class Model:
    """What must be true of the context."""

    state: ContextState = field(default_factory=lambda: replay([created()]))
    log: list[bytes] = field(default_factory=list[bytes])
    seqs: dict[str, int] = field(default_factory=dict[str, int])
    """By idempotency key."""
    waiting: list[int] = field(default_factory=list[int])
    results: dict[int, Result] = field(default_factory=dict[int, Result])
    token: str = ""
    tokens: int = 0
    """Handed out or skipped."""
    owner: str | None = None
    """Who had it last; it is listed as his until he is buried."""
    listed: bool = False
    alive: set[str] = field(default_factory=set[str])
    registered: set[str] = field(default_factory=set[str])
    commits: int = 0


class World:
    """The store, its model, and who believes what."""

    def __init__(self, store: Store, ear: Ear) -> None:
        self.store, self.ear, self.model = store, ear, Model()
        self.believers: dict[str, Believer] = {}

    async def make(self, move: Move) -> None:
        name, who = move
        match name:
            case "deliver":
                await self.deliver(who)
            case "activate":
                await self.activate(who)
            case "commit" | "commit-one":
                await self.commit(who, at_once=len(WORKERS) if name == "commit" else 1)
            case "repeat":
                await self.repeat(who)
            case "passivate":
                await self.passivate(who)
            case "die":
                await die(self.store, who)
                self.model.alive.discard(who)
            case _:
                await self.bury(who)
                self.model.alive.discard(who)

    async def deliver(self, key: str) -> None:
        model = self.model
        mail = Mail(event=MessageReceived(at_ms=BEGAN_MS, content=f"said {key}"))
        full = len(model.waiting) >= self.store.config.mailbox_max and key not in model.seqs
        try:
            receipt = await self.store.admissions.deliver(
                CONTEXT_ID, "ada", mail, key=key, digest=key
            )
        except MailboxFull:
            assert full
            return
        assert not full
        assert receipt.repeated == (key in model.seqs)
        assert receipt.active == (model.owner in model.alive)
        if key not in model.seqs:
            model.seqs[key] = len(model.seqs) + 1
            model.waiting.append(model.seqs[key])
        assert receipt.seq == model.seqs[key]
        assert receipt.result == model.results.get(receipt.seq)

    async def activate(self, worker_id: str) -> None:
        model = self.model
        if worker_id not in model.alive:
            with pytest.raises(WorkerBuried):
                await self.store.ownership.activate(CONTEXT_ID, worker_id)
            await live(self.store, worker_id)
            model.alive.add(worker_id)
        if model.owner in model.alive - {worker_id}:
            with pytest.raises(ContextBusy):
                await self.store.ownership.activate(CONTEXT_ID, worker_id)
            return
        owned = await self.store.ownership.activate(CONTEXT_ID, worker_id)
        model.tokens += 1
        model.token, model.owner, model.listed = owned.token, worker_id, True
        assert owned.token.endswith(f".{model.tokens}")
        assert owned.state == model.state
        assert [item.seq for item in owned.mail] == model.waiting
        self.believers[worker_id] = Believer(
            owned, owned.state, [*owned.mail], owned.messages_saved
        )

    async def bury(self, worker_id: str) -> None:
        """Whatever the worker has not committed by now is refused."""
        model = self.model
        await self.store.sessions.bury(worker_id)
        if model.owner == worker_id and model.listed:
            model.listed = False
            model.tokens += 1
            model.token = ""

    async def commit(self, worker_id: str, *, at_once: int) -> None:
        """Apply the next mail that this worker knows of, and commit it."""
        believer = self.believers.get(worker_id)
        if believer is None:
            return
        if not believer.mail:
            known = await self.store.undelivered(CONTEXT_ID)
            done = believer.last.acknowledged if believer.last else 0
            believer.mail = [item for item in known if item.seq > done]
        batch, believer.mail = believer.mail[:at_once], believer.mail[at_once:]
        if not batch:
            return
        state, results = believer.state, dict[int, Result]()
        for item in batch:
            state = transition(state, item.mail.event).state
            results[item.seq] = Result(outcome="applied", version=state.version)
        snapshot = state.version % 2 == 0
        commit = Commit(
            context_id=CONTEXT_ID,
            token=believer.owned.token,
            base=believer.state.version,
            events=[item.mail.event.model_dump_json().encode() for item in batch],
            state=state,
            rests=False,
            acknowledged=batch[-1].seq,
            results=results,
            snapshot=snapshot,
            messages_saved=believer.saved,
        )
        if believer.owned.token != self.model.token:
            await self.is_refused(worker_id, commit)
            return
        await self.store.ownership.commit(commit)
        believer.state, believer.last = state, commit
        believer.saved = len(state.messages) if snapshot else believer.saved
        model = self.model
        model.state = state
        model.log += commit.events
        model.results.update(results)
        model.waiting = [seq for seq in model.waiting if seq > commit.acknowledged]
        model.commits += 1

    async def repeat(self, worker_id: str) -> None:
        """The answer to the last commit was lost: it is sent again."""
        believer = self.believers.get(worker_id)
        if believer is None or believer.last is None:
            return
        if believer.owned.token != self.model.token:
            await self.is_refused(worker_id, believer.last)
        else:
            await self.store.ownership.commit(believer.last)

    async def is_refused(self, worker_id: str, commit: Commit) -> None:
        with pytest.raises((Fenced, VersionConflict)):
            await self.store.ownership.commit(commit)
        del self.believers[worker_id]

    async def passivate(self, worker_id: str) -> None:
        believer = self.believers.get(worker_id)
        if believer is None:
            return
        token, model = believer.owned.token, self.model
        if token != model.token:
            with pytest.raises(Fenced):
                await self.store.ownership.passivate(
                    CONTEXT_ID, token, worker_id, version=model.state.version
                )
            del self.believers[worker_id]
            return
        passive = await self.store.ownership.passivate(
            CONTEXT_ID, token, worker_id, version=model.state.version
        )
        assert passive == (not model.waiting)
        if passive:
            model.owner, model.listed = None, False
            del self.believers[worker_id]

    async def agrees(self) -> None:
        """Everything that can be seen is what the model says."""
        model, store = self.model, self.store
        reading = await store.read(CONTEXT_ID, "ada")
        assert reading.view is not None
        assert (reading.view.state, reading.mail_seq) == (model.state, len(model.seqs))
        assert list(await store.logs.events(CONTEXT_ID, after=1, until=100)) == model.log
        waiting = await store.undelivered(CONTEXT_ID)
        assert [item.seq for item in waiting] == model.waiting
        for seq in model.seqs.values():
            found = (await store.read(CONTEXT_ID, "ada", seq=seq)).result
            assert found == model.results.get(seq)

    async def was_published_once(self) -> None:
        """The feed had each commit once, in order, with its results."""
        frames = await self.ear.frames(self.model.commits)
        events, results = list[bytes](), dict[int, Result]()
        for frame in frames:
            assert isinstance(frame, CommitFrame)
            assert frame.base == 1 + len(events)
            events += frame.events
            results.update(frame.results)
        assert (events, results) == (self.model.log, self.model.results)


async def play(backend: Backend, moves: list[Move]) -> None:
    async with backend.connect(mailbox_max=4, results_max=100) as store:
        await store.link.call("FLUSHALL")
        await create(store)
        async with listening(store) as ear:
            world = World(store, ear)
            for move in moves:
                await world.make(move)
                await world.agrees()
            await world.was_published_once()


@settings(max_examples=80)
@given(moves=st.lists(MOVES, min_size=10, max_size=40))
def test_effects_are_exactly_once_whoever_lives(moves: list[Move]) -> None:
    asyncio.run(play(Backend(None), moves))


@pytest.mark.real_only
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(MOVES, min_size=10, max_size=40))
def test_effects_are_exactly_once_over_a_real_server(
    real_backend: Backend, moves: list[Move]
) -> None:
    asyncio.run(play(real_backend, moves))
