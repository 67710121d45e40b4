import time
from collections.abc import Sequence

import orjson
import pytest
from pydantic import JsonValue

import workers.models.request
from fsm import (
    Branch,
    CallModel,
    Config,
    ContextState,
    Message,
    Reference,
    Summary,
    ToolCall,
    Turn,
)
from tests.support.playbook import (
    CONTEXT_ID,
    Playbook,
    approve,
    cancel,
    replied,
    returned,
    say,
    wants,
)
from workers.models import ModelRequest, RequestBuilder
from workers.models.wire import NO_RESULT, WireMessage, wire_message

EFFECT = CallModel(effect_id="3.0", attempt=2, with_tools=True, due_ms=61_500)
TOOL: dict[str, JsonValue] = {"type": "function", "function": {"name": "clock"}}


def message(number: int, role: str, content: str = "", **fields: object) -> Message:
    return Message.model_validate(
        {
            "id": f"m{number}",
            "seq": number,
            "parent_id": f"m{number - 1}" if number > 1 else None,
            "role": role,
            "content": content,
            "created_at_ms": 0,
            **fields,
        }
    )


def state(*messages: Message, config: Config | None = None, **fields: object) -> ContextState:
    head = messages[-1].id if messages else None
    return ContextState(
        id=CONTEXT_ID, owner="o", created_at_ms=0, updated_at_ms=0, config=config or Config()
    ).model_copy(
        update={"messages": messages, "branches": {"main": Branch(head=head)}, **fields}
    )


def build_request(given: ContextState, effect: CallModel, *, now_ms: int) -> ModelRequest:
    return RequestBuilder(cache_bytes_max=0).build(given, effect, (TOOL,), now_ms=now_ms)


def sent(
    given: ContextState, builder: RequestBuilder | None = None
) -> tuple[dict[str, object], ...]:
    builder = builder or RequestBuilder(cache_bytes_max=0)
    request = builder.build(given, EFFECT, (TOOL,), now_ms=60_000)
    return tuple(dict(wire) for wire in request.messages)


def asked(number: int, *ids: str, content: str = "", **fields: object) -> Message:
    calls = tuple(ToolCall(id=call, name="clock", arguments="{}") for call in ids)
    return message(number, "assistant", content, tool_calls=calls, **fields)


def wire_calls(*ids: str) -> list[dict[str, object]]:
    return [
        {"id": call, "type": "function", "function": {"name": "clock", "arguments": "{}"}}
        for call in ids
    ]


def test_a_request_carries_what_the_state_says() -> None:
    config = Config(model="m", system_prompt="Be brief.", parameters={"temperature": 0})
    request = build_request(
        state(message(1, "user", "hi"), config=config), EFFECT, now_ms=60_000
    )
    assert request.model == "m"
    assert request.parameters == {"temperature": 0}
    assert request.tools == (TOOL,)
    assert request.idempotency_key == f"{CONTEXT_ID}:3.0"
    assert request.timeout_s == 1.5
    assert request.attempt == 2
    assert request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    )


def test_time_that_is_over_is_zero_and_tools_are_left_out_where_they_are_not_wanted() -> None:
    effect = EFFECT.model_copy(update={"with_tools": False})
    request = build_request(state(message(1, "user")), effect, now_ms=90_000)
    assert (request.timeout_s, request.tools) == (0.0, ())


def test_an_empty_context_gives_no_messages() -> None:
    assert sent(state()) == ()


def test_references_stand_in_the_one_system_message() -> None:
    found = (Reference(source="note 1", title="Cats", text="They purr."),)
    turn = Turn(id="m1", started_at_ms=0, references=found)
    config = Config(system_prompt="Be brief.")
    first, second = sent(state(message(1, "user", "hi"), config=config, turn=turn))
    assert first["role"] == "system"
    assert str(first["content"]).startswith("Be brief.\n\nFound for this request.")
    assert str(first["content"]).endswith("[1] Cats (note 1)\nThey purr.")
    assert second["role"] == "user"


def test_only_the_active_branch_is_sent() -> None:
    given = state(
        message(1, "user", "a"),
        message(2, "assistant", "left"),
        message(3, "assistant", "right", parent_id="m1"),
        message(4, "user", "b"),
    )
    assert [wire["content"] for wire in sent(given)] == ["a", "right", "b"]


def test_tool_calls_and_their_results_are_sent_as_the_protocol_has_them() -> None:
    given = state(
        message(1, "user", "time?"),
        asked(2, "x"),
        message(3, "tool", "12:00", tool_call_id="x"),
    )
    assert sent(given)[1:] == (
        {"role": "assistant", "content": None, "tool_calls": wire_calls("x")},
        {"role": "tool", "tool_call_id": "x", "content": "12:00"},
    )


