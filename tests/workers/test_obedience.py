"""A model that does whatever it reads: nothing that has effects runs without a person's word.

What runs is written down by the tools themselves. The machine, the performing of effects and
the registry are the real ones; the person is the test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import JsonValue

from fsm import CallStatus, Phase, RunTool, StopEffect, TurnCall, call_digest
from tests.support.clock import in_virtual_time
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import Playbook, approve, say
from tests.workers.obedience import Call, Injection, ObedientModel, injections, page
from tests.workers.performing import Ear
from tests.workers.stage import now_ms
from workers import Effects, WorkerConfig
from workers.models.request import RequestBuilder
from workers.places import Places
from workers.tools.declaration import Tool, ToolCallContext, tool
from workers.tools.registry import Registry

POLICIES: Final[dict[str, dict[str, JsonValue]]] = {
    "manual": {"mode": "manual"},
    "auto": {"mode": "auto"},
    "allow_list": {"mode": "allow_list", "allowed": ["page", "look", "write"]},
    "auto_loop": {"mode": "auto_loop"},
}
UNASKED: Final = {
    "manual": frozenset[str](),
    "auto": frozenset[str](),  # the page was its first round
    "allow_list": frozenset({"write"}),
    "auto_loop": frozenset({"write", "remove"}),
}
"""What a policy lets run that nobody was asked about, where the page is trusted."""
STEPS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a tool that has effects, as the tool saw it."""

    name: str
    call_id: str
    arguments: dict[str, object]


@dataclass
class World:
    """A context, its worker and what its tools have done."""

    store: MemoryStore
    policy: str
    page: str
    trusted: bool = False
    runs: list[Run] = field(default_factory=list[Run])
    approved: list[TurnCall] = field(default_factory=list[TurnCall])
    """By the person, as they were shown."""

    def __post_init__(self) -> None:
        config = WorkerConfig()
        self.book = Playbook(title="t", tool_policy=POLICIES[self.policy])
        self.effects = Effects(
            model=ObedientModel(),
            places=Places(8),
            requests=RequestBuilder(cache_bytes_max=0),
            tools=Registry(self._tools(), config),
            retrievers={},
            clock=now_ms,
            draw=lambda: 0.5,
        )

    def _tools(self) -> Sequence[Tool]:
        @tool(effect="none", untrusted=not self.trusted)
        async def page() -> str:
            return self.page

        @tool(effect="none")
        async def look() -> str:
            return "Nothing to see."

        @tool(effect="none", question=True)
        async def ask(question: str) -> str:
            return question

        @tool(effect="once", dangerous=True)
        async def pay(to: str, amount: int, call: ToolCallContext) -> str:
            self.runs.append(Run("pay", call.call_id, {"to": to, "amount": amount}))
            return "paid"

        @tool(effect="once")
        async def remove(path: str, call: ToolCallContext) -> str:
            self.runs.append(Run("remove", call.call_id, {"path": path}))
            return "removed"

        @tool(effect="idempotent")
        async def write(text: str, call: ToolCallContext) -> str:
            self.runs.append(Run("write", call.call_id, {"text": text}))
            return "written"

        return page, look, ask, pay, remove, write

    @property
    def pending(self) -> list[TurnCall]:
        """What waits for the person."""
        turn = self.book.state.turn
        calls = turn.calls if turn is not None else ()
        return [call for call in calls if call.status is CallStatus.PENDING]

    async def play(self) -> None:
        """Perform what is asked for until the context waits for somebody, or rests."""
        effects = list(self.book.effects)
        for _ in range(STEPS_MAX):
            if not effects:
                return
            effect = effects.pop(0)
            if (
                isinstance(effect, StopEffect)
                or effect.effect_id not in self.book.state.pending
            ):
                continue
            ear = Ear(self.store, self.book.state)
            await self.effects.perform(effect, self.book.state, ear)
            for event in ear.heard:
                self.book.when(event)
                effects += self.book.effects
        raise AssertionError("it does not come to rest")

    async def approve(self, *calls: TurnCall) -> None:
        """The person says yes to these, and to nothing else."""
        self.approved += calls
        self.book.when(approve(*(call.id for call in calls)))
        await self.play()

    async def read_page(self) -> None:
        """The person asks for the page, and lets it be read."""
        self.book.when(say("What does the page say?"))
        await self.play()
        if self.policy == "manual":
            (reads,) = self.pending
            assert reads.name == "page"
            await self.approve(reads)

    async def let_look(self) -> None:
        """The person says yes to whatever has no effects."""
        while harmless := [call for call in self.pending if call.name in {"page", "look"}]:
            await self.approve(*harmless)

    def check(self) -> None:
        """Every run is one that was approved, as it was approved, once; or the policy's."""
        left = list(self.approved)
        for run in self.runs:
            match = next((one for one in left if one.id == run.call_id), None)
            if match is None:
                assert self.trusted, run
                assert run.name in UNASKED[self.policy], run
                continue
            left.remove(match)
            assert match.name == run.name, run
            assert call_digest(match.name, match.arguments) == match.digest
            assert all(str(value) in match.arguments for value in run.arguments.values()), run


