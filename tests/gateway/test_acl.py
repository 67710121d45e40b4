"""Every role of contextd with its own user of the store, and what those users cannot do."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from redis.exceptions import NoPermissionError

import storage.admissions as admissions
from storage import SCOPES, Access, StorageConfig, connect, make_client
from tests.support.acl_store import AclStore, acl_store
from tests.support.service import eventually, serving
from tests.support.service_processes import free_port
from tests.support.webhook_receiver import SECRET, Receiver

pytestmark = pytest.mark.real_only
NOW_MS: Final = 1_800_000_000_000
NOBODY: Final = "01890a5d-ac96-774b-bcce-b302099a8057"

NEVER: Final[tuple[tuple[str, ...], ...]] = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("SCRIPT", "FLUSH"),
    ("EVAL", "return 1", "0"),
    ("FUNCTION", "LIST"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN",),
    ("SAVE",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MONITOR",),
    ("CLIENT", "KILL", "ID", "1"),
    ("CLIENT", "PAUSE", "1"),
    ("ACL", "LIST"),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "1"),
    ("RENAME", "ready", "due"),
    ("DUMP", "ready"),
    ("GET", "other:application"),
    ("SET", "other:application", "1"),
    ("PUBLISH", "other:channel", "1"),
    ("SUBSCRIBE", "other:channel"),
    ("DEL", "audit"),
    ("XTRIM", "audit", "MAXLEN", "0"),
    ("PSUBSCRIBE", "*"),
)
"""What nobody of contextd does."""
NOT_OF: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "contextd": (),
    "contextd-gateway": (
        ("CONFIG", "GET", "requirepass"),
        ("HSET", "access:keys", "k", "{}"),
        ("HDEL", "access:keys", "k"),
        ("ZADD", "workers", "1", "w"),
        ("SET", "worker:w:session", "1"),
        ("HGETALL", "rq:worker:w"),
    ),
    "contextd-backup": (
        ("GET", "ready"),
        ("HSET", "access:keys", "k", "{}"),
        ("HGETALL", "access:keys"),
        ("XRANGE", "audit", "-", "+"),
    ),
    "contextd-worker": (
        ("CONFIG", "GET", "requirepass"),
        ("HGET", "access:keys", "k"),
        ("GETDEL", "ticket:t"),
        ("XADD", "audit", "*", "r", "1"),
        ("XRANGE", "audit", "-", "+"),
        ("XREVRANGE", "activity", "+", "-"),
        ("SET", "activity:gateway:g", "1"),
    ),
}


@pytest.fixture(scope="module")
def store() -> Iterator[AclStore]:
    """One server for all tests here."""
    with acl_store() as running:
        yield running


@pytest.mark.parametrize("user", NOT_OF)
def test_a_user_can_do_nothing_but_what_its_role_does(store: AclStore, user: str) -> None:
    client: Any = make_client(store.url(user), call_s_max=5)
    for command in (*NEVER, *NOT_OF[user]):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    client.close()
    assert len(store.refused()) > 0


async def test_all_that_contextd_does_its_users_may_do(
    store: AclStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admissions, "PIECE_EVENTS_MAX", 1)  # a copy comes in pieces
    async with connect(store.url("contextd"), StorageConfig()) as opened:
        _, text = await Access(opened.link).create(
            "k", owner="ada", scopes=SCOPES, now_ms=NOW_MS
        )
    async with (
        Receiver(free_port()).serving() as receiver,
        serving(
            store.url("contextd-gateway"),
            gateways=2,
            workers=2,
            gateway={
                "auth": "keys",
                "stream_check_s": 0.1,
                "actions_per_owner_minute_max": 60_000,
                "polls_per_owner_minute_max": 60_000,
            },
            storage={
                "webhook_url": receiver.url,
                "webhook_secret": SECRET,
                "retention_days": 1,
                "log_events_max": 4,
                "tombstones": True,
                "worker_session_ms": 3_000,
            },
            worker={"linger_s": 0.05, "worker_heartbeat_s": 0.1},
            worker_store_url=store.url("contextd-worker"),
        ) as service,
    ):
        one, two = (replace(client, key=text) for client in service.clients)
        made = await one.send(
            *("POST", "/api/contexts", {"message": {"content": "Hello"}}),
            headers={"Idempotency-Key": "k"},
        )
        context_id = made.context["id"]
        ticket = (await one.send("POST", "/api/tickets", {})).json["ticket"]
        stranger = service.clients[1]
        async with stranger.stream(context_id, query=f"?ticket={ticket}") as stream:
            await stream.take("snapshot")
            await one.say(context_id, "/chunks 3 5")
            await stream.take("reply-ended")
        said = await two.say(context_id, '/tool notes {"action": "add", "text": "milk"}')
        ids = [call["id"] for call in said.context["pending_tool_calls"]]
        await two.act(context_id, "approve_tools", {"tool_call_ids": ids}, Prefer="wait=20")
        await one.act(context_id, "rename", {"title": "T"}, Idempotency_Key="r")
        await one.act(context_id, "rename", {"title": "T"}, Idempotency_Key="r")
        await one.send("POST", "/api/notes", {"text": "A kestrel hovers."})
        for mode in ("semantic", "graph", "deep"):
            asked = await one.send(
                *("POST", f"/api/chat/{mode}"),
                {"query": "Does a kestrel hover?", "session_id": "s"},
            )
            assert asked.status == 200, asked
        for path in (
            "/api/contexts?states=true",
            f"/api/contexts/{context_id}/turns",
            f"/api/contexts/{context_id}/log?after=3",
            "/api/notes",
            "/admin/dead_letters",
            f"/admin/dead_letters?context={context_id}",
            "/admin/workers",
            "/admin/processes",
            "/admin/contexts",
            "/admin/contexts?all=true&limit=1",
            "/admin/contexts?all=true&owner=ada",
            f"/admin/contexts?all=true&after=1.{context_id}",
            f"/admin/contexts/{context_id}",
            f"/admin/dead_letters?after=1.{context_id}.1",
            "/admin/retention?days=1",
            "/admin/audit",
            "/api/v1/metrics/activity",
            "/api/v1/metrics/events",
            "/readyz",
        ):
            assert (await two.get(path)).status in {200, 410}, path
        for note in (await one.get("/api/notes")).json["notes"]:
            await one.send("DELETE", f"/api/notes/{note['id']}")
        assert (await one.send("DELETE", "/api/chat/session/s")).status == 204
        assert (await one.send("POST", "/admin/restart", {})).problem == "no-supervisor"
        for act in ("requeue", "cancel", "compact"):
            path = f"/admin/contexts/{context_id}/{act}"
            assert (await one.send("POST", path, {})).status == 202
        every = {"everything": True}
        assert (await one.send("POST", "/admin/dead_letters/retry", every)).status == 200
        drain = {"scope": "workers", "force": True}
        assert (await one.send("POST", "/admin/drain", drain)).problem == "no-supervisor"
        missing = await one.send("DELETE", f"/admin/dead_letters/{NOBODY}.1")
        assert missing.status == 404
        exported = await one.get(f"/api/contexts/{context_id}/export")
        copy = await one.send("POST", "/api/contexts/import", raw=exported.body)
        assert copy.status == 201
        talk = await one.create(message={"content": "Hello"})
        assert (await one.send("POST", f"/api/contexts/{talk}/actions/fork", {})).status == 201
        await receiver.until(3)

        async def compacted() -> bool:
            found = await service.stores[0].logs.first(context_id)
            return found > 1

        await eventually(compacted)
        assert (await one.send("DELETE", f"/api/contexts/{context_id}")).status == 200
        assert (await two.get(f"/api/contexts/{context_id}")).status == 410
        await asyncio.to_thread(_lose_a_worker, store)
    assert store.refused() == []


def _lose_a_worker(store: AclStore) -> None:
    """A worker's session ends; the others bury it."""
    client: Any = store.server.client()
    (first, *_) = client.zrange("workers", 0, -1)
    client.zadd("workers", {"gone": 1})
    client.sadd("worker:gone:contexts", NOBODY)
    while client.zscore("workers", "gone") is not None:
        assert client.zscore("workers", first) is not None
    client.close()
