"""The old way of writing contexts: it works, says that it is deprecated, and can be gone."""

import re
from pathlib import Path

import pytest
import structlog.testing

from tests.support.service import Answer, Client, Json, serving

GUIDE = Path(__file__).parent.parent.parent / "docs" / "migration.md"


async def old(
    client: Client, method: str, context_id: str, path: str, body: Json, **headers: str
) -> Answer:
    """A request of the old way."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.send(method, f"/api/contexts/{context_id}{path}", body, headers=named)


def said(context: Json) -> list[tuple[str, str]]:
    """Role and text of each message."""
    return [(m["role"], m["content"]) for m in context["messages"]]


async def test_messages_are_written_and_no_turn_begins(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        user = {"role": "user", "content": "Hello"}
        answer = await old(client, "POST", context_id, "/messages", user)
        assert (answer.status, answer.json["status"]) == (200, "idle")
        reply = {"role": "assistant", "content": "Hi.", "model": "mine"}
        await old(client, "POST", context_id, "/messages", reply)
        assert said(await client.state(context_id)) == [("user", "Hello"), ("assistant", "Hi.")]


async def test_a_reply_that_is_patched_while_it_arrives_is_one_message(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await old(client, "POST", context_id, "/messages", {"role": "user", "content": "Hi"})
        begun = await old(
            client, "POST", context_id, "/messages", {"role": "assistant", "content": ""}
        )
        message_id = begun.context["messages"][-1]["id"]
        answer = begun
        for text in ("He", "Hell", "Hello!"):
            answer = await old(
                client, "PATCH", context_id, f"/messages/{message_id}", {"content": text}
            )
            assert answer.status == 200
        assert said(answer.context) == [("user", "Hi"), ("assistant", "Hello!")]
        first = await old(
            client,
            "PATCH",
            context_id,
            f"/messages/{answer.context['messages'][0]['id']}",
            {"content": "Hey"},
        )
        assert said(first.context) == [("user", "Hey"), ("assistant", "Hello!")]
        again = await old(
            client, "PATCH", context_id, f"/messages/{message_id}", {"content": "Bye."}
        )
        assert said(again.context) == [("user", "Hey"), ("assistant", "Bye.")]
        gone = await old(client, "PATCH", context_id, "/messages/none", {"content": "x"})
        assert (gone.status, gone.problem) == (404, "not-found")


async def test_a_key_of_one_message_s_patch_is_not_taken_for_another_s(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        for text in ("one", "two"):
            user = {"role": "user", "content": text}
            await old(client, "POST", context_id, "/messages", user)
        answers = [
            await old(
                *(client, "PATCH", context_id, f"/messages/{message['id']}"),
                {"content": "other"},
                Idempotency_Key="k",
            )
            for message in (await client.state(context_id))["messages"]
        ]
        assert [each.status for each in answers] == [200, 422]
        assert answers[1].problem == "key-reused"


async def test_a_repeat_of_a_patch_is_a_replay_also_on_another_branch(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "create_branch", {"name": "empty"})
        user = {"role": "user", "content": "one"}
        written = await old(client, "POST", context_id, "/messages", user)
        path = f"/messages/{written.context['messages'][0]['id']}"
        patch = {"content": "other"}
        first = await old(client, "PATCH", context_id, path, patch, Idempotency_Key="k")
        switched = await client.act(context_id, "switch_branch", {"name": "empty"})
        assert said(switched.context) == []
        again = await old(client, "PATCH", context_id, path, patch, Idempotency_Key="k")
        assert (again.status, again.json["action"]) == (200, first.json["action"])
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json["version"] == switched.json["version"]
        for key in ({}, {"Idempotency_Key": "new"}):
            gone = await old(client, "PATCH", context_id, path, patch, **key)
            assert (gone.status, gone.problem) == (404, "not-found")


async def test_of_a_message_that_is_patched_all_but_the_text_stays(store_url: str) -> None:
    call = {"id": "call_1", "name": "clock", "arguments": "{}"}
    at = {"created_at": "2026-01-02T03:04:05.000Z"}
    asked: Json = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
        "model": "mine",
        **at,
    }
    asked |= {"finish_reason": "tool_calls", "client_message_id": "c-1", "metadata": {"x": 1}}
    told: Json = {"role": "tool", "content": "noon", "tool_call_id": "call_1", **at}
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        for message in (asked, told):
            answer = await old(client, "POST", context_id, "/messages", message)
            before = answer.context["messages"][-1]
            path = f"/messages/{before['id']}"
            answer = await old(client, "PATCH", context_id, path, {"content": "other"})
            after = answer.context["messages"][-1]
            new = {"content", "id", "seq", "replaces"}
            assert {name for name in after if after[name] != before[name]} == new
            assert after["content"] == "other"


async def test_a_context_is_put_as_the_client_has_it(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        body: Json = {"title": "Mine", "config": {"role": "cook"}, "messages": messages}
        answer = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        assert (answer.context["title"], answer.context["config"]["role"]) == ("Mine", "cook")
        assert said(answer.context) == [("user", "a"), ("assistant", "b")]
        same = await old(client, "PUT", context_id, "", body)
        assert same.json["version"] == answer.json["version"]
        body["messages"] = [*messages, {"role": "user", "content": "c"}]
        more = await old(client, "PUT", context_id, "", body)
        assert said(more.context)[2:] == [("user", "c")]
        for wrong in (messages[:1], [{"role": "user", "content": "other"}]):
            refused = await old(client, "PUT", context_id, "", {"messages": wrong})
            assert (refused.status, refused.problem) == (409, "not-append-only")
        assert said(await client.state(context_id)) == said(more.context)


async def test_a_repeat_of_a_put_is_a_replay_whatever_has_happened_meanwhile(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        body: Json = {
            "title": "Mine",
            "config": {"role": "cook"},
            "messages": [{"role": "user", "content": "a"}],
        }
        first = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        assert "Idempotent-Replayed" not in first.headers
        at_once = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        await client.act(context_id, "rename", {"title": "Yours"})
        await old(client, "POST", context_id, "/messages", {"role": "user", "content": "b"})
        later = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        await client.say(context_id, "/tool clock {}")
        busy = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        for again in (at_once, later, busy):
            assert (again.status, again.headers.get("Idempotent-Replayed")) == (200, "true")
            assert again.json["action"] == first.json["action"]
        assert later.context["title"] == "Yours"
        assert said(later.context) == [("user", "a"), ("user", "b")]
        other = await old(client, "PUT", context_id, "", {"title": "x"}, Idempotency_Key="k")
        assert (other.status, other.problem) == (422, "key-reused")


async def test_a_put_that_was_cut_in_the_middle_is_finished_by_its_repeat(
    store_url: str,
) -> None:
    body: Json = {"title": "Mine", "messages": [{"role": "user", "content": "a"}]}
    async with serving(store_url, workers=0, storage={"mailbox_max": 1}) as service:
        context_id = await service.client.create()
        cut = await old(service.client, "PUT", context_id, "", body, Idempotency_Key="k")
        assert (cut.status, cut.problem) == (429, "mailbox-full")
    async with serving(store_url) as service:
        client = service.client
        await client.until(context_id, "idle")
        await old(client, "POST", context_id, "/messages", {"role": "user", "content": "b"})
        again = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
        assert (again.status, again.context["title"]) == (200, "Mine")
        assert said(again.context) == [("user", "a"), ("user", "b")]


async def test_a_put_that_was_refused_is_refused_again_on_a_repeat(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await old(client, "POST", context_id, "/messages", {"role": "user", "content": "a"})
        body: Json = {"title": "n", "messages": [{"role": "user", "content": "other"}]}
        for _ in range(2):
            answer = await old(client, "PUT", context_id, "", body, Idempotency_Key="k")
            assert (answer.status, answer.problem) == (409, "not-append-only")
        assert (await client.state(context_id))["version"] == 2


async def test_the_condition_of_a_put_is_that_of_all_of_it(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        etag = (await client.get(f"/api/contexts/{context_id}")).headers["ETag"]
        body: Json = {
            "title": "Mine",
            "config": {"role": "cook"},
            "messages": [{"role": "user", "content": "a"}],
        }
        for _ in range(2):
            answer = await old(
                *(client, "PUT", context_id, "", body),
                If_Match=etag,
                Idempotency_Key="k",
            )
            assert (answer.status, answer.json["version"]) == (200, 4)
            assert (answer.context["title"], answer.context["config"]["role"]) == (
                "Mine",
                "cook",
            )
        body["title"] = "Yours"
        for headers in ({}, {"Prefer": "respond-async"}):
            stale = await old(client, "PUT", context_id, "", body, If_Match=etag, **headers)
            assert (stale.status, stale.problem) == (412, "version-mismatch")
            assert stale.json["version"] == 4
        assert (await client.state(context_id))["title"] == "Mine"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"config": {"nope": 1}}, "invalid-config"),
        ({"config": {"tool_policy": {"mode": "chaos"}}}, "invalid-config"),
        ({"messages": [{"role": "user", "content": "a", "replaces": "x"}]}, "unknown-message"),
    ],
)
async def test_a_put_that_is_refused_in_part_changes_nothing(
    store_url: str, body: Json, problem: str
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        before = await service.client.state(context_id)
        whole: Json = {"title": "n5", "config": {"role": "cook"}, **body}
        for headers in ({}, {"Idempotency_Key": "k"}):
            answer = await old(service.client, "PUT", context_id, "", whole, **headers)
            assert (answer.status, answer.problem) == (422, problem)
        assert await service.client.state(context_id) == before


async def test_tools_are_approved_the_old_way(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, "/tool clock {}")
        (call,) = asked.context["pending_tool_calls"]
        body = {"tool_call_ids": [call["id"]]}
        answer = await old(client, "POST", context_id, "/tools/approve", body, Prefer="wait=10")
        assert (answer.status, answer.json["status"]) == (200, "idle")
        nothing = await old(client, "POST", context_id, "/tools/approve", body)
        assert (nothing.status, nothing.json["detail"]) == (400, "No pending tool approvals")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"title": "x"}),
        ("POST", "/messages", {"role": "user", "content": "x"}),
        ("PATCH", "/messages/x", {"content": "x"}),
        ("POST", "/tools/approve", {"tool_call_ids": ["x"]}),
    ],
)
async def test_every_old_endpoint_says_that_it_is_deprecated_and_can_be_switched_off(
    store_url: str, method: str, path: str, body: Json
) -> None:
    async with serving(store_url, gateway={"legacy_crud": "on"}) as service:
        context_id = await service.client.create()
        answer = await old(service.client, method, context_id, path, body)
        deprecated = dict(answer.headers)
    async with serving(store_url, gateway={"legacy_crud": "off"}) as service:
        gone = await old(service.client, method, context_id, path, body)
        assert (gone.status, gone.problem) == (410, "legacy-gone")
        for headers in (deprecated, gone.headers):
            assert re.fullmatch("@[0-9]+", headers["Deprecation"])
            assert headers["Sunset"].endswith("GMT")
            assert 'rel="deprecation"' in headers["Link"]
        described = (await service.client.get("/openapi.json")).json["paths"]
        address = re.sub("/x$", "/{message_id}", f"/api/contexts/{{id}}{path}")
        assert described[address][method.lower()]["deprecated"] is True
        guide = await service.client.get("/docs/migration.md")
        assert guide.body.decode() == GUIDE.read_text()


async def test_the_first_use_of_each_old_endpoint_is_logged_once(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await old(service.client, "PUT", context_id, "", {"title": "x"})
    told = [one for one in logs if one["event"] == "deprecated endpoint used"]
    assert [one["endpoint"] for one in told] == ["put_context"]
