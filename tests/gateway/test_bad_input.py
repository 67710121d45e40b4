"""Bodies that are hostile, broken or merely odd: a clear 4xx or a faithful round trip."""

import json

import pytest

from gateway.kinds import KINDS
from tests.support import hostile
from tests.support.service import Client, Json, serving

REFUSED = {400, 409, 413, 415, 422}
PAYLOAD = b'{"content":"x","metadata":{"v":%s}}'


def addresses(context_id: str) -> list[str]:
    """Every address that takes a body."""
    return ["/api/contexts", *(f"/api/contexts/{context_id}/actions/{kind}" for kind in KINDS)]


async def assert_alive(client: Client, context_id: str, before: Json) -> None:
    """Nothing has changed, and the worker still answers."""
    assert await client.state(context_id) == before
    answer = await client.say(context_id, "still there?")
    assert (answer.status, answer.json["status"]) == (200, "idle")
    assert len((await client.get("/api/contexts")).json["contexts"]) == 1


async def test_no_address_takes_what_is_no_json(store_url: str) -> None:
    made = (*hostile.broken(b'{"content":"x"}'), *(PAYLOAD % raw for raw in hostile.values()))
    documents = [(repr(raw[:40]), raw) for raw in made if raw and not hostile.is_json(raw)]
    documents += [
        ("opening arrays", b"[" * 60_000),
        ("opening objects", b'{"a":' * 12_000),
        ("byte order mark", b'\xef\xbb\xbf{"content":"x"}'),
        ("utf-16", '{"content":"x"}'.encode("utf-16")),
        ("latin-1", '{"content":"\xe9"}'.encode("latin-1")),
        ("NUL", b"\0"),
        ("form", b"content=x"),
        ("two values", b'{"content":"x"}{"content":"y"}'),
    ]
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        for path in addresses(context_id):
            for name, raw in documents:
                answer = await client.send("POST", path, raw=raw)
                assert (answer.status, answer.problem) == (400, "malformed-json"), (path, name)
        await assert_alive(client, context_id, before)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[]", b"null", b"true", b"1", b'"content"', b'[{"content":"x"}]'),
        *(b'{"unheard_of":1}', b'{"":""}', b'{"content":"x","unheard_of":1}'),
    ],
)
async def test_every_address_refuses_json_of_another_shape(store_url: str, raw: bytes) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        for path in addresses(context_id):
            answer = await client.send("POST", path, raw=raw)
            expected = {"invalid-body"}
            if path.endswith("/configure"):
                expected.add("invalid-config")
            assert answer.status == 422, (path, answer)
            assert answer.problem in expected
        await assert_alive(client, context_id, before)


