"""What operators and owners see of what is forgotten: retention, tombstones, webhooks."""

import asyncio

from fsm import ContextCreated
from storage import StorageConfig, connect, keys
from tests.gateway.arrivals import tell_store
from tests.support.service import Json, eventually, serving
from tests.support.service_processes import free_port
from tests.support.store_server import StoreServer
from tests.support.webhook_receiver import SECRET, Receiver
from workers.dequeue import Chore

OLD = "017ffcfa-0000-7000-8000-000000000001"
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


async def keep_old(store_url: str) -> None:
    """A context from long ago."""
    event = ContextCreated(at_ms=1, context_id=OLD, owner="local")
    async with connect(store_url, StorageConfig()) as store:
        await store.admissions.create(event, first=None, key="", digest="")


async def test_a_dry_run_over_http_says_what_would_go_and_why_not(store_url: str) -> None:
    async with serving(store_url, workers=0, storage={"retention_days": 30}) as service:
        client = service.client
        await client.create()
        plan: Json = (await client.get("/admin/retention")).json
        assert (plan["days"], plan["count"], plan["complete"]) == (30, 0, True)
        assert (plan["kept"], plan["contexts"]) == ({}, [])
        assert plan["before"].endswith("Z")
        for query in ("limit=0", "days=0", "days=a", "days=99999", "before=1"):
            refused = await client.get(f"/admin/retention?{query}")
            assert (refused.status, refused.problem) == (400, "invalid-parameter"), query


async def test_without_retention_the_plan_is_empty(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        await service.client.create()
        plan = (await service.client.get("/admin/retention")).json
        assert plan == {
            "days": 0,
            "before": None,
            "count": 0,
            "complete": True,
            "kept": {},
            "contexts": [],
        }


async def test_what_is_old_is_listed_then_deleted_by_a_worker_while_the_rest_stays(
    store_url: str,
) -> None:
    await keep_old(store_url)
    async with serving(store_url, workers=0) as service:
        young = await service.client.create()
        plan = (await service.client.get("/admin/retention?days=30")).json
        assert plan["contexts"] == [
            {
                "id": OLD,
                "owner": "local",
                "status": "idle",
                "version": 1,
                "touched_at": "2022-04-06T03:45:16.800Z",
            }
        ]
        assert (plan["days"], plan["count"]) == (30, 1)
        assert (await service.client.get(f"/api/contexts/{OLD}")).status == 200
    async with serving(store_url, storage={"retention_days": 30}) as service:

        async def is_gone() -> bool:
            return (await service.client.get(f"/api/contexts/{OLD}")).status == 404

        await eventually(is_gone)
        assert (await service.client.get(f"/api/contexts/{young}")).status == 200
        assert (await service.client.get("/admin/retention")).json["count"] == 0


async def test_a_deleted_context_is_gone_for_its_owner_where_tombstones_are_on(
    store_url: str,
) -> None:
    async with serving(store_url, storage={"tombstones": True}) as service:
        client = service.client
        context_id = await client.create()
        key = {"Idempotency_Key": "the-end"}
        done = await client.act(context_id, "delete", **key)
        assert (done.status, done.json["status"]) == (200, "deleted")
        paths = ("", "/state", "/messages", "/turns", "/log", "/export", "/events")
        for path in paths:
            answer = await client.get(f"/api/contexts/{context_id}{path}")
            assert (answer.status, answer.problem) == (410, "gone"), path
        said = await client.say(context_id, "still there?")
        assert (said.status, said.problem) == (410, "gone")
        described = (await client.get("/openapi.json")).json["paths"]
        for method, path, asked, problem in (
            ("get", "/api/actions/{action_id}", f"/api/actions/{context_id}.1.1", "gone"),
            ("get", "/api/events", f"/api/events?contexts={context_id}", "gone"),
            ("get", "/admin/contexts/{id}", None, "not-found"),
            ("post", "/admin/contexts/{id}/requeue", None, "not-found"),
            ("post", "/admin/contexts/{id}/cancel", None, "not-found"),
            ("post", "/admin/contexts/{id}/compact", None, "not-found"),
        ):
            address = asked or path.replace("{id}", context_id)
            assert (await client.send(method.upper(), address)).problem == problem, path
            told = described[path][method]["x-problems"]
            assert ("gone" in told) == (problem == "gone"), path
        unknown = await client.get(f"/api/contexts/{NOWHERE}")
        assert (unknown.status, unknown.problem) == (404, "not-found")
        again = await client.act(context_id, "delete", **key)
        assert again.status == 200
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json["action"] == done.json["action"]
        assert (again.json["status"], again.json["context"]) == ("deleted", None)
        other = await client.act(context_id, "delete", Idempotency_Key="another")
        assert (other.status, other.problem) == (410, "gone")
        reused = await client.say(context_id, "hello", Idempotency_Key="the-end")
        assert (reused.status, reused.problem) in {(422, "key-reused"), (410, "gone")}


async def test_a_deletion_that_was_repeated_while_it_was_on_its_way_is_done_once(
    store_url: str,
) -> None:
    async with serving(store_url, storage={"tombstones": True}) as service:
        context_id = await service.client.create()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(service.client.act(context_id, "delete", Idempotency_Key="k"))
                for _ in range(8)
            ]
        answers = [task.result() for task in tasks]
        assert {answer.status for answer in answers} == {200}
        assert len({str(answer.json["action"]) for answer in answers}) == 1


