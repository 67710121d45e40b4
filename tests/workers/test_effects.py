"""Effects performed for real, with a scripted model, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from pydantic import JsonValue
from typing_extensions import override

from fsm import (
    AnyEffect,
    AwaitRetry,
    CallModel,
    ContextState,
    Event,
    PrepareRequest,
    Reference,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    RequestPrepared,
    RetryDue,
    RunTool,
    StopEffect,
    TitleMade,
    ToolFailed,
    ToolReturned,
    call_digest,
)
from storage import Owned, StoreUnavailable
from tests.support.clock import in_virtual_time, now_s
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import TITLE, Playbook, replied, say, wants
from tests.workers.stage import Scripted, now_ms
from workers import Activation, Effects, WorkerConfig
from workers.models.protocol import (
    ModelError,
    ModelRequest,
    ReplyFinished,
    ReplyItem,
    TextDelta,
)
from workers.models.request import RequestBuilder
from workers.models.scripted import ScriptedModel
from workers.models.wire import name_of
from workers.places import Places
from workers.tools.declaration import Tool, ToolCallContext, tool
from workers.tools.index import SearchFailed
from workers.tools.registry import Registry
from workers.tools.retrieval import Retriever


@tool(effect="idempotent", timeout_s=5.0)
async def echo(text: str, context: ToolCallContext) -> str:
    """Say it back."""
    return f"{text} {context.idempotency_key}"


@tool(effect="once", dangerous=True, timeout_s=5.0)
async def sleep(seconds: float) -> str:
    """Take some time."""
    await asyncio.sleep(seconds)
    return "slept"


@tool(effect="none", timeout_s=5.0)
async def stubborn() -> str:
    """Go on, whatever happens."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(100)
    await asyncio.sleep(100)
    return "at last"


@tool(effect="none", timeout_s=5.0)
async def broken() -> str:
    """Fail."""
    raise LookupError("no such thing")


class Ear(Activation):
    """An activation that only listens."""

    def __init__(self, store: MemoryStore, state: ContextState) -> None:
        owned = Owned(state.id, "0.1", state, (), "", 0, 0)
        super().__init__(
            owned,
            worker_id="w1",
            store=store,
            performer=Scripted(),
            config=WorkerConfig(),
            clock=now_ms,
            on_draft=lambda _: None,
        )
        self.heard: list[Event] = []

    @override
    def post(self, event: Event) -> None:
        self.heard.append(event)


@dataclass(slots=True)
class Scene:
    """A context in which an effect is pending, and what can perform it."""

    book: Playbook
    ear: Ear
    effects: Effects
    config: WorkerConfig = field(default_factory=WorkerConfig)

    async def perform(self, effect: AnyEffect | None = None) -> list[Event]:
        """Perform the pending effect, or another; the answers."""
        effect = effect or next(iter(self.book.state.pending.values()))
        await self.effects.perform(effect, self.book.state, self.ear)
        return self.ear.heard


@contextlib.asynccontextmanager
async def scene(
    *events: Event,
    tools: Sequence[Tool] = (echo, sleep, broken),
    retrievers: Mapping[str, Retriever] | None = None,
    **config: JsonValue,
) -> AsyncGenerator[Scene, None]:
    settings = WorkerConfig(scripted_chunk_ms=1_000)
    effects = Effects(
        model=ScriptedModel(settings),
        requests=RequestBuilder(cache_bytes_max=0),
        tools=Registry(tools, settings),
        retrievers=retrievers or {},
        places=Places(settings.model_connections_max),
        clock=now_ms,
        draw=lambda: 0.25,
    )
    async with open_memory_store() as store:
        book = Playbook(title="", **config).given(*events)
        yield Scene(book, Ear(store, book.state), effects)


# The model


@in_virtual_time
async def test_calls_that_wait_for_the_model_are_made_owner_by_owner() -> None:
    async with scene(say("/chunks 2 1000")) as here:
        effects, called = replace(here.effects, places=Places(1)), list[str]()

        async def call(owner: str) -> None:
            state = here.book.state.model_copy(update={"owner": owner})
            (effect,) = state.pending.values()
            await effects.perform(effect, state, here.ear)
            called.append(owner)

        async with asyncio.TaskGroup() as group:
            for n, owner in enumerate([*["many"] * 50, "one"]):
                group.create_task(call(owner), name=f"call {n}")
        assert called.index("one") == 2
        assert len(called) == 51


