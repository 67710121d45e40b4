"""What operators ask of a gateway: restarts without a supervisor, and dead letters."""

import asyncio

import pytest

from storage import DeadLetter, RestartRequest, Restarts, SupervisorReport, keys
from storage.contract import Mail
from storage.restarts import GONE
from tests.gateway.arrivals import tell_store
from tests.support.playbook import say
from tests.support.service import serving
from tests.support.store_server import StoreServer

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


def bury(server: StoreServer, context_id: str, *, mail: Mail | None = None, at_ms: int) -> str:
    """Leave a dead letter as a commit would; its id."""
    letter = DeadLetter(
        id=f"{context_id}.{at_ms}",
        context_id=context_id,
        owner="local",
        at_ms=at_ms,
        cause="It ended 3 workers.",
        mail=mail,
    )
    (dead,) = keys.of_context(context_id, "dead")
    tell_store(server, "HSET", dead, letter.id, letter.model_dump_json())
    tell_store(server, "ZADD", keys.DEAD, str(at_ms), letter.id)
    return letter.id


async def test_p13_without_a_supervisor_a_restart_is_refused_and_nothing_is_left(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/admin/restart", {})
        assert (answer.status, answer.problem) == (409, "no-supervisor")
        assert tell_store(shared_store, "EXISTS", keys.RESTARTING) == 0
        assert tell_store(shared_store, "KEYS", "restart:*") == []


async def test_a_report_says_what_was_asked_for_and_that_a_supervisor_has_failed(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service, asyncio.TaskGroup() as group:
        restarts = Restarts(service.stores[0])
        reports = (
            SupervisorReport(supervisor="a", status="complete"),
            SupervisorReport(supervisor="b", status="failed"),
        )

        async def supervise() -> None:
            async for request in restarts.requests():
                for report in reports:
                    await restarts.report(request.restart_id, report)
                return

        supervising = group.create_task(supervise())
        order = {"scope": "workers", "force": True}
        accepted = (await service.client.send("POST", "/admin/restart", order)).json
        await supervising
        report = (await service.client.get(accepted["report_url"])).json
        assert report.pop("requested_at_ms") > 0
        assert report == {
            "restart_id": accepted["restart_id"],
            "status": "failed",
            "kind": "restart",
            **order,
            "process": None,
            "supervisors": [one.model_dump(mode="json") for one in reports],
        }


@pytest.mark.parametrize("body", [{"scope": "store"}, {"force": "perhaps"}, {"now": True}, []])
async def test_a_restart_order_that_is_none_is_refused(store_url: str, body: object) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/admin/restart", body)
        assert (answer.status, answer.problem) == (422, "invalid-body")


@pytest.mark.parametrize(
    "restart_id", ["r-0123456789abcdef", "r-0", "..", "*", "r-0123456789ABCDEF"]
)
async def test_a_restart_that_never_was_is_not_found(store_url: str, restart_id: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(f"/admin/restarts/{restart_id}")
        assert (answer.status, answer.problem) == (404, "not-found")


async def test_a_restart_whose_supervisor_is_gone_has_failed_and_says_why(
    store_url: str, shared_store: StoreServer
) -> None:
    restart_id = "r-0123456789abcdef"
    asked = RestartRequest(
        restart_id=restart_id, scope="workers", force=False, requested_at_ms=1
    )
    report = SupervisorReport(supervisor="s-1", status="running")
    fields = ("request", asked.model_dump_json(), "supervisor:s-1", report.model_dump_json())
    tell_store(shared_store, "HSET", keys.restart(restart_id), *fields)
    async with serving(store_url, workers=0) as service:
        found = (await service.client.get(f"/admin/restarts/{restart_id}")).json
    assert found["status"] == "failed"
    assert found["supervisors"] == [
        {**report.model_dump(mode="json"), "status": "failed", "reason": GONE}
    ]


async def test_p11_dead_letters_are_listed_newest_first_and_counted(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        mail = Mail(event=say("poison").model_copy(update={"at_ms": 7}))
        older = bury(shared_store, context_id, at_ms=10)
        newer = bury(shared_store, context_id, mail=mail, at_ms=20)
        page = (await service.client.get("/admin/dead_letters")).json
        assert page["count"] == 2
        assert [letter["id"] for letter in page["dead_letters"]] == [newer, older]
        first, second = page["dead_letters"]
        assert (first["action"], first["event"]["content"]) == ("send_message", "poison")
        assert (second["action"], second["event"]) == (None, None)
        one = (await service.client.get("/admin/dead_letters?limit=1")).json
        assert [letter["id"] for letter in one["dead_letters"]] == [newer]
        assert one["count"] == 2


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "9999999999"])
async def test_a_page_of_dead_letters_has_one_at_least_and_not_too_many(
    store_url: str, limit: str
) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(f"/admin/dead_letters?limit={limit}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


async def test_p11_a_retried_letter_is_delivered_once_and_gone(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        mail = Mail(event=say("again").model_copy(update={"at_ms": 7}))
        letter_id = bury(shared_store, context_id, mail=mail, at_ms=20)
        answer = await client.send("POST", f"/admin/dead_letters/{letter_id}/retry")
        assert answer.status == 202
        assert answer.headers["Location"] == f"/api/actions/{answer.json['action_id']}"
        # As after an answer that was lost on its way: the letter is still there.
        bury(shared_store, context_id, mail=mail, at_ms=20)
        again = await client.send("POST", f"/admin/dead_letters/{letter_id}/retry")
        assert again.json == answer.json
        state = await client.until(context_id, "idle")
        assert [m["content"] for m in state["messages"] if m["role"] == "user"] == ["again"]
        assert (await client.get("/admin/dead_letters")).json["count"] == 0
        gone = await client.send("POST", f"/admin/dead_letters/{letter_id}/retry")
        assert (gone.status, gone.problem) == (404, "not-found")


async def test_p11_a_dropped_letter_is_forgotten(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        letter_id = bury(shared_store, context_id, at_ms=20)
        path = f"/admin/dead_letters/{letter_id}"
        assert (await service.client.send("DELETE", path)).status == 204
        assert (await service.client.send("DELETE", path)).status == 404


@pytest.mark.parametrize("letter_id", [f"{NOWHERE}.3", NOWHERE, f"{NOWHERE}.0", "*", "%00"])
async def test_a_letter_that_never_was_is_not_found(store_url: str, letter_id: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("DELETE", f"/admin/dead_letters/{letter_id}")
        assert (answer.status, answer.problem) == (404, "not-found")


async def test_of_a_dead_letter_admins_see_what_is_not_to_be_redacted(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0, storage={"redact": "email"}) as service:
        context_id = await service.client.create()
        mail = Mail(event=say("Ask ada@mail.example.").model_copy(update={"at_ms": 7}))
        letter_id = bury(shared_store, context_id, mail=mail, at_ms=20)
        (letter,) = (await service.client.get("/admin/dead_letters")).json["dead_letters"]
        assert letter["event"]["content"] == "Ask [email]."
        retried = await service.client.send("POST", f"/admin/dead_letters/{letter_id}/retry")
        assert retried.status == 202
        (waiting,) = await service.stores[0].undelivered(context_id)
        assert waiting.mail == mail  # what is delivered once more is what was said