@pytest.mark.parametrize(
    ("action", "raw"),
    [
        *(("send_message", raw) for raw in (b"", b"{}", b'{"content":""}', b'{"content":" "}')),
        *(("send_message", raw) for raw in (b'{"content":null}', b'{"content":1}')),
        *(("send_message", raw) for raw in (b'{"content":[]}', b'{"content":{}}')),
        ("send_message", b'{"content":[{"type":"text","text":" "}]}'),
        ("send_message", b'{"content":[{"type":""}]}'),
        ("send_message", b'{"content":[{"text":"x"}]}'),
        ("send_message", b'{"content":[{"type":"text","text":1}]}'),
        ("send_message", b'{"content":[[]]}'),
        ("send_message", b'{"content":"x","policy":"sometimes"}'),
        (
            "send_message",
            b'{"content":"x","policy":"reject","not_before":"2030-01-01T00:00:00Z"}',
        ),
        ("send_message", b'{"content":"x","not_before":"tomorrow"}'),
        ("send_message", b'{"content":"x","not_before":0}'),
        ("send_message", b'{"content":"x","not_before":"0"}'),
        ("send_message", b'{"content":"x","not_before":"9999-12-31T23:59:59-14:00"}'),
        ("send_message", b'{"content":"x","not_before":"4000-01-01T00:00:00Z"}'),
        ("send_message", b'{"content":"x","attachments":[{"type":"text","name":"a"}]}'),
        ("edit_message", b'{"message_id":"x","content":""}'),
        ("update_queue", b'{"edit":{"x":" "}}'),
        ("create_branch", b'{"name":"a/b"}'),
        ("create_branch", b'{"name":" a"}'),
        ("merge_branch", b'{"source":"a","strategy":"squash"}'),
        ("record_messages", b'{"messages":[]}'),
        *(
            (
                "record_messages",
                b'{"messages":[{"role":"user","content":"x","created_at":"%s"}]}' % at,
            )
            for at in (b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00+14:00")
        ),
        ("request_turn", b'{"messages":[]}'),
        ("answer", b'{"question_id":"x"}'),
        ("fork", b'{"at_version":true}'),
        ("fork", b'{"at_version":"1"}'),
        ("update_queue", b'{"move":{"x":false}}'),
        ("merge_branch", b'{"source":"a","accept_conflicts":"yes"}'),
        ("configure", b'{"limits":{"queue_max":false}}'),
        ("configure", b'{"limits":{"rounds_max":"5"}}'),
        ("send_message", b'{"content":"x","metadata":[]}'),
        ("send_message", b'{"content":"x","metadata":null}'),
        ("send_message", b'{"content":"x","client_message_id":""}'),
        ("send_message", b'{"content":"x","client_message_id":1}'),
        ("send_message", b'{"content":"%s"}' % (b"x" * 60_001)),
        ("rename", b"{}"),
        ("rename", b'{"title":""}'),
        ("rename", b'{"title":1}'),
        ("rename", b'{"title":"%s"}' % (b"x" * 201)),
        ("cancel", b'{"turn_id":1}'),
        ("cancel", b'{"turn_id":""}'),
        ("approve_tools", b'{"tool_call_ids":"x"}'),
        ("approve_tools", b'{"tool_call_ids":[1]}'),
        ("approve_tools", b'{"tool_call_ids":[""]}'),
        ("approve_tools", b'{"deny":["x"]}'),
        ("approve_tools", b'{"deny":[{}]}'),
        ("approve_tools", b'{"edits":{"x":"{}"}}'),
        ("approve_tools", b'{"edits":{"x":[]}}'),
        ("approve_tools", b'{"tool_call_ids":[%s"x"]}' % (b'"x",' * 200)),
        ("pause", b'{"reason":"x"}'),
    ],
)
async def test_fields_that_are_wrong_are_named(store_url: str, action: str, raw: bytes) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        path = f"/api/contexts/{context_id}/actions/{action}"
        answer = await client.send("POST", path, raw=raw)
        assert (answer.status, answer.problem) == (422, "invalid-body"), answer
        assert answer.json["detail"]
        await assert_alive(client, context_id, before)


@pytest.mark.parametrize(
    "value",
    [
        *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" * 5_000, b"01", b"+1"),
        *(b"1" + b"0" * 30, b"-" + b"9" * 30, b"9223372036854775808", b"-9223372036854775809"),
        *(
            b'"\\ud800"',
            b'"\\uD800"',
            b'"\\udc00\\ud800"',
            b'{"\\udfff":1}',
            b'"\xed\xa0\x80"',
            b'"\xff"',
        ),
        *(b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b'{"\\u0061":1,"a":2}', b'"\0"', b'"\t"'),
        *(b"[" * 64 + b"]" * 64, b'{"a":' * 64 + b"1" + b"}" * 64),
    ],
)
async def test_values_that_would_not_come_back_are_refused(
    store_url: str, value: bytes
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        path = f"/api/contexts/{context_id}/actions/send_message"
        answer = await client.send("POST", path, raw=PAYLOAD % value)
        assert (answer.status, answer.problem) == (400, "malformed-json"), answer
        made = await client.send(
            "POST", "/api/contexts", raw=b'{"message":%s}' % (PAYLOAD % value)
        )
        assert (made.status, made.problem) == (400, "malformed-json")
        patched = await client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/configure",
            raw=b'{"parameters":{"v":%s}}' % value,
        )
        assert (patched.status, patched.problem) == (400, "malformed-json")
        edited = await client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/approve_tools",
            raw=b'{"tool_call_ids":["x"],"edits":{"x":{"v":%s}}}' % value,
        )
        assert (edited.status, edited.problem) == (400, "malformed-json")
        await assert_alive(client, context_id, before)