@in_virtual_time
async def test_a_turn_whose_time_ends_while_it_waits_for_the_model_fails() -> None:
    async with scene(say("Hello")) as here:
        places = Places(1)
        here = replace(here, effects=replace(here.effects, places=places))
        (effect,) = here.book.state.pending.values()
        await places.take("many", within_s=1)
        (failed,) = await here.perform(effect)
        assert isinstance(failed, ReplyFailed)
        assert (failed.code, failed.retryable) == ("turn_timeout", False)
        with pytest.raises(TimeoutError):  # it has given back no place that it had not
            await places.take("one", within_s=1)


@in_virtual_time
async def test_a_reply_starts_with_its_first_text_and_ends_with_all_of_it() -> None:
    async with scene(say("/chunks 3 1000")) as here:
        started, ended = await here.perform()
        assert isinstance(started, ReplyStarted)
        assert isinstance(ended, ReplyEnded)
        assert started.message_id == ended.message_id
        assert ended.text == "chunk 1 chunk 2 chunk 3 " == here.ear.drafts.partial_of("2.0")
        assert ended.at_ms - started.at_ms == 2_000
        assert ended.metadata["scripted"] is True
        assert (ended.finish_reason, ended.model) == ("stop", "scripted")
        assert ended.usage is not None
        assert (ended.usage.prompt_tokens, ended.usage.completion_tokens) == (3, 6)


@in_virtual_time
async def test_a_call_of_the_clients_tool_is_left_to_the_client() -> None:
    own: JsonValue = [{"name": "weather", "description": "Look."}, {"name": "echo"}]
    said = say('/tool weather {"at": "Bern"}\n/tool echo nonsense\n/tool broken {}')
    async with scene(said, client_tools=own) as here:
        ended = (await here.perform())[-1]
        assert isinstance(ended, ReplyEnded)
        weather, echoed, ours = ended.tool_calls
        assert (weather.name, weather.arguments) == ("weather", '{"at": "Bern"}')
        assert (weather.question, weather.problem) == (True, None)
        assert (echoed.question, echoed.problem) == (True, None)
        assert (ours.question, ours.problem) == (False, None)


@in_virtual_time
async def test_a_tool_of_the_client_goes_before_a_registered_one_of_its_name() -> None:
    own: JsonValue = [{"name": "echo", "description": "Mine.", "strict": True}]
    async with scene(say(), client_tools=own) as here:
        offered = here.effects.offered(here.book.state.config)
    assert [name_of(tool) for tool in offered] == ["broken", "sleep", "echo"]
    assert offered[-1] == {
        "type": "function",
        "function": {"name": "echo", "description": "Mine.", "parameters": {}, "strict": True},
    }


@in_virtual_time
async def test_a_call_that_fails_tells_how_and_keeps_what_had_arrived() -> None:
    async with scene(say("/chunks 4 10\n/fail stream_cut")) as here:
        started, failed = await here.perform()
        assert isinstance(started, ReplyStarted)
        assert isinstance(failed, ReplyFailed)
        assert (failed.code, failed.retryable, failed.partial, failed.message_id) == (
            *("stream_cut", True, "chunk 1 chunk 2 ", started.message_id),
        )
        assert failed.detail.endswith("the scripted model answers.)")
        assert failed.jitter == 0.25


@in_virtual_time
async def test_a_clock_that_was_ahead_gives_a_turn_no_more_time() -> None:
    # Given a turn that began while some clock was a day ahead
    ahead = say("/hang").model_copy(update={"at_ms": now_ms() + 86_400_000})
    async with scene(ahead, limits={"turn_s_max": 20}) as here:
        began_s = now_s()
        failed = (await here.perform())[-1]
        assert isinstance(failed, ReplyFailed)
        assert failed.code == "turn_timeout"
        assert now_s() - began_s == pytest.approx(20, abs=0.1)


@in_virtual_time
async def test_a_call_that_outlasts_its_turn_is_a_turn_timeout_and_not_retried() -> None:
    async with scene(say("/hang"), limits={"turn_s_max": 20}) as here:
        *_, failed = await here.perform()
        assert isinstance(failed, ReplyFailed)
        assert (failed.code, failed.retryable) == ("turn_timeout", False)
        assert now_s() == pytest.approx(20, abs=0.1)
        assert failed.partial


@pytest.mark.parametrize(("wait_s", "retryable"), [(240, True), (360, False)])
@in_virtual_time
async def test_a_wait_that_ends_with_the_turn_is_not_waited(
    wait_s: int, retryable: bool
) -> None:
    async with scene(say()) as here:
        busy = ModelError("rate_limited", "Busy.", True, wait_s * 1_000)
        object.__setattr__(here.effects, "model", Refusing(busy))
        (failed,) = await here.perform()
        assert isinstance(failed, ReplyFailed)
        assert (failed.code, failed.retryable) == ("rate_limited", retryable)
        assert failed.retry_after_ms == wait_s * 1_000


