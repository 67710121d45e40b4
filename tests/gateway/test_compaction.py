"""What clients see of a log whose beginning was replaced by the state it had led to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from fsm import ContextState, Reference
from gateway import GatewayConfig
from gateway.app import Gateway
from gateway.exchange import Exchange
from storage.logs import Logs
from tests.gateway.test_history import Json, talk
from tests.gateway.test_transfer import exported, imported, told
from tests.support.service import Service, eventually, serving

STORAGE = {"log_events_max": 6}
WORKER = {"linger_s": 0.0}


async def compacted(service: Service, context_id: str) -> int:
    """Wait until a context's log is compacted; the first version that it has then."""
    (store,) = service.stores

    async def is_compacted() -> bool:
        return await store.logs.first(context_id) > 1

    await eventually(is_compacted)
    return await store.logs.first(context_id)


async def test_the_log_and_old_versions_are_told_to_be_compacted_and_the_rest_is_there(
    store_url: str,
) -> None:
    async with serving(store_url, storage=STORAGE, worker=WORKER) as service:
        client = service.client
        source = await talk(service, "one", "two")
        before = await client.state(source)
        first = await compacted(service, source)
        path = f"/api/contexts/{source}"
        assert await client.state(source) == before
        for query in ("log", "log?after=0", f"log?after={first - 2}"):
            answer = await client.get(f"{path}/{query}")
            assert (answer.status, answer.problem) == (410, "compacted"), query
            assert answer.json["first_version"] == first
        page = (await client.get(f"{path}/log?after={first - 1}")).json
        assert [entry["version"] for entry in page["events"]] == [
            *range(first, before["version"] + 1)
        ]
        for version in (1, before["version"] - 1):
            answer = await client.get(f"{path}/state?at_version={version}")
            assert (answer.status, answer.problem) == (410, "compacted")
            assert answer.json["first_version"] == before["version"]
        now = await client.get(f"{path}/state?at_version={before['version']}")
        assert told(now.context) == told(before)
        said = await client.say(source, "three")
        assert (said.json["status"], len(said.context["messages"])) == ("idle", 6)
        assert told(said.context)[:4] == told(before)


async def test_a_cursor_of_before_the_log_gets_one_reset_that_says_why(store_url: str) -> None:
    async with serving(store_url, storage=STORAGE, worker=WORKER) as service:
        client = service.client
        source = await client.create()
        old = (await client.state(source))["cursor"]
        for text in ("one", "two"):
            await client.say(source, text)
        first = await compacted(service, source)
        async with client.stream(source, after=old) as stream:
            hello, reset = [await stream.next(), await stream.next()]
            assert hello is not None
            assert reset is not None
            assert (hello.data["resumed"], reset.event) == (False, "reset")
            assert "replaced" in reset.data["reason"]
            assert len(reset.data["context"]["messages"]) == 4
            await client.act(source, "rename", {"title": "Tea"})
            renamed = await stream.next()
            assert renamed is not None
            assert renamed.event == "context-renamed"
        epoch = old.partition(".")[0]
        page = (await client.get(f"/api/contexts/{source}/state?after={old}")).json
        assert [event["event"] for event in page["events"]] == ["reset"]
        async with client.stream(source, after=f"{epoch}.{first - 1}.0") as stream:
            hello = await stream.next()
            assert hello is not None
            assert hello.data["resumed"]


async def test_an_export_of_a_compacted_log_can_be_imported_and_goes_on(
    store_url: str,
) -> None:
    async with serving(store_url, storage=STORAGE, worker=WORKER) as service:
        client = service.client
        source = await talk(service, "one", "two")
        await compacted(service, source)
        await client.act(source, "rename", {"title": "Tea"})
        before = await client.state(source)
        document = await exported(service, source)
        assert await exported(service, source) == document
        assert document["base"]["version"] + len(document["events"]) == document["version"]
        made = await imported(service, document)
        assert made.status == 201
        assert told(made.context) == told(before)
        assert (made.context["title"], made.context["version"]) == ("Tea", before["version"])
        assert made.context["origins"] == [
            {"context_id": source, "version": document["version"]}
        ]
        copy = made.context["id"]
        again = await exported(service, copy)
        assert again["base"]["id"] == copy
        assert again["events"] == document["events"]
        said = await client.say(copy, "three")
        assert (said.json["status"], len(said.context["messages"])) == ("idle", 6)
        assert len({message["id"] for message in said.context["messages"]}) == 6
        assert (await client.act(copy, "delete")).status == 200
        assert told(await client.state(source)) == told(before)


async def test_a_fork_of_a_compacted_context_begins_with_its_base(store_url: str) -> None:
    async with serving(store_url, storage=STORAGE, worker=WORKER) as service:
        client = service.client
        source = await talk(service, "one", "two")
        await compacted(service, source)
        before = await client.state(source)
        made = await client.act(source, "fork", {"title": "Fork"})
        assert (made.status, told(made.context)) == (201, told(before))
        said = await client.say(made.context["id"], "three")
        assert len(said.context["messages"]) == 6
        early = await client.act(source, "fork", {"at_version": 2})
        assert (early.status, early.problem) == (410, "compacted")


def another_seq(base: Json) -> None:
    base["messages"][1]["seq"] = 7


def its_own_successor(base: Json) -> None:
    base["messages"][1]["replaces"] = base["messages"][1]["id"]


def a_copy_of_nothing(base: Json) -> None:
    base["messages"][1]["copy_of"] = "nobody"


def of_a_far_version(base: Json) -> None:
    base["version"] = 10**14