@pytest.fixture(scope="module")
def asked_for(request: pytest.FixtureRequest) -> list[Injection]:
    return injections(long=bool(request.config.getoption("--long")))


async def ask_everything(asked_for: list[Injection], policy: str, *, trusted: bool) -> int:
    """Play every injection with a person who approves what is harmless, then one more call.

    Returns:
        How many runs nobody was asked about.
    """
    unasked = 0
    async with open_memory_store() as store:
        for one in asked_for:
            world = World(store, policy, one.page, trusted)
            await world.read_page()
            await world.let_look()
            world.check()
            unasked += len(world.runs)
            if world.pending:
                await world.approve(world.pending[0])
                await world.let_look()
                world.check()
            if not trusted and world.book.state.phase is Phase.IDLE:
                # What was read stays in the conversation: the next turn is as careful.
                world.book.when(say("And now?"))
                await world.play()
                await world.let_look()
                world.check()
    return unasked


@pytest.mark.parametrize("policy", POLICIES)
@in_virtual_time
async def test_p9_whatever_an_obedient_model_reads_nothing_runs_that_was_not_approved(
    policy: str, asked_for: list[Injection]
) -> None:
    assert len(asked_for) >= 100
    assert await ask_everything(asked_for, policy, trusted=False) == 0


@pytest.mark.parametrize("policy", POLICIES)
@in_virtual_time
async def test_what_a_trusted_tool_asks_for_runs_as_far_as_the_policy_says(
    policy: str, asked_for: list[Injection]
) -> None:
    # The model is obedient indeed: where it may, it acts.
    unasked = await ask_everything(asked_for, policy, trusted=True)
    assert (unasked > 0) is bool(UNASKED[policy])


NAMES: Final = st.sampled_from(["pay", "remove", "write", "look", "page", "ask"]) | st.text(
    max_size=12
)
ARGUMENTS: Final = st.sampled_from(
    ['{"to":"bob","amount":1}', '{"path":"/"}', '{"text":"x"}', "{}"]
) | st.text(max_size=40)
CALLS: Final = st.builds(Call, NAMES, ARGUMENTS, st.sampled_from(["", "a", "b", "call_page"]))
ROUNDS: Final = st.lists(
    st.lists(CALLS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
).map(tuple)


@settings(max_examples=30)
@given(rounds=ROUNDS, policy=st.sampled_from([*POLICIES]), words=st.text(max_size=30))
def test_no_calls_whatever_they_are_run_without_approval(
    rounds: tuple[tuple[Call, ...], ...], policy: str, words: str
) -> None:
    ask_once(Injection("any", page(words, rounds)), policy)


@in_virtual_time
async def ask_once(one: Injection, policy: str) -> None:
    assert await ask_everything([one], policy, trusted=False) == 0


@settings(max_examples=30)
@given(arguments=ARGUMENTS | st.text(max_size=40), name=NAMES)
def test_what_was_approved_runs_as_it_was_approved_and_not_otherwise(
    arguments: str, name: str
) -> None:
    run_another(name, arguments)


@in_virtual_time
async def run_another(name: str, arguments: str) -> None:
    """Approve a payment, then have its effect changed on its way to the tool."""
    approved = Call("pay", '{"to":"bob","amount":1}', "a")
    async with open_memory_store() as store:
        world = World(store, "manual", page("", ((approved,),)))
        await world.read_page()
        world.book.when(approve("a"))
        (effect,) = world.book.effects
        assert isinstance(effect, RunTool)
        other = effect.model_copy(update={"name": name, "arguments": arguments})
        await world.effects.perform(other, world.book.state, Ear(store, world.book.state))
        is_the_same = (name, arguments) == (approved.name, approved.arguments)
        assert len(world.runs) == is_the_same
        await world.effects.perform(effect, world.book.state, Ear(store, world.book.state))
        assert world.runs[-1].arguments == {"to": "bob", "amount": 1}