@in_virtual_time
async def test_a_call_whose_turn_is_over_already_is_not_made() -> None:
    async with scene(say("/chunks 3"), limits={"turn_s_max": 1}) as here:
        await asyncio.sleep(60)
        (failed,) = await here.perform()
        assert isinstance(failed, ReplyFailed)
        assert (failed.code, failed.retryable, failed.partial) == ("turn_timeout", False, "")
        assert failed.message_id is None


@in_virtual_time
async def test_calls_of_a_reply_come_with_what_the_registry_knows() -> None:
    said = (
        '/tool echo {"text": "hi"}\n/tool sleep {"seconds": 1}\n/tool nothing {}\n/tool echo {}'
    )
    async with scene(say(said)) as here:
        (ended,) = await here.perform()
        assert isinstance(ended, ReplyEnded)
        assert ended.finish_reason == "tool_calls"
        shown = [(call.name, call.effect, call.dangerous) for call in ended.tool_calls]
        assert shown[:2] == [("echo", "idempotent", False), ("sleep", "once", True)]
        problems = [call.problem for call in ended.tool_calls]
        assert problems[:2] == [None, None]
        assert problems[2] == "There is no tool called 'nothing'."
        assert problems[3] is not None
        assert problems[3].startswith("text:")


@in_virtual_time
@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize("question", [False, True])
async def test_a_call_says_whose_words_it_brings_and_who_answers_it(
    untrusted: bool, question: bool
) -> None:
    asked = replace(echo, untrusted=untrusted, question=question)
    async with scene(say('/tool echo {"text": "hi"}'), tools=(asked,)) as here:
        (ended,) = await here.perform()
        assert isinstance(ended, ReplyEnded)
        (call,) = ended.tool_calls
        assert (call.untrusted, call.question) == (untrusted, question)


@in_virtual_time
@pytest.mark.parametrize("role", ["ops", "sales", None])
async def test_a_tool_for_other_roles_is_as_good_as_none(role: str | None) -> None:
    for_ops = replace(echo, roles=frozenset({"ops"}))
    said = say('/tool echo {"text": "hi"}')
    async with scene(said, tools=(for_ops, sleep), role=role) as here:
        (ended,) = await here.perform()
        assert isinstance(ended, ReplyEnded)
        unknown = None if role == "ops" else "There is no tool called 'echo'."
        assert [call.problem for call in ended.tool_calls] == [unknown]
        # Nor does it run if the role has changed since it was approved.
        *_, answered = await here.perform(run_tool("echo", '{"text": "hi"}'))
        assert isinstance(answered, ToolReturned if role == "ops" else ToolFailed)


@in_virtual_time
@pytest.mark.parametrize(("role", "asked"), [("ops", ["echo"]), ("sales", [])])
async def test_the_model_is_offered_what_is_for_the_role(role: str, asked: list[str]) -> None:
    for_ops = replace(echo, roles=frozenset({"ops"}))
    # The scripted model asks for tools only where it is offered some.
    async with scene(say('/tool echo {"text": "hi"}'), tools=(for_ops,), role=role) as here:
        *_, ended = await here.perform()
        assert isinstance(ended, ReplyEnded)
        assert [call.name for call in ended.tool_calls] == asked


@in_virtual_time
async def test_a_call_without_tools_offers_none() -> None:
    async with scene(say("/tool echo {}")) as here:
        effect = here.book.state.pending["2.0"]
        assert isinstance(effect, CallModel)
        *_, ended = await here.perform(effect.model_copy(update={"with_tools": False}))
        assert isinstance(ended, ReplyEnded)
        assert ended.tool_calls == ()


@in_virtual_time
async def test_a_call_of_a_new_worker_waits_for_tools_that_are_expected() -> None:
    expected = replace(echo, name="later__echo")
    async with scene(say('/tool later__echo {"text": "hi"}')) as here:
        tools = here.effects.tools
        tools.expect("later")
        asyncio.get_running_loop().call_later(3.0, tools.replace, "later", (expected,))
        *_, ended = await here.perform()
        assert isinstance(ended, ReplyEnded)
        assert [(call.name, call.problem) for call in ended.tool_calls] == [
            ("later__echo", None)
        ]
        # One that tells nothing is waited for no longer than the turn may last.
        tools.expect("never")
        *_, failed = await here.perform()
        assert isinstance(failed, ReplyFailed)
        assert failed.code == "turn_timeout"


