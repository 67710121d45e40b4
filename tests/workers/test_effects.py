"""What is performed beside calls and tools: references, waits, titles, summaries."""

import pytest

from fsm import (
    AwaitRetry,
    ContextState,
    PrepareRequest,
    Reference,
    RequestPrepared,
    RetryDue,
    StopEffect,
    TitleMade,
)
from storage import StoreUnavailable
from tests.support.clock import in_virtual_time, now_s
from tests.support.playbook import CONTEXT_ID, TITLE, replied, say
from tests.workers.performing import Refusing, Saying, scene
from tests.workers.stage import now_ms
from workers.models.scripted import ScriptedModel
from workers.tools.index import SearchFailed

NOTE = Reference(source="note a", title="A", text="About a")


async def found(asking: ContextState, query: str) -> tuple[Reference, ...]:
    """A retriever that finds one thing."""
    assert (asking.owner, query) == ("ada", "Hello")
    return (NOTE,)


async def unavailable(_asking: ContextState, _query: str) -> tuple[Reference, ...]:
    """A retriever whose store is down."""
    raise StoreUnavailable("down")


async def broken_index(_asking: ContextState, _query: str) -> tuple[Reference, ...]:
    """A retriever that cannot search."""
    raise SearchFailed("no such module: fts5")


@in_virtual_time
async def test_retrievers_that_are_unknown_or_fail_leave_the_others_references() -> None:
    async with scene(
        say("Hello"),
        retrievers={"notes": found, "web": unavailable, "search": broken_index},
        retrieval=["web", "nobody", "search", "notes"],
    ) as here:
        assert isinstance(here.book.state.pending["2.0"], PrepareRequest)
        (prepared,) = await here.perform()
        noted = NOTE.model_copy(update={"retriever": "notes"})
        assert prepared == RequestPrepared(at_ms=now_ms(), effect_id="2.0", references=(noted,))


@in_virtual_time
@pytest.mark.parametrize(("due_in_s", "waits_s"), [(7, 7), (0, 0), (-7, 0), (86_400, 60)])
async def test_a_back_off_waits_until_it_is_due(due_in_s: float, waits_s: float) -> None:
    async with scene(say()) as here:
        due_ms = now_ms() + round(due_in_s * 1_000)
        (due,) = await here.perform(AwaitRetry(effect_id="3.0", due_ms=due_ms, wait_ms=60_000))
        assert isinstance(due, RetryDue)
        assert due.effect_id == "3.0"
        assert now_s() == pytest.approx(waits_s, abs=0.01)


@in_virtual_time
async def test_stopping_is_the_activations_own_affair() -> None:
    async with scene(say()) as here:
        with pytest.raises(AssertionError):
            await here.perform(StopEffect(effect_id="2.0"))


@in_virtual_time
async def test_a_title_is_made_of_how_the_conversation_begins_by_the_scripted_model() -> None:
    said = say("One two three four five six seven eight")
    async with scene(said, replied(), TITLE) as here:
        (made,) = await here.perform()
        assert isinstance(made, TitleMade)
        assert made.title == "One two three four five six"


@in_virtual_time
async def test_a_title_that_arrives_in_pieces_is_taken_as_a_whole() -> None:
    async with scene(say(), replied(), TITLE) as here:
        object.__setattr__(here.effects, "model", Saying("On ", "cats"))
        (made,) = await here.perform()
        assert isinstance(made, TitleMade)
        assert made.title == "On cats"


@pytest.mark.parametrize("model", [Refusing(), Saying(" \n"), Saying('"" ')])
@in_virtual_time
async def test_a_title_that_the_model_does_not_make_is_how_the_conversation_begins(
    model: ScriptedModel,
) -> None:
    async with scene(say("Hello there"), replied(), TITLE) as here:
        object.__setattr__(here.effects, "model", model)
        (made,) = await here.perform()
        assert isinstance(made, TitleMade)
        assert made.title == "Hello there"


@in_virtual_time
async def test_a_history_over_its_budget_is_summarised_by_the_model() -> None:
    long = [say("a" * 1_200), replied("b" * 1_200), say("And?")]
    async with scene(*long, limits={"history_tokens_max": 500}) as here:
        (prepared,) = await here.perform()
        assert isinstance(prepared, RequestPrepared)
        assert prepared.summary is not None
        assert prepared.summary.through_id == here.book.branch[1].id
        assert prepared.summary.text.startswith("user: aaa")


@pytest.mark.parametrize("kind", ["refusing", "silent"])
@in_virtual_time
async def test_a_turn_goes_on_without_the_summary_that_the_model_does_not_make(
    kind: str,
) -> None:
    long = [say("a" * 1_200), replied("b" * 1_200), say("And?")]
    async with scene(*long, limits={"history_tokens_max": 500}) as here:
        model = Refusing() if kind == "refusing" else Saying(" \n")
        object.__setattr__(here.effects, "model", model)
        (prepared,) = await here.perform()
        assert isinstance(prepared, RequestPrepared)
        assert prepared.summary is None


@in_virtual_time
async def test_a_context_that_is_forgotten_is_encoded_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(say()) as stage:
        forgotten = list[str]()
        monkeypatch.setattr(stage.effects.requests, "forget", forgotten.append)
        stage.effects.forget(CONTEXT_ID)
    assert forgotten == [CONTEXT_ID]
