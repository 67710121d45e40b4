import json

import orjson
import pytest
from pydantic import JsonValue

from fsm import Usage
from workers.models import ModelConfig, ModelError, ModelToolCall
from workers.models.assembly import ReplyAssembly


def assembly(**config: int) -> ReplyAssembly:
    return ReplyAssembly(ModelConfig.model_validate(config), idempotency_key="c1:3.0")


def event(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def delta(finish_reason: str | None = None, **parts: JsonValue) -> bytes:
    return event(
        {
            "id": "r1",
            "model": "m",
            "choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}],
        }
    )


DONE = b"data: [DONE]\n\n"


def code_of(reply: ReplyAssembly) -> str:
    with pytest.raises(ModelError) as caught:
        reply.finished()
    return caught.value.code


def test_the_deltas_of_one_read_come_out_as_one_text() -> None:
    reply = assembly()
    assert reply.feed(
        delta(content="Grüß ") + delta(content="Gott") + delta("stop") + DONE
    ) == ("Grüß Gott")
    assert reply.over
    assert reply.finished().text == "Grüß Gott"
    assert reply.finished().finish_reason == "stop"
    assert reply.finished().model == "m"
    assert reply.finished().metadata == {"response_id": "r1"}


def test_a_character_cut_in_two_by_the_network_arrives_whole() -> None:
    reply = assembly()
    stream = delta(content="🙂")
    at = stream.index("🙂".encode()) + 2
    assert reply.feed(stream[:at]) == ""
    assert reply.feed(stream[at:]) == "🙂"


def test_usage_comes_in_a_chunk_without_choices() -> None:
    reply = assembly()
    reply.feed(delta("stop", content="x"))
    reply.feed(event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}))
    reply.feed(DONE)
    assert reply.finished().usage == Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ((5, 2, 7), (5, 2, 7)),
        ((5, 2, 2**64 - 1), (5, 2, 10**9)),
        ((2**63, 2, None), (10**9, 2, 10**9)),
        ((-5, 2, -3), (0, 2, 0)),
        ((2**70, 1e30, "7"), (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
def test_counts_of_tokens_that_cannot_be_are_cut_to_what_is_added_up(
    streams: bool, told: tuple[JsonValue, ...], taken: tuple[int, int, int]
) -> None:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    said: JsonValue = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": dict(zip(names, told, strict=True)),
    }
    body = json.dumps(said).encode()  # orjson writes no numbers over 64 bits
    reply = assembly()
    if streams:
        reply.feed(b"data: " + body + b"\n\n")
    else:
        reply.feed_whole(body)
    usage = reply.finished().usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == taken


def piece(**parts: JsonValue) -> bytes:
    return delta(tool_calls=[parts])


def test_tool_calls_are_put_together_by_index() -> None:
    reply = assembly()
    reply.feed(piece(index=1, id="b", function={"name": "second", "arguments": ""}))
    reply.feed(piece(index=0, id="a", function={"name": "first", "arguments": '{"x"'}))
    reply.feed(piece(index=1, function={"arguments": '{"y": 2}'}))
    reply.feed(piece(index=0, function={"arguments": ": 1}"}))
    reply.feed(DONE)
    assert reply.finished().tool_calls == (
        ModelToolCall("a", "first", '{"x": 1}'),
        ModelToolCall("b", "second", '{"y": 2}'),
    )
    assert reply.finished().finish_reason == "tool_calls"


def test_tool_calls_without_index_id_or_arguments_are_still_told_apart() -> None:
    reply = assembly()
    reply.feed(piece(id="a", function={"name": "first"}))
    reply.feed(piece(id="a", function={"arguments": "{}"}))
    reply.feed(piece(id="b", function={"name": "second", "arguments": {"x": 1}}))
    reply.feed(delta("tool_calls"))
    assert reply.finished().tool_calls == (
        ModelToolCall("a", "first", "{}"),
        ModelToolCall("b", "second", '{"x":1}'),
    )
    nameless = assembly()
    nameless.feed(piece(index=0, function={"name": "clock"}) + DONE)
    assert nameless.finished().tool_calls == (ModelToolCall("call_c1_3_0_0", "clock", "{}"),)


def test_tool_calls_under_one_index_or_none_are_told_apart_by_their_names() -> None:
    # Ollama gives all calls the index 0: https://github.com/ollama/ollama/issues/15457
    same = assembly()
    same.feed(piece(index=0, id="a", function={"name": "look", "arguments": '{"at":'}))
    same.feed(piece(index=0, id="a", function={"name": "look", "arguments": "1}"}))
    same.feed(piece(index=0, id="b", function={"name": "look", "arguments": '{"at":'}))
    same.feed(piece(index=0, function={"arguments": "2}"}) + delta("tool_calls"))
    assert same.finished().tool_calls == (
        ModelToolCall("a", "look", '{"at":1}'),
        ModelToolCall("b", "look", '{"at":2}'),
    )
    bare = assembly()
    bare.feed(piece(function={"name": "first", "arguments": "{}"}))
    bare.feed(piece(function={"name": "second", "arguments": "{"}))
    bare.feed(piece(function={"arguments": "}"}) + delta("tool_calls"))
    assert [(c.name, c.arguments) for c in bare.finished().tool_calls] == [
        ("first", "{}"),
        ("second", "{}"),
    ]


def test_another_id_in_each_piece_of_a_call_makes_no_other_call() -> None:
    reply = assembly()
    reply.feed(piece(index=0, id="a", function={"name": "clock", "arguments": "{"}))
    reply.feed(piece(index=0, id="b", function={"arguments": "}"}) + delta("tool_calls"))
    assert [(c.name, c.arguments) for c in reply.finished().tool_calls] == [("clock", "{}")]


def test_a_call_without_a_name_is_a_bad_response() -> None:
    reply = assembly()
    reply.feed(piece(index=0, id="a", function={"arguments": "{}"}) + DONE)
    assert code_of(reply) == "bad_response"


def test_a_stream_without_finish_reason_and_done_was_cut() -> None:
    reply = assembly()
    assert reply.feed(delta(content="half")) == "half"
    assert code_of(reply) == "stream_cut"
    assert code_of(assembly()) == "stream_cut"


@pytest.mark.parametrize("end", [DONE, delta("length")])
def test_either_done_or_a_finish_reason_is_an_end(end: bytes) -> None:
    reply = assembly()
    reply.feed(delta(content="all") + end)
    assert reply.finished().text == "all"
    assert reply.finished().finish_reason == ("stop" if end == DONE else "length")


def test_a_whole_answer_is_an_end_whatever_it_says() -> None:
    reply = assembly()
    assert reply.feed_whole(b'{"choices": [{"message": {"content": "all"}}]}') == "all"
    assert (reply.over, reply.finished().text) == (True, "all")


def test_of_one_read_the_text_before_a_failure_is_taken_and_nothing_behind_it() -> None:
    reply = assembly()
    failure = event({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
    behind = delta(content="more") + event({"error": {"code": 502}})
    assert reply.feed(delta(content="some") + failure + behind) == "some"
    assert reply.over
    assert code_of(reply) == "rate_limited"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        # OpenRouter: https://openrouter.ai/docs/api-reference/streaming
        ({"error": {"code": 502, "message": "gone"}, "choices": [{"index": 0}]}, "overloaded"),
        (
            {"choices": [{"error": {"code": 429}, "finish_reason": "error"}]},
            "rate_limited",
        ),
        # vLLM
        ({"object": "error", "message": "no", "type": "BadRequestError"}, "bad_request"),
    ],
)
def test_a_failure_that_servers_tell_their_own_way_is_no_end(
    told: dict[str, JsonValue], code: str
) -> None:
    reply = assembly()
    assert reply.feed(delta(content="half") + event(told) + DONE) == "half"
    assert code_of(reply) == code


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: null\n\n",
        b'data: {"choices": 1}\n\n',
        b'data: {"choices": [1]}\n\n',
        b'data: {"choices": {"delta": {}}}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": 7}]}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": 7}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": {}}], "usage": 3}\n\n',
    ],
)
def test_what_is_no_chat_completion_is_a_bad_response(bad: bytes) -> None:
    reply = assembly()
    reply.feed(bad)
    assert code_of(reply) == "bad_response"


