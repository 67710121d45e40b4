"""What operators look at and mend: contexts of all owners, workers, many dead letters."""

import os
import socket
from dataclasses import replace

import pytest

from storage import SCOPES, Access, Scope, keys
from storage.contract import Mail
from tests.gateway.arrivals import tell_store
from tests.gateway.test_admin import NOWHERE, bury
from tests.support.playbook import BEGAN_MS, say
from tests.support.service import Client, Json, Service, eventually, serving
from tests.support.store_server import StoreServer

SECRET = "the words that nobody who runs the service reads"
HELD = "/chunks 2000 50"
"""A reply that outlasts the test."""


async def listed(client: Client, query: str = "") -> list[Json]:
    """All pages of the list."""
    found: list[Json] = []
    path = f"/admin/contexts{query}"
    while True:
        answer = await client.get(path)
        assert answer.status == 200, answer
        found += answer.json["contexts"]
        link = answer.headers.get("Link")
        if link is None:
            return found
        path = link[1 : link.index(">")]


async def working(service: Service, content: str = HELD) -> str:
    """A context whose turn runs."""
    context_id = await service.client.create(title=SECRET)
    await service.client.say(context_id, content, Prefer="respond-async")
    await service.client.until(context_id, "streaming_llm_response")
    return context_id


async def test_contexts_at_work_are_listed_whosever_they_are_without_what_is_said(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"auth": "keys"}) as service:
        access = Access(service.stores[0].link)
        by_owner: dict[str, Client] = {}
        for owner in ("ada", "bob", "root"):
            _, key = await access.create(owner, owner=owner, scopes=SCOPES, now_ms=BEGAN_MS)
            by_owner[owner] = replace(service.client, key=key)
        made: dict[str, str] = {}
        for owner in ("ada", "bob"):
            client = by_owner[owner]
            made[owner] = await client.create(title=SECRET)
            await client.say(made[owner], f"{SECRET}\n{HELD}", Prefer="respond-async")
            await client.until(made[owner], "streaming_llm_response")
        root = by_owner["root"]
        (worker,) = (await root.get("/admin/workers")).json["workers"]
        rows = {row["owner"]: row for row in await listed(root)}
        assert {owner: row["id"] for owner, row in rows.items()} == made
        assert {row["worker"] for row in rows.values()} == {worker["id"]}
        assert [row["id"] for row in await listed(root, "?owner=bob")] == [made["bob"]]
        assert await listed(root, "?stuck=true&slow=true") == []
        answers = [
            await root.get("/admin/contexts?all=true"),
            await root.get(f"/admin/contexts/{made['ada']}"),
        ]
        assert all(SECRET.encode() not in answer.body for answer in answers)
        # The scope alone opens other owners' contexts to no other door.
        assert (await root.get(f"/api/contexts/{made['ada']}")).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/workers"),
        ("GET", "/admin/processes"),
        ("GET", "/admin/contexts"),
        ("GET", f"/admin/contexts/{NOWHERE}"),
        ("POST", f"/admin/contexts/{NOWHERE}/requeue"),
        ("POST", f"/admin/contexts/{NOWHERE}/cancel"),
        ("POST", f"/admin/contexts/{NOWHERE}/compact"),
        ("POST", "/admin/dead_letters/retry"),
        ("POST", "/admin/dead_letters/drop"),
        ("POST", "/admin/drain"),
    ],
)
async def test_without_the_scope_nothing_is_told_and_nothing_done(
    store_url: str, method: str, path: str
) -> None:
    async with serving(store_url, workers=0, gateway={"auth": "keys"}) as service:
        access = Access(service.stores[0].link)
        scopes: list[Scope] = ["contexts:read", "contexts:write"]
        _, key = await access.create("k", owner="ada", scopes=scopes, now_ms=BEGAN_MS)
        answer = await replace(service.client, key=key).send(method, path)
        assert (answer.status, answer.problem) == (403, "forbidden")


async def test_mail_that_nobody_takes_is_stuck_until_a_worker_has_it(store_url: str) -> None:
    storage = {"stuck_after_s": 0.2}
    async with serving(store_url, workers=0, storage=storage) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "Hello", Prefer="respond-async")

        async def is_stuck() -> bool:
            return len(await listed(client, "?stuck=true")) == 1

        await eventually(is_stuck)
        (row,) = await listed(client)
        assert (row["id"], row["mail"], row["worker"]) == (context_id, 1, None)
        found = (await client.get(f"/admin/contexts/{context_id}")).json
        assert (found["mailbox"]["oldest_action"], found["job"]) == ("send_message", "queued")
        async with serving(store_url) as further:
            await further.client.until(context_id, "idle")
        assert await listed(client) == []