async def test_a_webhook_hears_of_a_whole_life_and_a_turn_does_not_wait_for_it(
    store_url: str,
) -> None:
    receiver = Receiver(free_port(), hangs=True)
    storage = {"webhook_url": receiver.url, "webhook_secret": SECRET}
    worker = {"webhook_call_s_max": 1.0, "webhook_pause_s": 0.01, "worker_heartbeat_s": 0.1}
    async with (
        serving(store_url, storage=storage, worker=worker) as service,
        receiver.serving(),
    ):
        client = service.client
        context_id = await client.create()
        answer = await client.say(context_id, "Hello")
        assert (answer.status, answer.json["status"]) == (200, "idle")
        assert receiver.deliveries == []
        receiver.hangs = False
        assert (await client.act(context_id, "delete")).status == 200
        kinds = ("context-created", "reply-ended", "context-deleted")
        taken = await receiver.until_kinds(context_id, *kinds)
        assert taken[1].event["data"]["occasions"] == ["reply-ended", "turn-rested"]
        assert taken[1].event["data"]["status"] == "idle"


async def test_a_webhook_that_was_given_up_is_a_letter_that_is_sent_again(
    store_url: str,
) -> None:
    receiver = Receiver(free_port(), usual=500)
    storage = {"webhook_url": receiver.url, "webhook_secret": SECRET}
    worker = {"webhook_tries_max": 2, "webhook_pause_s": 0.01, "worker_heartbeat_s": 0.1}
    async with (
        serving(store_url, storage=storage, worker=worker) as service,
        receiver.serving(),
    ):
        client = service.client
        context_id = await client.create()

        async def has_a_letter() -> bool:
            return bool((await client.get("/admin/dead_letters")).json["count"])

        await eventually(has_a_letter)
        (letter,) = (await client.get("/admin/dead_letters")).json["dead_letters"]
        assert letter["webhook"] == f"{context_id}.1"
        assert (letter["action"], letter["event"]["kind"]) == (None, "context-created")
        assert letter["cause"].endswith("Last: status 500")
        receiver.usual = 204
        answer = await client.send("POST", f"/admin/dead_letters/{letter['id']}/retry")
        assert (answer.status, answer.json["action_id"]) == (202, None)
        await receiver.until_kinds(context_id, "context-created")
        assert (await client.get("/admin/dead_letters")).json["count"] == 0


async def test_webhooks_of_many_contexts_are_told_by_several_workers_each_in_order(
    store_url: str,
) -> None:
    receiver = Receiver(free_port())
    storage = {
        "webhook_url": receiver.url,
        "webhook_secret": SECRET,
        "webhook_events": "context-created,context-renamed",
    }
    worker = {"worker_heartbeat_s": 0.05, "linger_s": 0.0}
    async with (
        serving(store_url, workers=3, storage=storage, worker=worker) as service,
        receiver.serving(),
    ):
        ids = [await service.client.create() for _ in range(12)]
        for number in range(4):
            for context_id in ids:
                body = {"title": f"Title {number}"}
                assert (await service.client.act(context_id, "rename", body)).status == 200
        kinds = ("context-created", *["context-renamed"] * 4)
        for context_id in ids:
            taken = await receiver.until_kinds(context_id, *kinds)
            numbers = [int(one.id.rpartition(".")[2]) for one in taken]
            assert numbers == sorted(set(numbers))


async def test_nothing_is_left_of_chores_that_are_done(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, storage={"retention_days": 1}):

        async def was_done() -> bool:
            job = f"rq:job:{Chore('retention', '').job_id}"
            enqueued = tell_store(shared_store, "EXISTS", keys.chore("retention"))
            return enqueued == 1 and tell_store(shared_store, "EXISTS", job) == 0

        await eventually(was_done)
    async with connect(store_url, StorageConfig()) as store:
        assert await store.link.call("ZCARD", "rq:failed:contextd") == 0