@in_virtual_time
async def test_a_cancelled_call_says_nothing_more() -> None:
    async with scene(say("/chunks 9 1000")) as here:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await here.perform()
        assert [type(event) for event in here.ear.heard] == [ReplyStarted]
        assert here.ear.drafts.partial_of("2.0") == "chunk 1 chunk 2 chunk 3 "


# Tools


def run_tool(name: str, arguments: str, *, digest: str = "", due_ms: int = 0) -> RunTool:
    return RunTool(
        effect_id="4.0",
        attempt=1,
        call_id="c1",
        name=name,
        arguments=arguments,
        digest=digest or call_digest(name, arguments),
        effect="none",
        due_ms=due_ms or now_ms() + 60_000,
    )


@in_virtual_time
async def test_a_tool_answers_and_knows_its_idempotency_key() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        (returned,) = await here.perform(run_tool("echo", '{"text": "hi"}'))
        assert isinstance(returned, ToolReturned)
        assert returned.content == f"hi {here.book.state.id}:4.0"
        await asyncio.sleep(60)
        assert here.ear.heard == [returned]  # it is not answered for, too


@in_virtual_time
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("broken", "{}", "raised"),
        ("nothing", "{}", "unknown_tool"),
        ("echo", "{}", "bad_arguments"),
        ("sleep", '{"seconds": 100}', "timeout"),
    ],
)
async def test_a_tool_that_fails_is_an_event(name: str, arguments: str, code: str) -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        (failed,) = await here.perform(run_tool(name, arguments))
        assert isinstance(failed, ToolFailed)
        assert (failed.code, failed.effect_id) == (code, "4.0")
        assert now_s() == pytest.approx(5 if code == "timeout" else 0, abs=0.1)


@in_virtual_time
async def test_other_arguments_than_those_approved_are_not_run() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        approved = call_digest("sleep", '{"seconds": 1}')
        effect = run_tool("sleep", '{"seconds": 2}', digest=approved)
        (failed,) = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert failed.code == "digest_mismatch"
        assert now_s() == 0


@in_virtual_time
async def test_a_tool_gets_no_more_time_than_its_turn_has() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        effect = run_tool("sleep", '{"seconds": 100}', due_ms=now_ms() + 2_000)
        (failed,) = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert failed.code == "timeout"
        assert now_s() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("left_s", "answered_s"), [(300, 6), (2, 3)])
@in_virtual_time
async def test_a_tool_that_goes_on_though_it_was_cancelled_is_answered_for(
    left_s: int, answered_s: int
) -> None:
    for_ops = replace(stubborn, roles=frozenset({"ops"}))
    async with scene(say(), replied("", wants("c1")), tools=(for_ops,), role="ops") as here:
        effect = run_tool("stubborn", "{}", due_ms=now_ms() + 1_000 * left_s)
        began_ms = now_ms()
        failed, returned = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert (failed.code, failed.effect_id) == ("timeout", "4.0")
        assert failed.at_ms - began_ms == pytest.approx(1_000 * answered_s, abs=100)
        # It answers nothing any more; the machine drops it.
        assert isinstance(returned, ToolReturned)


# Retrieval and waiting

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
    retrievers: dict[str, Retriever] = {
        "notes": found,
        "web": unavailable,
        "search": broken_index,
    }
    asked: list[JsonValue] = ["web", "nobody", "search", "notes"]
    async with scene(say("Hello"), retrievers=retrievers, retrieval=asked) as here:
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


@in_virtual_time
async def test_a_title_that_the_model_does_not_make_is_how_the_conversation_begins() -> None:
    async with scene(say("Hello there"), replied(), TITLE) as here:
        object.__setattr__(here.effects, "model", Refusing())
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


class Refusing(ScriptedModel):
    """Answers nothing."""

    def __init__(self, error: ModelError | None = None) -> None:
        super().__init__(WorkerConfig())
        self._error = error or ModelError("overloaded", "Busy.", True)

    @override
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        raise self._error
        yield TextDelta("never")


class Saying(ScriptedModel):
    """Answers with these pieces; one that only thinks, with no text."""

    def __init__(self, *pieces: str) -> None:
        super().__init__(WorkerConfig())
        self._pieces = pieces

    @override
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        for piece in self._pieces:
            yield TextDelta(piece)
        yield ReplyFinished(
            text="".join(self._pieces),
            tool_calls=(),
            finish_reason="length",
            usage=None,
            model=None,
            metadata={},
        )
