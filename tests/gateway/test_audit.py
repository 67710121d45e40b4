"""What is recorded of what people ask for, at every door; and what is not done without it."""

from dataclasses import replace

from storage import SCOPES, Access, Audit, Audited, keys
from tests.gateway.arrivals import tell_store
from tests.support.routes import SERVED
from tests.support.service import Client, Json, Service, serving
from tests.support.store_server import StoreServer

NOW_MS = 1_800_000_000_000
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
STAMP = '/tool notes {"action": "add", "text": "kestrel"}'


async def keyed(service: Service) -> tuple[Client, str]:
    """Somebody with a key, and its id."""
    access = Access(service.stores[0].link)
    key, text = await access.create("k", owner="ada", scopes=SCOPES, now_ms=NOW_MS)
    return replace(service.client, key=text), key.id


async def records(client: Client) -> list[Json]:
    page = await client.get("/admin/audit")
    assert page.status == 200, page
    found: list[Json] = page.json["records"]
    return found


def test_every_admin_act_and_every_deletion_is_recorded() -> None:
    recorded = {route.name for route in SERVED if route.is_recorded}
    assert recorded == {
        *("restart", "drain", "requeue_context", "cancel_context", "compact_context"),
        *("retry_dead_letter", "drop_dead_letter", "retry_dead_letters", "drop_dead_letters"),
        *("import_context", "export_context"),
        *("delete_response", "delete_conversation", "delete_session", "delete_note"),
    }


async def test_an_admin_act_is_recorded_before_and_after_with_who_and_whence(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"auth": "keys"}) as service:
        ada, key_id = await keyed(service)
        refused = await ada.send("DELETE", f"/admin/dead_letters/{NOBODY}.7")
        assert refused.status == 404
        asked, came = await records(ada)
        assert (asked["number"], asked["outcome"], asked["of"]) == (1, "asked", None)
        assert (came["number"], came["outcome"], came["of"]) == (2, "failed", 1)
        for record in (asked, came):
            assert (record["by"], record["owner"]) == (f"key:{key_id}", "ada")
            assert (record["address"], record["name"]) == ("127.0.0.1", "drop_dead_letter")
            assert record["target"] == f"{NOBODY}.7"
        assert came["before"] == asked["digest"]


