"""Export, import and fork: a log that goes on elsewhere is the same log."""

import json
from collections.abc import Callable

import pytest

from tests.gateway.test_history import Json, talk
from tests.support.service import Service, serving


async def exported(service: Service, context_id: str) -> Json:
    """The export of a context."""
    answer = await service.client.get(f"/api/contexts/{context_id}/export")
    assert answer.status == 200
    return answer.json


async def imported(service: Service, document: Json, **headers: str) -> Json:
    """What importing a document is answered with."""
    return await service.client.send("POST", "/api/contexts/import", document, headers=headers)


def told(context: Json) -> list[tuple[str, str, str]]:
    """Id, role and text of each message."""
    return [(m["id"], m["role"], m["content"]) for m in context["messages"]]


async def test_an_import_has_the_same_messages_under_the_same_ids(store_url: str) -> None:
    async with serving(store_url) as service:
        source = await talk(service, "one", "two")
        before = await service.client.state(source)
        document = await exported(service, source)
        assert await exported(service, source) == document
        made = await imported(service, document)
        assert made.status == 201
        assert made.headers["Location"] == f"/api/contexts/{made.context['id']}"
        assert made.context["id"] != source
        assert told(made.context) == told(before)
        assert made.context["origins"] == [
            {"context_id": source, "version": document["version"]}
        ]
        again = await exported(service, made.context["id"])
        assert again["events"][1:] == document["events"][1:]
        went_on = await service.client.say(made.context["id"], "three")
        assert went_on.json["status"] == "idle"
        assert told(await service.client.state(source)) == told(before)


async def test_an_import_under_one_key_is_one_context(store_url: str) -> None:
    async with serving(store_url) as service:
        document = await exported(service, await talk(service, "one"))
        first = await imported(service, document, **{"Idempotency-Key": "k"})
        again = await imported(service, document, **{"Idempotency-Key": "k"})
        assert again.context["id"] == first.context["id"]
        assert again.headers["Idempotent-Replayed"] == "true"
        other = {**document, "events": document["events"][:-1]}
        reused = await imported(service, other, **{"Idempotency-Key": "k"})
        assert (reused.status, reused.problem) == (422, "key-reused")


def without_its_beginning(document: Json) -> None:
    del document["events"][0]


def twice_the_same(document: Json) -> None:
    document["events"].append(document["events"][1])


def of_another_format(document: Json) -> None:
    document["format"] = "contextd-export/0"


def with_a_field_too_many(document: Json) -> None:
    document["events"][1]["more"] = 1


def with_an_unknown_event(document: Json) -> None:
    document["events"][1]["kind"] = "message-imagined"


def out_of_order(document: Json) -> None:
    document["events"][1:3] = document["events"][2:0:-1]


def in_the_year_10_000(document: Json) -> None:
    for event in document["events"]:
        event["at_ms"] = 253_402_300_800_000


def of_a_context_without_an_id(document: Json) -> None:
    document["events"][0]["context_id"] = "nobody"


@pytest.mark.parametrize(
    "damage",
    [
        without_its_beginning,
        in_the_year_10_000,
        of_a_context_without_an_id,
        twice_the_same,
        of_another_format,
        with_a_field_too_many,
        with_an_unknown_event,
        out_of_order,
    ],
)
async def test_what_is_no_log_is_refused_and_nothing_is_kept(
    store_url: str, damage: Callable[[Json], None]
) -> None:
    async with serving(store_url) as service:
        source = await talk(service, "one")
        document = await exported(service, source)
        if damage is twice_the_same:  # a message may be sent twice; a reply may not end twice
            document["events"] += [document["events"][-1]]
        else:
            damage(document)
        answer = await imported(service, document)
        assert (answer.status, answer.problem) == (422, "invalid-body"), answer
        listed = await service.client.get("/api/contexts")
        assert [one["id"] for one in listed.json["contexts"]] == [source]


