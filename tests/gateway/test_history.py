"""Messages by their numbers, turns, the log, and the state as it was."""

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from fsm import AnyEvent, ContextState, decode_event, replay
from tests.support.service import WITHIN_S, Service, serving

Json = Any
"""Decoded JSON of an answer."""


async def talk(service: Service, *said: str) -> str:
    """A context in which this was said, each answered."""
    context_id = await service.client.create()
    for content in said:
        answer = await service.client.say(context_id, content)
        assert answer.status == 200
    return context_id


async def pages(service: Service, path: str, key: str) -> list[list[Json]]:
    """Every page, as Link leads on."""
    found: list[list[Json]] = []
    at: str | None = path
    while at is not None:
        answer = await service.client.get(at)
        assert answer.status == 200, answer
        found.append(answer.json[key])
        link = answer.headers.get("Link")
        at = link[1 : link.index(">")] if link else None
    return found


async def test_messages_are_paged_by_their_numbers_in_both_directions(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await talk(service, "one", "two", "three")
        base = f"/api/contexts/{context_id}/messages"
        forth = await pages(service, f"{base}?limit=4", "messages")
        assert [[m["seq"] for m in page] for page in forth] == [[1, 2, 3, 4], [5, 6]]
        back = await pages(service, f"{base}?limit=4&before_seq=7", "messages")
        assert [[m["seq"] for m in page] for page in back] == [[3, 4, 5, 6], [1, 2]]
        between = await pages(service, f"{base}?after_seq=1&before_seq=4", "messages")
        assert [[m["seq"] for m in page] for page in between] == [[2, 3]]
        state = await service.client.state(context_id)
        assert forth[0] + forth[1] == state["messages"]


async def test_messages_of_another_branch_and_beside_all_branches_can_be_read(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await talk(service, "one")
        before = (await client.state(context_id))["messages"]
        await client.act(context_id, "create_branch", {"name": "kept"})
        body = {"message_id": before[0]["id"], "content": "uno"}
        edited = await client.act(context_id, "edit_message", body, Prefer="wait=10")
        now = edited.context["messages"]
        assert [m["content"] for m in now][:1] == ["uno"]
        assert now[0]["replaces"] == before[0]["id"]
        assert edited.context["alternatives"] == {now[0]["id"]: [before[0]["id"], now[0]["id"]]}
        kept = await client.get(f"/api/contexts/{context_id}/messages?branch=kept")
        assert kept.json == {"branch": "kept", "messages": before}
        one = await client.get(f"/api/contexts/{context_id}/messages/{before[1]['id']}")
        assert one.json == before[1]
        for path in ("messages?branch=gone", "messages/gone"):
            answer = await client.get(f"/api/contexts/{context_id}/{path}")
            assert (answer.status, answer.problem) == (404, "not-found")


async def test_a_turn_is_a_row_with_what_was_asked_and_answered(store_url: str) -> None:
    async with serving(store_url) as service:
        policy = {"tool_policy": {"mode": "auto_loop"}}
        context_id = await service.client.create(config=policy)
        await service.client.say(context_id, "/tool calculator {}")
        await service.client.say(context_id, "again")
        rows = await pages(service, f"/api/contexts/{context_id}/turns?limit=1", "turns")
        (first,), (second,) = rows
        assert (first["seq"], first["user_text"]) == (1, "/tool calculator {}")
        assert (first["tool_calls"], first["status"]) == (1, "complete")
        assert first["assistant_text"].startswith("The tools answered")
        assert second["user_text"] == "again"
        assert second["assistant_text"].startswith("You said")


async def test_a_turn_without_a_reply_is_a_row_without_a_status(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        said = {"messages": [{"role": "user", "content": text} for text in ("one", "two")]}
        assert (await service.client.act(context_id, "record_messages", said)).status == 200
        ((row,),) = await pages(service, f"/api/contexts/{context_id}/turns", "turns")
        assert (row["seq"], row["user_text"], row["assistant_text"]) == (1, "one\ntwo", "")
        assert (row["tool_calls"], row["status"]) == (0, None)


async def test_the_log_is_what_the_state_is_made_of(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await talk(service, "one", "two")
        found = await pages(service, f"/api/contexts/{context_id}/log?limit=3", "events")
        entries = [entry for page in found for entry in page]
        state = await service.client.state(context_id)
        assert [entry["version"] for entry in entries] == [*range(1, state["version"] + 1)]
        raw = [orjson.dumps(entry["event"]) for entry in entries]
        folded = replay(map(decode_event, raw))
        assert [m.content for m in folded.messages] == [m["content"] for m in state["messages"]]


async def test_the_state_at_a_version_is_what_a_poll_showed_then(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await talk(service, "one")
        then = await client.get(f"/api/contexts/{context_id}/state")
        await client.act(context_id, "rename", {"title": "Another"})
        await client.say(context_id, "two")
        address = f"/api/contexts/{context_id}/state?at_version={then.json['version']}"
        again = await client.get(address)
        assert again.json["context"] == then.context
        assert again.headers["ETag"] == then.headers["ETag"]


async def test_others_are_answered_while_an_old_state_is_replayed(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, answered = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def replay_slowly(events: Iterable[AnyEvent], base: ContextState | None) -> ContextState:
        begun.set()
        in_time.append(answered.wait(WITHIN_S))
        return replay(events, base)

    monkeypatch.setattr("gateway.history.replay", replay_slowly)
    async with serving(store_url) as service:
        context_id = await service.client.create()
        address = f"/api/contexts/{context_id}/state"
        async with asyncio.TaskGroup() as group:
            old = group.create_task(service.client.get(f"{address}?at_version=1"))
            await asyncio.to_thread(begun.wait, WITHIN_S)
            await service.client.get(address)
            answered.set()
        assert (old.result().status, in_time) == (200, [True])


@pytest.mark.parametrize("version", ["0", "99", "x", "1&after=1.1.0"])
async def test_a_version_that_is_none_is_refused(store_url: str, version: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.get(
            f"/api/contexts/{context_id}/state?at_version={version}"
        )
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


@pytest.mark.parametrize("what", ["messages", "messages/x", "turns", "log", "export"])
async def test_nobody_reads_what_is_not_there(store_url: str, what: str) -> None:
    async with serving(store_url) as service:
        unknown = "01932c5e-7a10-7c3b-9d2e-5f6071829304"
        answer = await service.client.get(f"/api/contexts/{unknown}/{what}")
        assert (answer.status, answer.problem) == (404, "not-found")


async def test_pages_of_another_branch_stay_on_it(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await talk(service, "one", "two")
        messages = (await service.client.state(context_id))["messages"]
        await service.client.act(context_id, "create_branch", {"name": "kept"})
        body = {"message_id": messages[0]["id"], "content": "uno"}
        await service.client.act(context_id, "edit_message", body, Prefer="wait=10")
        address = f"/api/contexts/{context_id}/messages?branch=kept&limit=1"
        found = await pages(service, address, "messages")
        assert [message for page in found for message in page] == messages


async def test_pages_stay_on_the_branch_that_was_active_at_first(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await talk(service, "one", "two")
        messages = (await service.client.state(context_id))["messages"]
        address = f"/api/contexts/{context_id}/messages?limit=1"
        first = await service.client.get(address)
        body = {"name": "other", "from_message_id": messages[1]["id"]}
        await service.client.act(context_id, "create_branch", body)
        await service.client.act(context_id, "switch_branch", {"name": "other"})
        link = first.headers["Link"]
        found = await pages(service, link[1 : link.index(">")], "messages")
        assert [message for page in found for message in page] == messages[1:]