def test_calls_that_nothing_answered_are_answered_by_a_stub() -> None:
    given = state(
        message(1, "user", "time?"),
        asked(2, "x", "y"),
        message(3, "tool", "12:00", tool_call_id="y"),
        message(4, "user", "never mind"),
        asked(5, "z", content="Wait", status="cancelled"),
    )
    assert sent(given)[2:] == (
        {"role": "tool", "tool_call_id": "y", "content": "12:00"},
        {"role": "tool", "tool_call_id": "x", "content": NO_RESULT},
        {"role": "user", "content": "never mind"},
        {"role": "assistant", "content": "Wait", "tool_calls": wire_calls("z")},
        {"role": "tool", "tool_call_id": "z", "content": NO_RESULT},
    )


def test_a_call_that_ran_when_its_turn_was_stopped_is_not_called_undone() -> None:
    book = Playbook().given(say(), replied("", wants("x", effect="once")), approve("x"))
    assert [effect.kind for effect in book.state.pending.values()] == ["run-tool"]
    book.given(cancel(), say("Go on."))
    (stub,) = [wire for wire in sent(book.state) if wire["role"] == "tool"]
    assert str(stub["content"]).endswith("Whether it was carried out is not known.")


def test_the_model_is_told_of_arguments_that_a_person_has_changed() -> None:
    book = Playbook().given(say(), replied("", wants("x", '{"amount":1000}')))
    book.given(approve(x='{"amount":10}'), returned("paid"))
    (told,) = [wire for wire in sent(book.state) if wire["role"] == "tool"]
    assert told["content"] == '[A person changed the arguments to {"amount":10}]\npaid'


def test_a_result_that_answers_nothing_open_is_left_out() -> None:
    given = state(
        message(1, "user", "time?"),
        asked(2, "x"),
        message(3, "tool", "12:00", tool_call_id="x"),
        message(4, "tool", "again", tool_call_id="x"),
        message(5, "tool", "whose?", tool_call_id="y"),
    )
    assert [wire["content"] for wire in sent(given)] == ["time?", None, "12:00"]


@pytest.mark.parametrize("status", ["cancelled", "interrupted", "failed"])
def test_partial_replies_are_sent_unless_they_are_empty(status: str) -> None:
    given = state(
        message(1, "user", "a"),
        message(2, "assistant", "hal", status=status),
        message(3, "user", "b"),
        message(4, "assistant", "", status=status),
        message(5, "user", "c"),
    )
    assert [wire["content"] for wire in sent(given)] == ["a", "hal", "b", "c"]


def test_parts_become_content_parts() -> None:
    image: dict[str, JsonValue] = {
        "type": "image",
        "data": "QQ==",
        "media_type": "image/png",
        "detail": "low",
    }
    parts: tuple[dict[str, JsonValue], ...] = (
        {"type": "text", "text": "what is this?"},
        {"type": "image", "url": "https://images.invalid/a.png", "detail": 10**30},
        image,
        {"type": "image_url", "image_url": {"url": "https://images.invalid/b.png"}},
        {"type": "file_reference", "name": "notes.pdf", "id": "f1"},
        {"type": "hologram", "density": 3},
        {},
    )
    (wire,) = sent(state(message(1, "user", "what is this?", parts=parts)))
    assert wire["content"] == [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "https://images.invalid/a.png"}},
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,QQ==", "detail": "low"},
        },
        {"type": "image_url", "image_url": {"url": "https://images.invalid/b.png"}},
        {"type": "text", "text": "[file_reference: notes.pdf]"},
        {"type": "text", "text": "[hologram]"},
        {"type": "text", "text": "[attachment]"},
    ]


def test_text_beside_parts_is_said_first() -> None:
    parts = ({"type": "image", "url": "https://images.invalid/a.png"},)
    (wire,) = sent(state(message(1, "user", "look", parts=parts)))
    content = wire["content"]
    assert isinstance(content, list)
    assert content[0] == {"type": "text", "text": "look"}


def history(count: int) -> tuple[Message, ...]:
    """Turns of a question, a tool call, its result and a reply."""
    return tuple(turn_part(number) for number in range(1, count + 1))


def turn_part(number: int) -> Message:
    match number % 4:
        case 1:
            return message(number, "user", f"question {number} " * 12)
        case 2:
            return asked(number, f"call{number}")
        case 3:
            return message(number, "tool", "12:00", tool_call_id=f"call{number - 1}")
        case _:
            return message(number, "assistant", f"answer {number} " * 12)


def test_what_is_remembered_changes_nothing_in_any_order_of_calls() -> None:
    messages = history(40)
    builder = RequestBuilder(cache_bytes_max=1_000_000)
    for count in (1, 2, 3, 3, 4, 9, 10, 40, 7, 8, 40, 0, 40):
        given = state(*messages[:count])
        assert sent(given, builder) == sent(given)