async def test_an_export_may_be_larger_than_other_bodies_but_not_endless(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"import_bytes_max": 100_000}) as service:
        source = await talk(service, *["x" * 20_000] * 4)
        document = await exported(service, source)
        assert len(json.dumps(document)) > 65_536
        assert (await imported(service, document)).status == 201
        document["padding"] = "x" * 50_000
        answer = await imported(service, document)
        assert (answer.status, answer.problem) == (413, "body-too-large")


@pytest.mark.parametrize(("too_many", "status"), [(0, 201), (1, 422)])
async def test_an_import_holds_up_the_store_for_so_many_events_at_most(
    store_url: str, too_many: int, status: int
) -> None:
    async with serving(store_url) as service:
        document = await exported(service, await talk(service, "one"))
    events_max = len(document["events"]) - too_many
    async with serving(store_url, gateway={"import_events_max": events_max}) as service:
        answer = await imported(service, document)
        assert answer.status == status, answer
        assert too_many == 0 or answer.problem == "invalid-body"


async def test_a_fork_goes_on_by_itself(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await talk(service, "one", "two")
        before = await client.state(source)
        made = await client.act(source, "fork", {"title": "Fork"})
        assert made.status == 201
        assert (made.context["title"], told(made.context)) == ("Fork", told(before))
        await client.say(made.context["id"], "three")
        assert await client.state(source) == before


async def test_a_fork_begins_where_the_source_was_at_a_version(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await talk(service, "one")
        then = await client.state(source)
        await client.say(source, "two")
        made = await client.act(source, "fork", {"at_version": then["version"]})
        assert told(made.context) == told(then)
        late = await client.act(source, "fork", {"at_version": 999})
        assert (late.status, late.problem) == (422, "invalid-body")


async def test_what_runs_is_not_run_twice_by_a_fork(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await client.create()
        await client.say(source, "/hang", Prefer="wait=0")
        await client.say(source, "waits", Prefer="wait=0")
        made = await client.act(source, "fork")
        assert made.json["status"] == "idle"
        assert made.context["queue"] == []
        assert [m["content"] for m in made.context["messages"]] == ["/hang"]
        assert (await client.state(source))["status"] != "idle"


async def test_what_waits_for_a_person_waits_in_the_fork_too(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await client.create()
        asked = await client.say(source, "/tool clock {}")
        assert asked.json["status"] == "awaiting_tool_approval"
        made = await client.act(source, "fork")
        (call,) = made.context["pending_tool_calls"]
        body = {"tool_call_ids": [call["id"]]}
        done = await client.act(made.context["id"], "approve_tools", body, Prefer="wait=10")
        assert done.json["status"] == "idle"
        assert (await client.state(source))["pending_tool_calls"] == [call]


async def test_what_ran_and_waited_does_not_begin_in_an_import(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await client.create()
        await client.say(source, "/hang", Prefer="wait=0")
        await client.say(source, "waits", Prefer="wait=0")
        made = await imported(service, await exported(service, source))
        assert (made.status, made.json["status"], made.context["queue"]) == (201, "idle", [])
        assert [m["content"] for m in made.context["messages"]] == ["/hang"]


async def test_a_fork_that_comes_again_is_the_first_whatever_became_of_its_source(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        source = await talk(service, "one")
        other = await talk(service, "two")
        key = {"Idempotency-Key": "k"}
        made = await client.act(source, "fork", {"title": "Fork"}, **key)
        assert (await client.act(source, "delete")).status == 200
        again = await client.act(source, "fork", {"title": "Fork"}, **key)
        assert (again.status, again.context["id"]) == (201, made.context["id"])
        assert again.headers["Idempotent-Replayed"] == "true"
        for asked in (source, other):
            reused = await client.act(asked, "fork", {"title": "Other"}, **key)
            assert (reused.status, reused.problem) == (422, "key-reused")
        anew = await client.act(source, "fork", {"title": "Fork"})
        assert (anew.status, anew.problem) == (404, "not-found")