async def test_a_context_that_cannot_be_opened_is_listed_as_such(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create(title=SECRET)
        sealed = b"\xffsealed"
        await service.stores[0].link.call("HSET", keys.meta(context_id), "summary", sealed)
        for query in ("?all=true", "?all=true&status=unreadable"):
            (row,) = await listed(client, query)
            shown = (row["id"], row["owner"], row["status"], row["version"], row["changed_at"])
            assert shown == (context_id, "local", "unreadable", 1, None)
        assert await listed(client, "?all=true&status=idle") == []


async def test_what_lost_its_job_and_its_place_is_activated_once_it_is_requeued(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "Hello", Prefer="respond-async")
        queue = service.stores[0].queue
        for key in (keys.READY, queue.KEY, f"rq:job:{queue.job_id(context_id)}"):
            tell_store(shared_store, "DEL", key)
        (row,) = await listed(client, "?all=true")
        assert (row["id"], row["mail"]) == (context_id, 1)
        async with serving(store_url):
            path = f"/admin/contexts/{context_id}/requeue"
            answer = await client.send("POST", path)
            assert (answer.status, answer.json["enqueued"]) == (202, True)
            state = await client.until(context_id, "idle")
            while len(state["messages"]) < 2:
                state = await client.state(context_id)


async def test_to_requeue_what_somebody_has_changes_nothing(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await working(service)
        before = (await service.client.get(f"/admin/contexts/{context_id}")).json
        answer = await service.client.send("POST", f"/admin/contexts/{context_id}/requeue")
        assert answer.status == 202
        after = (await service.client.get(f"/admin/contexts/{context_id}")).json
        assert (after["token"], after["context"]) == (before["token"], before["context"])


async def test_a_turn_is_cancelled_as_its_owner_could(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await working(service)
        found = (await client.get(f"/admin/contexts/{context_id}")).json
        assert found["turn"]["attempt"] == 1
        assert [effect["kind"] for effect in found["pending"]] == ["call-model"]
        answer = await client.send("POST", f"/admin/contexts/{context_id}/cancel")
        assert answer.status == 202
        state = await client.until(context_id, "idle")
        assert state["messages"][-1]["status"] == "cancelled"
        done = (await client.get(f"/api/actions/{answer.json['action_id']}")).json
        assert done["result"] == "applied"
        assert (await client.get(f"/admin/contexts/{context_id}")).json["turn"] is None


async def test_a_log_is_compacted_when_asked_for_and_the_state_stays(store_url: str) -> None:
    async with serving(store_url, worker={"linger_s": 0.0}) as service:
        client = service.client
        context_id = await client.create()
        for number in range(3):
            await client.say(context_id, f"{number}")
        before = await client.state(context_id)
        path = f"/admin/contexts/{context_id}"
        answer = await client.send("POST", f"{path}/compact", {"keep_events": 2})
        assert (answer.status, answer.json["status"]) == (202, "asked")

        async def is_compacted() -> bool:
            events: int = (await client.get(path)).json["log"]["events"]
            return events == 2

        await eventually(is_compacted)
        log = (await client.get(path)).json["log"]
        assert (log["base_version"], log["compacts_to"]) == (before["version"], None)
        assert log["first_version"] == before["version"] - 1
        assert await client.state(context_id) == before
        again = await client.send("POST", f"{path}/compact", {"keep_events": 2})
        assert again.json["status"] == "short"


@pytest.mark.parametrize("act", ["requeue", "cancel", "compact"])
async def test_nothing_can_be_done_to_a_context_that_is_not_there(
    store_url: str, act: str
) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", f"/admin/contexts/{NOWHERE}/{act}", {})
        assert (answer.status, answer.problem) == (404, "not-found")
        assert (await service.client.get(f"/admin/contexts/{NOWHERE}")).status == 404


@pytest.mark.parametrize(
    "query",
    [
        *("stuck=perhaps", "slow=1", "all=", "older_s=-1", "status=asleep", "after=x"),
        *(f"after=1.{NOWHERE}x", "limit=0", "limit=201", "phase=idle"),
    ],
)
async def test_a_list_that_cannot_be_understood_is_refused(store_url: str, query: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(f"/admin/contexts?{query}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


async def test_what_operators_do_is_on_the_record(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await working(service)
        for act in ("requeue", "cancel", "compact"):
            path = f"/admin/contexts/{context_id}/{act}"
            assert (await service.client.send("POST", path, {})).status == 202
        await service.client.send("POST", "/admin/dead_letters/drop", {"everything": True})
        records = (await service.client.get("/admin/audit")).json["records"]
        assert [(r["name"], r["target"]) for r in records if r["outcome"] == "done"] == [
            ("requeue_context", context_id),
            ("cancel_context", context_id),
            ("compact_context", context_id),
            ("drop_dead_letters", ""),
        ]


async def test_processes_are_told_by_the_name_that_a_drain_knows(store_url: str) -> None:
    async with serving(store_url, gateways=2, storage={"report_s": 0.05}) as service:
        found: list[Json] = []

        async def all_report() -> bool:
            found[:] = (await service.client.get("/admin/processes")).json["processes"]
            return len(found) == 3

        await eventually(all_report)
        assert sorted(one["role"] for one in found) == ["gateway", "gateway", "worker"]
        assert {one["name"] for one in found} == {f"{socket.gethostname()}:{os.getpid()}"}
        (worker,) = (await service.client.get("/admin/workers")).json["workers"]
        assert worker["id"] in {one["id"] for one in found}


# Dead letters


async def test_p11_letters_of_one_cause_are_retried_and_those_that_cannot_stay(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        for number in range(1, 4):
            mail = Mail(event=say(f"again {number}").model_copy(update={"at_ms": 7}))
            bury(shared_store, context_id, mail=mail, at_ms=number)
        lost = bury(shared_store, NOWHERE, at_ms=9)
        path = "/admin/dead_letters/retry"
        order: Json = {"cause": "ended 3", "limit": 2}
        first = (await client.send("POST", path, order)).json
        assert first == {"done": 2, "failed": [], "more": True}
        second = (await client.send("POST", path, {"cause": "ended 3"})).json
        failed = [{"id": lost, "problem": "/problems/not-found"}]
        assert second == {"done": 1, "failed": failed, "more": False}

        async def all_said() -> bool:
            messages = (await client.state(context_id))["messages"]
            said = [m["content"] for m in messages if m["role"] == "user"]
            return said == ["again 1", "again 2", "again 3"]

        await eventually(all_said)
        left = (await client.get("/admin/dead_letters")).json
        assert [letter["id"] for letter in left["dead_letters"]] == [lost]
        other = {"cause": "nothing like it"}
        assert (await client.send("POST", path, other)).json["done"] == 0
        drop = {"context_id": NOWHERE}
        dropped = (await client.send("POST", "/admin/dead_letters/drop", drop)).json
        assert dropped == {"done": 1, "failed": [], "more": False}


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"everything": False},
        {"everything": True, "cause": "x"},
        {"cause": ""},
        {"kind": "letter"},
        {"context_id": "x"},
        {"everything": True, "limit": 201},
        {"everything": True, "limit": 0},
    ],
)
async def test_letters_are_not_dropped_where_it_is_not_said_which(
    store_url: str, shared_store: StoreServer, order: Json
) -> None:
    async with serving(store_url, workers=0) as service:
        bury(shared_store, NOWHERE, at_ms=9)
        answer = await service.client.send("POST", "/admin/dead_letters/drop", order)
        assert (answer.status, answer.problem) == (422, "invalid-body")
        assert (await service.client.get("/admin/dead_letters")).json["count"] == 1


async def test_letters_are_listed_by_pages_context_and_kind(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        made = [bury(shared_store, context_id, at_ms=n) for n in range(1, 6)]
        other = bury(shared_store, NOWHERE, mail=Mail(event=say()), at_ms=9)
        first = await client.get(f"/admin/dead_letters?context={context_id}&limit=3")
        link = first.headers["Link"]
        second = await client.get(link[1 : link.index(">")])
        pages = (first.json["dead_letters"], second.json["dead_letters"])
        assert [letter["id"] for page in pages for letter in page] == made[::-1]
        (found,) = (await client.get("/admin/dead_letters?kind=action")).json["dead_letters"]
        assert found["id"] == other


# Drains


async def test_a_drain_without_a_supervisor_is_refused(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.restarts.SUPERVISOR_LOOKS", 1)
    async with serving(store_url, workers=0) as service:
        order = {"scope": "workers", "force": True}
        answer = await service.client.send("POST", "/admin/drain", order)
        assert (answer.status, answer.problem) == (409, "no-supervisor")


async def test_neither_the_gateway_that_answers_nor_the_last_worker_is_drained(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.restarts.SUPERVISOR_LOOKS", 1)
    async with serving(store_url) as service:
        (worker,) = (await service.client.get("/admin/workers")).json["workers"]
        own = f"{socket.gethostname()}:{os.getpid()}"
        for order in (
            {"scope": "gateways", "process": own},
            {"scope": "gateways", "process": own, "force": True},
            {"scope": "workers"},
            {"scope": "workers", "process": worker["id"]},
        ):
            answer = await service.client.send("POST", "/admin/drain", order)
            assert (answer.status, answer.problem) == (409, "nobody-left"), order


@pytest.mark.parametrize("order", [{}, {"scope": "all"}, {"scope": "gateways"}])
async def test_a_drain_that_says_too_little_is_refused(store_url: str, order: Json) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/admin/drain", order)
        assert (answer.status, answer.problem) == (422, "invalid-body")
