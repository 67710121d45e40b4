"""Calls of a model performed for real, with a scripted one, in virtual time."""

import asyncio
from dataclasses import replace

import pytest
import structlog

from fsm import (
    CallModel,
    Event,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    ToolFailed,
    ToolReturned,
)
from tests.support.clock import in_virtual_time, now_s
from tests.support.playbook import CONTEXT_ID, TITLE, replied, say
from tests.workers.performing import Refusing, echo, run_tool, scene, sleep
from tests.workers.stage import now_ms
from workers.models.protocol import ModelError
from workers.models.wire import name_of
from workers.places import Places


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
async def test_a_call_that_is_stopped_leaves_its_place_to_the_next() -> None:
    async with scene(say("/chunks 9 1000")) as here:
        effects = replace(here.effects, places=Places(1))
        here = replace(here, effects=effects)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await here.perform()
        await effects.places.take("one", within_s=0)


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
    said = say('/tool weather {"at": "Bern"}\n/tool echo nonsense\n/tool broken {}')
    async with scene(
        said, client_tools=[{"name": "weather", "description": "Look."}, {"name": "echo"}]
    ) as here:
        ended = (await here.perform())[-1]
        assert isinstance(ended, ReplyEnded)
        weather, echoed, ours = ended.tool_calls
        assert (weather.name, weather.arguments) == ("weather", '{"at": "Bern"}')
        assert (weather.question, weather.problem) == (True, None)
        assert (echoed.question, echoed.problem) == (True, None)
        assert (ours.question, ours.problem) == (False, None)


@in_virtual_time
async def test_a_tool_of_the_client_goes_before_a_registered_one_of_its_name() -> None:
    async with scene(
        say(), client_tools=[{"name": "echo", "description": "Mine.", "strict": True}]
    ) as here:
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


@pytest.mark.parametrize(
    ("asked", "message", "effect_id"),
    [
        ([say()], "model call failed", "2.0"),
        ([say("a" * 1_200), replied("b" * 1_200), say("And?")], "summary failed", "4.0"),
        ([say(), replied(), TITLE], "title failed", "4.0"),
    ],
)
@in_virtual_time
async def test_the_log_says_what_the_model_has_failed_of(
    asked: list[Event], message: str, effect_id: str
) -> None:
    async with scene(*asked, limits={"history_tokens_max": 500}) as here:
        unreachable = ModelError("connection", "It could not be reached.", True)
        unreachable.__cause__ = ConnectionRefusedError(111, "Connect call failed")
        object.__setattr__(here.effects, "model", Refusing(unreachable))
        with structlog.testing.capture_logs() as lines:
            await here.perform()
    assert lines == [
        {
            "event": message,
            "log_level": "warning",
            "context_id": CONTEXT_ID,
            "effect_id": effect_id,
            "code": "connection",
            "retryable": True,
            "cause": "ConnectionRefusedError: [Errno 111] Connect call failed",
        }
    ]


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