def test_an_old_id_with_other_words_is_not_taken_from_memory() -> None:
    builder = RequestBuilder(cache_bytes_max=1_000_000)
    sent(state(message(1, "user", "old")), builder)
    again = state(message(1, "user", "new"), message(2, "user", "more"))
    assert [wire["content"] for wire in sent(again, builder)] == ["new", "more"]


def what_is_encoded(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    encoded: list[Message] = []

    def counted(said: Message) -> WireMessage | None:
        encoded.append(said)
        return wire_message(said)

    monkeypatch.setattr(workers.models.request, "wire_message", counted)
    return encoded


def test_memory_is_bounded_and_holds_what_was_built_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = what_is_encoded(monkeypatch)
    builder = RequestBuilder(cache_bytes_max=3_000)  # of about 930 bytes each
    given = [
        state(message(1, "user", "x" * 400)).model_copy(update={"id": f"c{number}"})
        for number in range(50)
    ]
    for each in given:
        sent(each, builder)
    encoded.clear()
    for each in reversed(given):
        sent(each, builder)
    assert len(encoded) == len(given) - 3


def test_what_is_forgotten_takes_no_memory_and_is_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = what_is_encoded(monkeypatch)
    builder = RequestBuilder(cache_bytes_max=3_000)  # of about 930 bytes each
    given = [
        state(message(1, "user", "x" * 400)).model_copy(update={"id": f"c{number}"})
        for number in range(3)
    ]
    for each in (*given, *given):
        sent(each, builder)
    assert len(encoded) == 3
    builder.forget("c0")
    builder.forget("c0")
    for number in range(20):
        sent(given[0].model_copy(update={"id": f"d{number}"}), builder)
        builder.forget(f"d{number}")
    encoded.clear()
    for each in given:
        sent(each, builder)
    assert len(encoded) == 1


def timed_us(builder: RequestBuilder, states: Sequence[ContextState]) -> float:
    start_s = time.perf_counter()
    for given in states:
        builder.build(given, EFFECT, (TOOL,), now_ms=0)
    return (time.perf_counter() - start_s) / len(states) * 1e6


def test_a_call_of_a_long_conversation_encodes_only_what_is_new() -> None:
    messages = history(400)
    fresh = [state(*messages)] * 10
    cold_us = min(timed_us(RequestBuilder(cache_bytes_max=0), fresh) for _ in range(5))
    builder = RequestBuilder(cache_bytes_max=10_000_000)
    builder.build(state(*messages[:200]), EFFECT, (TOOL,), now_ms=0)
    grown = [state(*messages[:count]) for count in range(204, 401, 4)]
    warm_us = timed_us(builder, grown)
    # Measured: 420 us against 10 us; the bounds leave room for a slow machine.
    assert warm_us < cold_us / 3
    assert orjson.loads(builder.build(grown[-1], EFFECT, (), now_ms=0).messages_json)


# Summaries, branches


def summarised(text: str = "In short.", through: str = "m2") -> ContextState:
    """Four messages, the first two of which a summary stands for."""
    given = state(
        message(1, "user", "a"),
        message(2, "assistant", "b"),
        message(3, "user", "c"),
        message(4, "assistant", "d"),
    )
    return given.model_copy(update={"summaries": (Summary(through_id=through, text=text),)})


def test_a_summary_stands_for_what_it_covers() -> None:
    first, *rest = sent(summarised())
    assert first["role"] == "system"
    assert str(first["content"]).endswith("In short.")
    assert [wire["content"] for wire in rest] == ["c", "d"]


def test_what_is_remembered_is_not_used_beside_another_summary() -> None:
    builder = RequestBuilder(cache_bytes_max=100_000)
    whole = summarised().model_copy(update={"summaries": ()})
    for given in (whole, summarised(), whole, summarised(through="m1"), summarised()):
        assert sent(given, builder) == sent(given)


def test_a_branch_has_its_own_system_prompt() -> None:
    given = state(message(1, "user", "a"), config=Config(system_prompt="Be brief."))
    branches = {"main": Branch(head="m1", system_prompt="Rhyme.")}
    first, _ = sent(given.model_copy(update={"branches": branches}))
    assert first == {"role": "system", "content": "Rhyme."}
    branches = {"main": Branch(head="m1", system_prompt="")}
    assert len(sent(given.model_copy(update={"branches": branches}))) == 1


def test_attachments_are_shown_to_the_model() -> None:
    parts = (
        {"type": "text", "text": "Look:"},
        {"type": "text_attachment", "name": "a.txt", "text": "line"},
        {"type": "file_reference", "name": "b.pdf", "url": "https://example.org/b.pdf"},
    )
    (wire,) = sent(state(message(1, "user", "Look:", parts=parts)))
    assert wire["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "text", "text": "[attached: a.txt]\nline"},
        {"type": "text", "text": "[file_reference: b.pdf, https://example.org/b.pdf]"},
    ]
