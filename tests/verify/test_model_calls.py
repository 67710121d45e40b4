"""The checker of model calls accepts what the product asks, and refuses any other request."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fsm import CallModel, MakeTitle, Summary, replay, transition
from tests.support.playbook import (
    CONTEXT_ID,
    STARTED,
    TITLE,
    Playbook,
    approve,
    branch as create,
    cancel,
    configure,
    edit,
    failed,
    prepared,
    replied,
    reply_lost,
    returned,
    say,
    switch,
    titled,
    wants,
)
from verify.model_calls import check_model_calls
from verify.records import Json, Log, ModelCall
from workers.models.request import RequestBuilder

Calls = list[ModelCall]
Messages = list[Json]
Change = Callable[[Messages], Messages]


def story() -> Playbook:
    """A context in which everything happens that changes what the model is shown."""
    book = Playbook(system_prompt="Be kind.", tool_policy={"mode": "manual"})
    book.given(say("one"), replied("", wants("a"), wants("b")), approve("a", "b"))
    book.given(returned("It is noon."), say("now", policy="steer"), returned("It is night."))
    book.given(STARTED, reply_lost(), replied("Both."), TITLE)
    book.given(say("two"), titled(), replied("", wants("c")), cancel())
    book.given(edit(book.branch[0].id, "uno"), configure(system_prompt="Be brief."))
    book.given(STARTED, cancel("Hel"), create("side", system_prompt="Be wild."))
    book.given(switch("side"), say("three"), failed(), say("four"), replied("Four."))
    return book


def summarised() -> Playbook:
    """A context whose beginning a summary stands for."""
    book = Playbook(limits={"history_tokens_max": 500})
    book.given(say("long " * 500), replied("Long."), say("and now?"))
    through_id = book.branch[1].id
    return book.given(prepared(summary=Summary(through_id=through_id, text="It was long.")))


def log_of(book: Playbook) -> Log:
    events = tuple(event.model_dump(mode="json") for event in book.log)
    return Log(context_id=CONTEXT_ID, events=events)


def calls_of(book: Playbook) -> Calls:
    """What a worker asks that begins each effect as soon as it is committed."""
    requests = RequestBuilder(cache_bytes_max=1_000_000)
    made: Calls = []
    state = replay(book.log[:1])
    for event in book.log[1:]:
        state, effects = transition(state, event)
        for effect in effects:
            if isinstance(effect, CallModel):
                request = requests.build(state, effect, (), now_ms=0)
                made.append(call(effect.effect_id, *request.messages))
            elif isinstance(effect, MakeTitle):
                made.append(call(effect.effect_id, {"role": "user", "content": "A title!"}))
    return made


def call(effect_id: str, *messages: Json) -> ModelCall:
    return ModelCall(context_id=CONTEXT_ID, effect_id=effect_id, messages=messages, at_s=0.0)


def checks(calls: Calls, book: Playbook) -> set[str]:
    return {found.check for found in check_model_calls(calls, [log_of(book)])}


def shown(at: int, change: Change) -> Callable[[Calls], Calls]:
    """The calls, one of them with other messages; nothing may be the same by chance."""

    def changed(calls: Calls) -> Calls:
        before = list(calls[at].messages)
        after = change(list(before))
        assert after != before
        return [replace(one, messages=after) if one is calls[at] else one for one in calls]

    return changed


def content(at: int, text: str) -> Change:
    return lambda messages: [
        {**message, "content": text} if number == at % len(messages) else message
        for number, message in enumerate(messages)
    ]


CHANGES: list[Change] = [
    lambda messages: messages[:-1],
    lambda messages: messages[1:],
    lambda messages: [*messages, messages[-1]],
    lambda messages: [*messages[:-2], messages[-1], messages[-2]],
    lambda messages: [m for m in messages if m["role"] != "tool"],
    lambda messages: [m for m in messages if not m.get("tool_calls")],
    lambda messages: [*messages[:-1], {**messages[-1], "role": "assistant"}],
    content(0, "Be wild."),
    content(1, "two"),
    content(3, "It is dawn."),
    content(-1, ""),
]


@pytest.mark.parametrize("book", [story(), summarised()])
def test_what_the_product_asks_is_what_was_said(book: Playbook) -> None:
    assert len(calls_of(book)) == sum(
        isinstance(e, CallModel | MakeTitle) for e in issued(book)
    )
    assert checks(calls_of(book), book) == set()


def issued(book: Playbook) -> list[object]:
    state, found = replay(book.log[:1]), list[object]()
    for event in book.log[1:]:
        state, effects = transition(state, event)
        found += effects
    return found


def test_a_call_that_the_log_never_asks_for_is_found() -> None:
    assert checks([*calls_of(story()), call("3.0")], story()) == {"model-call-unasked"}


def test_a_reply_is_asked_for_as_often_as_the_log_says() -> None:
    calls = calls_of(story())
    restarted = [one for one in calls if one.effect_id == calls[1].effect_id]
    assert len(restarted) == 2
    assert checks([*calls, calls[1]], story()) == {"model-called-too-often"}
    assert checks([*calls, calls[0]], story()) == {"model-called-too-often"}


def test_a_title_may_be_asked_for_again() -> None:
    titles = [one for one in calls_of(story()) if one.messages[-1]["content"] == "A title!"]
    assert checks([*calls_of(story()), *titles, *titles], story()) == set()


def test_calls_of_a_context_without_a_log_are_left_out() -> None:
    others = [replace(call("3.0"), context_id="another")]
    assert checks([*calls_of(story()), *others], story()) == set()


def test_a_log_that_does_not_replay_is_found() -> None:
    book = story()
    book.log[4] = book.log[2]
    assert checks([], book) == {"log-does-not-replay"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_with_other_messages_is_found(
    change: Change,
) -> None:
    steered = 1
    messages = calls_of(story())[steered].messages
    roles = [message["role"] for message in messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert checks(shown(steered, change)(calls_of(story())), story()) == {
        "model-shown-otherwise"
    }


def test_a_call_that_no_result_answers_has_one_that_says_so() -> None:
    dangling = Playbook(tool_policy={"mode": "manual"})
    dangling.given(say("one"), replied("", wants("c")), cancel(), say("two"))
    assert checks(calls_of(dangling), dangling) == set()
    without = shown(1, lambda messages: [m for m in messages if m["role"] != "tool"])
    assert checks(without(calls_of(dangling)), dangling) == {"model-shown-otherwise"}


def test_messages_of_a_line_that_was_left_are_found() -> None:
    calls = calls_of(story())
    at = next(n for n, one in enumerate(calls) if one.messages[-1]["content"] == "uno")
    left = shown(at, lambda messages: [*calls[at - 1].messages, messages[-1]])
    assert checks(left(calls), story()) == {"model-shown-otherwise"}


def test_a_prompt_of_any_version_at_which_the_call_is_wanted_is_right() -> None:
    calls = calls_of(story())
    at = next(n for n, one in enumerate(calls) if one.messages[-1]["content"] == "uno")
    assert checks(shown(at, content(0, "Be brief."))(calls), story()) == set()
    wild = shown(at, content(0, "Be wild."))
    assert checks(wild(calls), story()) == {"model-shown-otherwise"}


def test_what_a_summary_stands_for_is_not_shown() -> None:
    calls = calls_of(summarised())
    assert [m["role"] for m in calls[-1].messages] == ["system", "user"]
    first = calls[0].messages
    both = shown(-1, lambda messages: [messages[0], *first, messages[-1]])
    assert checks(both(calls), summarised()) == {"model-shown-otherwise"}
    without = shown(-1, lambda messages: messages[1:])
    assert checks(without(calls), summarised()) == {"model-shown-otherwise"}