def of_a_far_year(base: Json) -> None:
    base["created_at_ms"] = 253_402_300_800_000


def of_no_context(base: Json) -> None:
    base["origins"] = [{"context_id": "nobody", "version": 1}]


def an_orphan(base: Json) -> None:
    base["messages"][1]["parent_id"] = "nobody"


def twins(base: Json) -> None:
    base["messages"][1]["id"] = base["messages"][0]["id"]


def a_lost_head(base: Json) -> None:
    base["branches"]["main"]["head"] = "nobody"


def no_active_branch(base: Json) -> None:
    base["active_branch"] = "other"


def at_work(base: Json) -> None:
    base["phase"] = "streaming_llm_response"


def deleted(base: Json) -> None:
    base["phase"] = "deleted"


def waiting_for_nothing(base: Json) -> None:
    base["phase"] = "awaiting_tool_approval"


def a_field_too_many(base: Json) -> None:
    base["more"] = 1


@pytest.mark.parametrize(
    "damage",
    [
        *(another_seq, an_orphan, twins, a_lost_head, no_active_branch),
        *(its_own_successor, a_copy_of_nothing, of_a_far_version, of_a_far_year, of_no_context),
        *(at_work, deleted, waiting_for_nothing, a_field_too_many),
    ],
)
async def test_a_base_that_no_log_can_have_led_to_is_refused(
    store_url: str, damage: Callable[[Json], None]
) -> None:
    async with serving(store_url, storage=STORAGE, worker=WORKER) as service:
        source = await talk(service, "one", "two")
        await compacted(service, source)
        document = await exported(service, source)
        damage(document["base"])
        answer = await imported(service, document)
        assert (answer.status, answer.problem) == (422, "invalid-body")
        assert "base" in answer.json["detail"]
        listed = await service.client.get("/api/contexts")
        assert [one["id"] for one in listed.json["contexts"]] == [source]


async def test_json_snapshots_and_a_restart_go_with_compaction(
    store_url: str, tmp_path: Path
) -> None:
    storage = {**STORAGE, "snapshots": f"json:{tmp_path}"}
    async with serving(store_url, storage=storage, worker=WORKER) as service:
        source = await talk(service, "one", "two")
        await compacted(service, source)
        before = await service.client.state(source)
    async with serving(store_url, storage=storage, worker=WORKER) as service:
        assert await service.client.state(source) == before
        said = await service.client.say(source, "three")
        assert len(said.context["messages"]) == 6


async def test_without_the_setting_every_event_is_kept(store_url: str) -> None:
    async with serving(store_url, worker=WORKER) as service:
        source = await talk(service, "one", "two")
        page = (await service.client.get(f"/api/contexts/{source}/log")).json
        assert len(page["events"]) == page["version"]
        assert "base" not in await exported(service, source)


async def test_an_export_and_a_fork_in_the_middle_of_a_compaction_are_whole(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, worker=WORKER) as service:
        sources = [await talk(service, text) for text in ("one", "two")]
        base = Logs.base

        async def early(logs: Logs, context_id: str) -> ContextState | None:
            found = await base(logs, context_id)
            if found is None:
                order = {"keep_events": 1}
                path = f"/admin/contexts/{context_id}/compact"
                assert (await service.client.send("POST", path, order)).status == 202
                await compacted(service, context_id)
            return found

        monkeypatch.setattr(Logs, "base", early)
        assert "base" in await exported(service, sources[0])
        forked = await service.client.act(sources[1], "fork")
        assert (forked.status, len(forked.context["messages"])) == (201, 2)


async def test_a_question_whose_turn_was_compacted_at_once_is_answered_without_sources(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, storage={"log_events_max": 2}, worker=WORKER) as service:
        references = Exchange.references

        async def late(exchange: Exchange, gateway: Gateway) -> Sequence[Reference]:
            async def is_compacted() -> bool:
                (store,) = service.stores
                return (
                    await store.logs.first(exchange.feed.context_id) == exchange.mirror.version
                )

            await eventually(is_compacted)
            return await references(exchange, gateway)

        monkeypatch.setattr(Exchange, "references", late)
        for query in ("one", "two"):
            asked = {"query": query, "session_id": "s"}
            answer = await service.client.send("POST", "/api/chat/semantic", asked)
            assert (answer.status, answer.json["sources"]) == (200, [])
            assert query in answer.json["response"]


def test_no_body_may_be_deeper_than_what_is_kept_can_be_read_back() -> None:
    with pytest.raises(ValidationError):
        GatewayConfig(json_depth_max=129)


def nested(levels: int) -> Json:
    """Lists in each other, and a text in the innermost."""
    value: Json = "x"
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [64, 128])
@pytest.mark.parametrize("events_max", [0, 2], ids=["events", "base"])
async def test_what_was_taken_at_its_deepest_is_worked_on_and_imported_again(
    store_url: str, depth: int, events_max: int
) -> None:
    gateway, storage = {"json_depth_max": depth}, {"log_events_max": events_max}
    async with serving(store_url, gateway=gateway, storage=storage, worker=WORKER) as service:
        client = service.client
        source = await client.create()
        said, deeper = [
            await client.act(
                source,
                "send_message",
                {"content": "Hi", "metadata": {"deep": nested(levels)}},
                Prefer="wait=30",
            )
            for levels in (depth - 2, depth - 1)
        ]
        assert (said.status, deeper.status) == (200, 400)
        if events_max:
            await compacted(service, source)
        document = await exported(service, source)
        assert ("base" in document) == bool(events_max)
        made = await imported(service, document)
        assert (made.status, told(made.context)) == (201, told(said.context))
