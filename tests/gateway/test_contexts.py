"""Contexts: created, listed, read and deleted."""

import re

import pytest

from storage import Store, Summary, keys
from tests.support.service import Service, serving

UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_a_created_context_is_the_whole_state_with_etag_and_location(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send(
            "POST",
            "/api/contexts",
            {"title": "Tea", "labels": {"team": "a"}, "config": {"mode": "deep"}},
        )
        assert answer.status == 201
        context = answer.context
        assert answer.json["status"] == "idle"
        assert answer.json["version"] == 1
        assert answer.json["action"] is None
        assert context["title"] == "Tea"
        assert context["labels"] == {"team": "a"}
        assert context["config"]["mode"] == "deep"
        assert context["messages"] == []
        assert context["created_at"] == context["updated_at"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", context["created_at"])
        assert answer.headers["ETag"] == f'"{context["cursor"]}"'
        assert answer.headers["Location"] == f"/api/contexts/{context['id']}"
        assert answer.headers["Content-Type"] == "application/json"


async def test_what_would_not_be_looked_at_is_refused_all_the_same(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/api/contexts?messages=-1", {})
        assert (answer.status, answer.problem) == (400, "invalid-parameter")
        listed = await service.client.get("/api/contexts")
        assert listed.json["contexts"] == []


async def test_an_empty_body_creates_a_context_with_defaults(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/api/contexts", raw=b"")
        assert (answer.status, answer.context["title"]) == (201, "")


async def test_a_context_is_created_with_its_first_message_in_one_step(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        answer = await service.client.send(
            "POST",
            "/api/contexts",
            {"message": {"content": "Hello there", "client_message_id": "m-1"}},
            headers={"Prefer": "wait=30"},
        )
        assert answer.status == 201
        assert answer.headers["Preference-Applied"] == "wait=30"
        assert answer.json["action"]["id"] == service.action_id(answer.context["id"], 1)
        assert answer.json["action"]["result"] == "applied"
        asked, replied = answer.context["messages"]
        assert (asked["role"], asked["content"]) == ("user", "Hello there")
        assert asked["client_message_id"] == "m-1"
        assert replied["role"] == "assistant"
        assert replied["metadata"]["scripted"] is True
        assert answer.context["title"] == "Hello there"


async def test_a_creation_that_is_repeated_with_its_key_makes_one_context(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        body = {"title": "once", "message": {"content": "one"}}
        headers = {"Idempotency-Key": "create-1", "Prefer": "wait=30"}
        first = await service.client.send("POST", "/api/contexts", body, headers=headers)
        again = await service.client.send("POST", "/api/contexts", body, headers=headers)
        assert (first.status, again.status) == (201, 201)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.context == first.context
        assert again.json["action"] == first.json["action"]
        assert again.headers["Location"] == first.headers["Location"]
        other = await service.client.send(
            "POST", "/api/contexts", {"title": "other"}, headers=headers
        )
        assert (other.status, other.problem) == (422, "key-reused")
        listed = await service.client.get("/api/contexts")
        assert [entry["id"] for entry in listed.json["contexts"]] == [first.context["id"]]


async def test_a_creation_with_respond_async_is_accepted_at_once(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send(
            "POST",
            "/api/contexts",
            {"message": {"content": "later"}},
            headers={"Prefer": "respond-async"},
        )
        assert answer.status == 202
        assert answer.context is None
        status = await service.client.get(answer.headers["Location"])
        assert status.json["result"] == "waiting"


async def test_lists_show_the_newest_first_page_by_page(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        made = [await client.create(title=str(n)) for n in range(5)]
        newest_first = made[::-1]
        seen: list[str] = []
        path: str | None = "/api/contexts?limit=2"
        while path is not None:
            page = await client.get(path)
            assert len(page.json["contexts"]) <= 2
            seen += [entry["id"] for entry in page.json["contexts"]]
            link = re.fullmatch(r'<(.+)>; rel="next"', page.headers.get("Link", ""))
            path = link[1] if link else None
        assert seen == newest_first


async def test_a_list_with_states_has_the_cursor_of_each(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        older, newer = await client.create(), await client.create()
        plain = await client.get("/api/contexts")
        assert "cursor" not in plain.json["contexts"][0]
        path = "/api/contexts?states=true&limit=1"
        for context_id in (newer, older):
            page = await client.get(path)
            (entry,) = page.json["contexts"]
            assert entry["cursor"] == (await client.state(context_id))["cursor"]
            path = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert path == ""


async def test_a_list_with_states_leaves_out_what_is_deleted_meanwhile(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url) as service:
        client = service.client
        kept, deleted = await client.create(), await client.create()
        found = Store.contexts

        async def late(
            store: Store, owner: str, *, limit: int, after: str | None
        ) -> list[tuple[str, Summary | None]]:
            shown = await found(store, owner, limit=limit, after=after)
            assert (await client.act(deleted, "delete")).status == 200
            return shown

        monkeypatch.setattr(Store, "contexts", late)
        page = await client.get("/api/contexts?states=true")
        assert [entry["id"] for entry in page.json["contexts"]] == [kept]


async def test_a_list_names_those_that_cannot_be_opened_beside_the_others(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        client, link = service.client, service.stores[0].link
        oldest, *lost, newest = [await client.create() for _ in range(4)]
        for context_id in lost:
            await link.call("HSET", keys.meta(context_id), "summary", b"\xffsealed")
        page = (await client.get("/api/contexts?states=true")).json
        assert [entry["id"] for entry in page["contexts"]] == [newest, oldest]
        assert page["unreadable"] == lost[::-1]
        second = await client.get(f"/api/contexts?limit=1&after={newest}")
        assert second.json == {"contexts": [], "unreadable": [lost[1]]}
        assert f"after={lost[1]}" in second.headers["Link"]


async def test_a_list_shows_title_status_and_version_after_a_turn(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "What a day")
        (entry,) = (await service.client.get("/api/contexts")).json["contexts"]
        assert (entry["title"], entry["status"]) == ("What a day", "idle")
        shown = ("version", "pinned", "created_at", "updated_at")
        assert [entry[name] for name in shown] == [answer.context[name] for name in shown]


async def test_the_alias_serves_the_same_contexts(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create(title="same")
        by_alias = await service.client.get(f"/v1/contexts/{context_id}")
        assert by_alias.context == await service.client.state(context_id)
        (entry,) = (await service.client.get("/v1/contexts")).json["contexts"]
        assert entry["id"] == context_id


async def test_a_context_that_the_client_has_is_not_sent_again(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}"
        first = await service.client.get(path)
        again = await service.client.get(path, If_None_Match=first.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("by_method", [True, False])
async def test_a_deleted_context_is_gone_for_everybody(store_url: str, by_method: bool) -> None:
    async with serving(store_url, gateways=2) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "one")
        if by_method:
            answer = await client.send("DELETE", f"/api/contexts/{context_id}")
        else:
            answer = await client.act(context_id, "delete")
        assert (answer.status, answer.json["status"]) == (200, "deleted")
        assert answer.json["action"]["result"] == "applied"
        await assert_gone(service, context_id)


async def assert_gone(service: Service, context_id: str) -> None:
    path = f"/api/contexts/{context_id}"
    for client in service.clients:
        for gone in (path, f"{path}/state", f"{path}/state?after=1.1.0", f"{path}/events"):
            answer = await client.get(gone)
            assert (answer.status, answer.problem) == (404, "not-found"), gone
            assert answer.json["detail"] == "Context not found"
        for answer in (
            await client.act(context_id, "send_message", {"content": "hi"}),
            await client.act(context_id, "pause", Prefer="respond-async"),
            await client.send("DELETE", path),
            await client.get(f"/api/actions/{service.action_id(context_id, 1)}"),
        ):
            assert (answer.status, answer.problem) == (404, "not-found")
        assert (await client.get("/api/contexts")).json["contexts"] == []


async def test_unknown_and_deleted_contexts_are_answered_alike(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        await service.client.act(context_id, "delete")
        deleted = await service.client.get(f"/api/contexts/{context_id}")
        unknown = await service.client.get(f"/api/contexts/{UNKNOWN_ID}")
        ignored = {"request_id": ""}
        assert deleted.json | ignored == unknown.json | ignored