def test_an_empty_reply_is_a_bad_response() -> None:
    reply = assembly()
    reply.feed(DONE)
    assert code_of(reply) == "bad_response"


@pytest.mark.parametrize(("most", "over"), [("x" * 1_024, "x"), ("ü" * 256, "ü")])
def test_a_reply_is_as_long_as_it_may_be_and_no_longer(most: str, over: str) -> None:
    reply = assembly(model_reply_bytes_max=1_024)
    reply.feed(delta(content=most))
    assert not reply.over
    reply.feed(delta(content=over))
    with pytest.raises(ModelError) as caught:
        reply.finished()
    assert (caught.value.code, caught.value.retryable) == ("content_too_long", False)


def test_bounds_hold() -> None:
    asks = assembly(model_reply_bytes_max=1_024)
    for _ in range(2):
        asks.feed(piece(index=0, id="a", function={"name": "t", "arguments": "x" * 600}))
    assert code_of(asks) == "content_too_long"
    many = assembly(model_tool_calls_max=2)
    for index in range(3):
        many.feed(piece(index=index, id=str(index), function={"name": "t"}))
    assert code_of(many) == "bad_response"
    wide = assembly(model_event_bytes_max=1_024)
    wide.feed(b"data: " + b"x" * 2_000)
    assert code_of(wide) == "bad_response"


def test_only_the_first_alternative_counts() -> None:
    reply = assembly()
    other = event(
        {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}]}
    )
    assert reply.feed(other + delta("stop", content="yes")) == "yes"
    assert reply.finished().text == "yes"


def test_typed_content_parts_and_refusals_are_text() -> None:
    reply = assembly()
    assert reply.feed(delta(content=[{"type": "text", "text": "part"}])) == "part"
    assert reply.feed(delta("stop", refusal="no")) == "no"
    assert reply.finished().metadata == {"response_id": "r1", "refusal": True}
