"""Keys and tickets: what opens, what does not, and what is kept of them."""

import asyncio
from typing import cast

from storage import SCOPES, Access, ApiKey, Grant, Store, keys

NOW_MS = 1_800_000_000_000
LATER_MS = NOW_MS + 1_000


async def test_a_key_is_found_by_its_text_alone(store: Store) -> None:
    access = Access(store.link)
    made, text = await access.create("k", owner="ada", scopes=["admin"], now_ms=NOW_MS)
    assert await access.find(text) == made
    assert (made.owner, made.scopes, made.is_valid(NOW_MS)) == ("ada", ("admin",), True)
    _, other = await access.create("l", owner="eve", scopes=SCOPES, now_ms=LATER_MS)
    prefix, _, secret = other.split("_", 2)
    for wrong in ("", "x", text[:-1], text + "A", f"{prefix}_{made.id}_{secret}", text + "\n"):
        assert await access.find(wrong) is None, wrong
    assert [key.name for key in await access.all()] == ["k", "l"]


async def test_a_key_that_an_earlier_version_has_made_is_found(store: Store) -> None:
    made = ApiKey(
        id="abcdefghijklmnop",
        name="k",
        owner="ada",
        scopes=("admin",),
        digest="bf1b3e48be8212434e2caf01ef8d8a8a234d90126f1d8fe0e7d753b810a3215d",
        created_at_ms=NOW_MS,
    )
    await store.link.call("HSET", keys.ACCESS_KEYS, made.id, made.model_dump_json())
    assert await Access(store.link).find(f"ctxd_{made.id}_{'A' * 43}") == made


async def test_nothing_that_is_kept_opens_anything(store: Store) -> None:
    access = Access(store.link)
    _, text = await access.create("k", owner="ada", scopes=SCOPES, now_ms=NOW_MS)
    ticket = await access.issue(Grant("ada", frozenset(SCOPES)), credential="k", lives_s=60)
    kept = b""
    for key in cast("list[bytes]", await store.link.call("KEYS", "*")):
        kept += key
        kind = await store.link.call("TYPE", key)
        read = ("HGETALL", key) if kind == b"hash" else ("GET", key)
        kept += repr(await store.link.call(*read)).encode()
    assert text.split("_", 2)[2].encode() not in kept
    assert ticket.encode() not in kept


async def test_a_key_ends_when_it_expires_or_is_revoked(store: Store) -> None:
    access = Access(store.link)
    made, text = await access.create(
        "k", owner="ada", scopes=SCOPES, now_ms=NOW_MS, expires_at_ms=LATER_MS
    )
    assert made.is_valid(LATER_MS - 1)
    assert not made.is_valid(LATER_MS)
    revoked = await access.revoke(made.id, now_ms=NOW_MS)
    assert revoked is not None
    assert not revoked.is_valid(NOW_MS)
    assert await access.find(text) == revoked
    assert await access.revoke(made.id, now_ms=LATER_MS) == revoked
    assert await access.revoke("nobody", now_ms=NOW_MS) is None


async def test_a_ticket_is_good_once_and_soon(store: Store) -> None:
    access = Access(store.link)
    grant = Grant("ada", frozenset({"contexts:read"}), LATER_MS)
    ticket = await access.issue(grant, credential="k", lives_s=60)
    assert await access.redeem(ticket) == (grant, "k")
    assert await access.redeem(ticket) is None
    first, second = [
        await access.issue(grant, credential=name, lives_s=60) for name in ("k", "l")
    ]
    assert await access.redeem("another") is None
    assert await access.redeem(first) == (grant, "k")
    assert await access.redeem(second) == (grant, "l")
    late = await access.issue(grant, credential="k", lives_s=0.02)
    await asyncio.sleep(0.05)
    assert await access.redeem(late) is None