async def test_exports_imports_and_deletions_are_recorded_at_every_door(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(message={"content": "Mind the kestrel."})
        exported = await client.get(f"/api/contexts/{context_id}/export")
        await client.send("POST", "/api/contexts/import", raw=exported.body)
        assert (await client.act(context_id, "delete")).status == 200
        other = await client.create()
        assert (await client.send("DELETE", f"/api/contexts/{other}")).status == 200
        found = await records(client)
        assert [(one["name"], one["outcome"], one["target"]) for one in found] == [
            ("export_context", "asked", context_id),
            ("export_context", "done", context_id),
            ("import_context", "asked", ""),
            ("import_context", "done", ""),
            ("delete", "asked", context_id),
            ("delete", "asked", other),
        ]
        assert {one["by"] for one in found} == {"anybody"}
        assert "kestrel" not in str(found)


async def test_nothing_is_recorded_of_contexts_that_are_not_the_asker_s(store_url: str) -> None:
    async with serving(store_url, gateway={"auth": "keys"}) as service:
        ada, _ = await keyed(service)
        access = Access(service.stores[0].link)
        _, text = await access.create("k", owner="eve", scopes=SCOPES, now_ms=NOW_MS)
        eve = replace(service.client, key=text)
        for context_id in (NOBODY, await ada.create()):
            for answer in (
                await eve.send("DELETE", f"/api/contexts/{context_id}"),
                await eve.act(context_id, "delete"),
                await eve.act(context_id, "answer", {"question_id": "q", "content": "No."}),
                await eve.act(context_id, "approve_tools", {"tool_call_ids": ["c"]}),
            ):
                assert (answer.status, answer.problem) == (404, "not-found")
        assert await records(eve) == []


async def test_a_deletion_that_comes_again_is_recorded_once_and_answered_each_time(
    store_url: str,
) -> None:
    async with serving(store_url, storage={"tombstones": True}) as service:
        client = service.client
        context_id = await client.create()
        path, key = f"/api/contexts/{context_id}", {"Idempotency-Key": "k"}
        first = await client.send("DELETE", path, headers=key)
        again = await client.send("DELETE", path, headers=key)
        other = await client.send("DELETE", path, headers={"Idempotency-Key": "another"})
        assert [first.status, again.status, other.status] == [200, 200, 410]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert [one["name"] for one in await records(client)] == ["delete"]


async def test_who_has_approved_what_is_recorded_with_its_digest(store_url: str) -> None:
    async with serving(store_url, gateway={"auth": "keys"}) as service:
        ada, key_id = await keyed(service)
        context_id = await ada.create()
        said = await ada.say(context_id, f"{STAMP}\n{STAMP}")
        first, second = said.context["pending_tool_calls"]
        decided = {
            "tool_call_ids": [first["id"]],
            "deny": [{"id": second["id"], "reason": "No kestrel."}],
        }
        assert (await ada.act(context_id, "approve_tools", decided)).status == 200
        (record,) = await records(ada)
        assert (record["name"], record["target"]) == ("approve_tools", context_id)
        assert record["by"] == f"key:{key_id}"
        assert record["decisions"] == [
            {
                "call_id": first["id"],
                "verdict": "approved",
                "tool": "notes",
                "digest": first["digest"],
            },
            {"call_id": second["id"], "verdict": "denied", "tool": "notes", "digest": None},
        ]
        assert "kestrel" not in str(record)


async def test_who_has_answered_a_question_is_recorded_without_the_answer(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, '/tool ask_person {"question": "Which bird?"}')
        (question,) = asked.context["pending_questions"]
        body = {"question_id": question["id"], "content": "A kestrel."}
        assert (await client.act(context_id, "answer", body)).status == 200
        (record,) = await records(client)
        assert (record["name"], record["target"]) == ("answer", context_id)
        answered = {"call_id": question["id"], "verdict": "answered"}
        assert record["decisions"] == [{**answered, "tool": None, "digest": None}]
        assert "kestrel" not in str(record)


async def test_a_socket_s_approval_is_recorded_too(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        said = await client.say(context_id, STAMP)
        (call,) = said.context["pending_tool_calls"]
        async with client.session.ws_connect(
            f"{client.url}/api/contexts/{context_id}/ws"
        ) as socket:
            body = {"tool_call_ids": [call["id"]]}
            await socket.send_json({"action": "approve_tools", "body": body})
            while (await socket.receive_json())["event"] != "action-result":
                pass
        (record,) = await records(client)
        assert record["decisions"][0]["digest"] == call["digest"]


async def test_what_cannot_be_recorded_is_not_done(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        said = await client.say(context_id, STAMP)
        (call,) = said.context["pending_tool_calls"]
        tell_store(shared_store, "SET", keys.AUDIT, "in the way")
        for method, path, body in (
            ("DELETE", f"/api/contexts/{context_id}", None),
            ("GET", f"/api/contexts/{context_id}/export", None),
            ("DELETE", f"/admin/dead_letters/{NOBODY}.7", None),
            (
                "POST",
                f"/api/contexts/{context_id}/actions/approve_tools",
                {"tool_call_ids": [call["id"]]},
            ),
        ):
            answer = await client.send(method, path, body)
            assert (answer.status, answer.problem) == (503, "store-unavailable"), path
        (waiting,) = (await client.state(context_id))["pending_tool_calls"]
        assert waiting["approval_status"] == "pending"


async def test_the_record_comes_in_pages(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        for _ in range(3):
            await client.send("DELETE", f"/admin/dead_letters/{NOBODY}.7")
        assert await numbers(client) == [1, 2, 3, 4, 5, 6]


async def test_the_pages_end_also_where_a_changed_record_names_a_smaller_number(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        for _ in range(3):
            await client.send("DELETE", f"/admin/dead_letters/{NOBODY}.7")
        audit = Audit(service.stores[0].link, 100)
        listed = await audit.page(after=0, limit=9)
        tell_store(shared_store, "DEL", keys.AUDIT)
        for audited in listed:
            assert isinstance(audited, Audited)
            number = 2 if audited.place == 4 else audited.place
            raw = audited.record.model_copy(update={"number": number}).model_dump_json()
            tell_store(shared_store, "XADD", keys.AUDIT, f"{audited.place}-0", "r", raw)
        assert await numbers(client) == [1, 2, 3, 2, 5, 6]


async def test_a_record_that_cannot_be_read_is_named_beside_the_others(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        await client.send("DELETE", f"/admin/dead_letters/{NOBODY}.7")
        tell_store(shared_store, "XADD", keys.AUDIT, "3-0", "r", "{}")
        await client.send("DELETE", f"/admin/dead_letters/{NOBODY}.7")
        page = await client.get("/admin/audit")
        assert [record["number"] for record in page.json["records"]] == [1, 2, 4, 5]
        assert page.json["unreadable"] == [3]
        page = await client.get("/admin/audit?after=2&limit=1")
        assert page.json == {"records": [], "unreadable": [3]}
        assert "after=3" in page.headers["Link"]


async def numbers(client: Client) -> list[int]:
    """The numbers of all records, four a page."""
    path: str | None = "/admin/audit?limit=4"
    found: list[int] = []
    for _ in range(9):
        if path is None:
            return found
        page = await client.get(path)
        found += [record["number"] for record in page.json["records"]]
        link = page.headers.get("Link")
        path = link[1 : link.index(">")] if link else None
    raise AssertionError(f"there is no end to the pages: {found}")
