"""A context that nobody can open: clients are told so, and may have it deleted."""

from typing import cast

import pytest

from storage import keys
from tests.support.service import Service, eventually, serving

CHANGED = b"\xffchanged"


async def spoiled(store_url: str) -> str:
    """A context whose contents were changed in the store; no process remembers it."""
    async with serving(store_url) as service:
        context_id = await service.client.create()
        assert (await service.client.say(context_id, "hello")).status == 200
    async with serving(store_url, workers=0) as service:
        link = service.stores[0].link
        snapshot, log = keys.of_context(context_id, "snap", "log")
        await link.call("HSET", snapshot, "head", CHANGED)
        ((last, _),) = cast(
            "list[tuple[bytes, object]]",
            await link.call("XREVRANGE", log, "+", "-", "COUNT", 1),
        )
        await link.call("DEL", log)
        for version in range(1, int(last.split(b"-")[0]) + 1):
            await link.call("XADD", log, f"{version}-0", "e", CHANGED)
    return context_id


async def kept_of(service: Service, context_id: str) -> set[bytes]:
    """The keys that the store has of a context."""
    found = await service.stores[0].link.call("KEYS", f"ctx:{{{context_id}}}:*")
    return set(cast("list[bytes]", found))


@pytest.mark.parametrize("path", ["", "/state", "/events", "/messages", "/state?at_version=2"])
async def test_who_reads_it_is_told_that_it_cannot_be_opened(store_url: str, path: str) -> None:
    context_id = await spoiled(store_url)
    async with serving(store_url) as service:
        answer = await service.client.get(f"/api/contexts/{context_id}{path}")
        assert (answer.status, answer.problem) == (500, "unreadable")


async def test_an_action_on_it_is_refused_and_nothing_of_it_is_taken(store_url: str) -> None:
    context_id = await spoiled(store_url)
    async with serving(store_url) as service:
        answer = await service.client.say(context_id, "are you there?")
        assert (answer.status, answer.problem) == (500, "unreadable")
        (mail,) = keys.of_context(context_id, "mail")
        assert await service.stores[0].link.call("XLEN", mail) == 0


async def test_it_is_deleted_if_that_is_asked_whatever_waits(store_url: str) -> None:
    context_id = await spoiled(store_url)
    async with serving(store_url) as service:
        client = service.client
        waiting = await client.act(
            context_id, "send_message", {"content": "hm"}, Prefer="respond-async"
        )
        assert waiting.status == 202
        link, (mail,) = service.stores[0].link, keys.of_context(context_id, "mail")
        entries = await link.call("XRANGE", mail, "-", "+")
        ((entry_id, (name, _, *others)),) = cast("list[tuple[bytes, list[bytes]]]", entries)
        await link.call("DEL", mail)
        await link.call("XADD", mail, entry_id, name, CHANGED, *others)
        deletion = await client.send("DELETE", f"/api/contexts/{context_id}")
        assert deletion.status == 202
        assert "Preference-Applied" not in deletion.headers

        async def gone() -> bool:
            return (await client.get(f"/api/contexts/{context_id}")).status == 404

        await eventually(gone)
        assert await kept_of(service, context_id) == set()
        assert (await client.get("/api/contexts")).json == {"contexts": [], "unreadable": []}


async def test_it_stays_if_what_was_to_be_deleted_was_another_version(store_url: str) -> None:
    context_id = await spoiled(store_url)
    async with serving(store_url) as service:
        client = service.client
        kept = await kept_of(service, context_id)
        epoch = service.stores[0].epoch
        answer = await client.send(
            "DELETE", f"/api/contexts/{context_id}", headers={"If-Match": f'"{epoch}.1.0"'}
        )
        assert answer.status == 202

        async def seen() -> bool:
            seen_by = await service.stores[0].link.call("HGET", keys.meta(context_id), "worker")
            return seen_by != b""

        await eventually(seen)
        other = await client.create()
        assert (await client.say(other, "hello")).status == 200
        assert (await client.get(f"/api/contexts/{context_id}")).problem == "unreadable"
        assert kept <= await kept_of(service, context_id)