async def test_odd_values_come_back_as_they_went_in(store_url: str) -> None:
    values = [(repr(raw[:40]), raw) for raw in hostile.sound()]
    values += [
        (text.decode(), text)
        for text in (
            *(b"9223372036854775807", b"-9223372036854775808", b"1e308", b"5e-324", b"0.1"),
            *(b"1e-400", b"-0.0", b'"\\u0000"', b'"\\ud83d\\udca9"', b'{"":0}', b'"\\u2028"'),
            *(b"[" * 60 + b"]" * 60, b"[1,1.0,true]", b"123456789.123456789"),
        )
    ]
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        path = f"/api/contexts/{context_id}/actions/send_message"
        for name, raw in values:
            answer = await client.send(
                "POST", path, raw=PAYLOAD % raw, headers={"Prefer": "wait=30"}
            )
            assert answer.status == 200, (name, answer)
            message = answer.context["messages"][-2]
            assert repr(message["metadata"]["v"]) == repr(json.loads(raw)), name
        page = await client.get(f"/api/contexts/{context_id}/state?after=1.1.0")
        assert page.status == 200


async def test_what_parsers_may_refuse_is_taken_faithfully_or_refused(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        path = f"/api/contexts/{context_id}/actions/send_message"
        for raw in hostile.doubtful():
            body = PAYLOAD % raw
            answer = await client.send("POST", path, raw=body, headers={"Prefer": "wait=30"})
            assert answer.status in {200, 400}, (raw[:40], answer)
            if answer.status == 200:
                sent = json.loads(body)["metadata"]["v"]
                assert repr(answer.context["messages"][-2]["metadata"]["v"]) == repr(sent), raw


async def test_naughty_strings_come_back_as_they_went_in(store_url: str) -> None:
    strings = [text for text in hostile.strings() if text.strip() and len(text) <= 200]
    async with serving(store_url) as service:
        client = service.client
        for begin in range(0, len(strings), 20):
            batch = strings[begin : begin + 20]
            context_id = await client.create()
            await client.act(context_id, "pause")
            for text in batch:
                answer = await client.act(
                    context_id,
                    "send_message",
                    {
                        "content": text,
                        "client_message_id": text[:255],
                        "metadata": {text: text},
                    },
                )
                assert answer.status == 200, text
            state = await client.state(context_id)
            assert [entry["content"] for entry in state["queue"]] == batch
            text = batch[0]
            renamed = await client.act(context_id, "rename", {"title": text[:200]})
            assert renamed.context["title"] == text[:200]
            made = await client.send("POST", "/api/contexts", {"labels": {text: text[:200]}})
            assert made.context["labels"] == {text: text[:200]}


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ({"Content-Type": "text/plain"}, b"{}"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"{}"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--"),
        ({"Content-Type": "application/octet-stream"}, b"{}"),
        ({"Content-Type": ""}, b"{}"),
        ({"Content-Type": "application/json", "Content-Encoding": "x-unheard-of"}, b"{}"),
    ],
)
async def test_other_media_types_are_refused(
    store_url: str, headers: dict[str, str], raw: bytes
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        for path in addresses(context_id):
            answer = await client.send("POST", path, raw=raw, headers=headers)
            assert (answer.status, answer.problem) == (415, "unsupported-media-type"), path
        assert (
            await client.get(f"/api/actions/{service.action_id(context_id, 1)}")
        ).status == 404


async def test_a_body_may_say_that_it_is_as_it_is_and_none_may_say_anything(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        for raw, headers in (
            (b'{"title":"x"}', {"Content-Encoding": "Identity"}),
            (b'{"title":"x"}', {"Content-Type": "application/json; charset=utf-8"}),
            (b"", {"Content-Type": "text/plain"}),
        ):
            made = await service.client.send("POST", "/api/contexts", raw=raw, headers=headers)
            assert made.status == 201, headers


async def test_a_body_that_is_too_large_is_refused_and_one_that_just_fits_is_taken(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"body_bytes_max": 2_048}) as service:
        client = service.client
        context_id = await client.create()
        empty = len(b'{"content":"x","metadata":{"v":""}}')
        path = f"/api/contexts/{context_id}/actions/send_message"
        fits = await client.send(
            "POST", path, raw=PAYLOAD % (b'"%s"' % (b"a" * (2_048 - empty)))
        )
        assert fits.status == 200
        await client.until(context_id, "idle")
        before = await client.state(context_id)
        for address in addresses(context_id):
            for size in (2_049, 500_000):
                answer = await client.send("POST", address, raw=b" " * size)
                assert (answer.status, answer.problem) == (413, "body-too-large"), address
        deleting = await client.send(
            "DELETE", f"/api/contexts/{context_id}", raw=b" " * 100_000
        )
        assert (deleting.status, deleting.problem) == (413, "body-too-large")
        await assert_alive(client, context_id, before)
