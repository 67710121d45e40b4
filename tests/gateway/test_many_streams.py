"""Several contexts on one stream, and what of a stream is shown."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.gateway.bare import raw
from tests.support.service import SseFrame, serving


def together(*asked: str) -> str:
    """The address of a stream of several contexts."""
    return f"/api/events?contexts={','.join(asked)}"


@dataclass
class Texts:
    """What has been said in each context, out of a stream of several."""

    said: dict[str, str] = field(default_factory=dict[str, str])
    kinds: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    last_id: str = ""

    def add(self, frame: SseFrame) -> None:
        """Take one event in."""
        if frame.event == "hello":
            return
        self.last_id = frame.id
        context_id = frame.data["context_id"]
        self.kinds.append((context_id, frame.event))
        if frame.event == "reply-delta":
            before = self.said.get(context_id, "")
            self.said[context_id] = before + frame.data["data"]["text"]


async def test_several_contexts_share_one_stream(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        a, b = await client.create(title="a"), await client.create(title="b")
        async with client.stream_at(together(a, b)) as stream:
            hello, first, second = await stream.until(lambda frames: len(frames) == 3)
            assert set(hello.data["contexts"]) == {a, b}
            assert [first.data["context_id"], second.data["context_id"]] == [a, b]
            assert first.data["data"] == await client.state(a)
            await client.act(b, "rename", {"title": "B"})
            await client.act(a, "rename", {"title": "A"})
            renamed = await stream.until(lambda frames: len(frames) == 2)
        assert [(f.data["context_id"], f.event) for f in renamed] == [
            (b, "context-renamed"),
            (a, "context-renamed"),
        ]
        at_a, at_b = (await client.state(a))["cursor"], (await client.state(b))["cursor"]
        assert renamed[-1].id == f"{at_a},{at_b}"
        assert renamed[0].data["cursor"] == at_b


async def test_a_stream_of_several_that_is_cut_anywhere_shows_everything_once(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        ids = [await here.create() for _ in range(3)]
        for context_id in ids:
            await here.say(context_id, "/chunks 9 0")
        epoch = (await here.state(ids[0]))["cursor"].split(".")[0]
        everything = together(*(f"{one}:{epoch}.0.0" for one in ids))
        whole = Texts()
        async with here.stream_at(everything) as stream:
            for frame in await stream.until(lambda frames: ended(frames) == 3):
                whole.add(frame)
        cut, position = Texts(), None
        for client in (here, there) * 40:
            async with client.stream_at(everything, after=position) as stream:
                for frame in await stream.until(lambda frames: len(frames) >= 2):
                    cut.add(frame)
                position = cut.last_id
            if len(cut.kinds) == len(whole.kinds):
                break
        assert cut.said == whole.said
        assert cut.kinds == whole.kinds


def ended(frames: Sequence[SseFrame]) -> int:
    """How many replies have ended."""
    return sum(frame.event == "reply-ended" for frame in frames)


async def test_what_is_no_cursor_begins_anew_beside_one_that_is_resumed(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        a, b = await client.create(), await client.create()
        seen = (await client.state(a))["cursor"]
        await client.act(a, "rename", {"title": "A"})
        ask = f"GET {together(a, b)} HTTP/1.1\r\nHost: localhost\r\n".encode()
        async with raw(service) as (reader, writer):
            writer.write(ask + b"Last-Event-ID: " + seen.encode() + b",\xff\r\n\r\n")
            shown = [await reader.readuntil(b"\n\n\r\n") for _ in range(2)]
        ids = [line for line in shown[1].split(b"\n") if line.startswith((b"id:", b"event:"))]
        at_a, at_b = (await client.state(a))["cursor"], (await client.state(b))["cursor"]
        assert ids == [
            *(b"event: hello", f"id: {at_a},".encode(), b"event: context-renamed"),
            *(f"id: {at_a},{at_b}".encode(), b"event: reset"),
        ]


async def test_the_stream_ends_with_the_last_of_its_contexts(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        a, b = await client.create(), await client.create()
        async with client.stream_at(together(a, b)) as stream:
            await stream.until(lambda frames: len(frames) == 3)
            await client.act(a, "delete")
            await client.act(b, "rename", {"title": "still here"})
            await client.act(b, "delete")
            async with asyncio.timeout(10):
                kinds = [frame.event async for frame in stream]
        assert kinds == ["context-deleted", "context-renamed", "context-deleted"]


@pytest.mark.parametrize("asked", ["", "x", "{a}:x", "{a},,", "{a}:1.1.1:2"])
async def test_what_is_no_list_of_contexts_is_refused(store_url: str, asked: str) -> None:
    async with serving(store_url) as service:
        a = await service.client.create()
        answer = await service.client.get("/api/events?contexts=" + asked.format(a=a))
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


async def test_more_contexts_than_one_stream_may_show_are_refused(store_url: str) -> None:
    async with serving(store_url, gateway={"stream_contexts_max": 1}) as service:
        a, b = await service.client.create(), await service.client.create()
        answer = await service.client.get(f"/api/events?contexts={a},{b}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")


@pytest.mark.parametrize("tombstones", [False, True])
async def test_contexts_that_are_not_there_refuse_them_all_and_are_named(
    store_url: str, tombstones: bool
) -> None:
    async with serving(store_url, storage={"tombstones": tombstones}) as service:
        client = service.client
        a, deleted = await client.create(), await client.create()
        await client.act(deleted, "delete")
        unknown = "01932c5e-7a10-7c3b-9d2e-5f6071829304"
        answer = await client.get(f"/api/events?contexts={deleted},{a},{unknown}")
        assert (answer.status, answer.problem) == (404, "not-found")
        assert f" {deleted}, {unknown};" in answer.json["detail"]
        answer = await client.get(f"/api/events?contexts={a},{deleted}")
        assert answer.status == (410 if tombstones else 404)
        assert f" {deleted};" in answer.json["detail"]


# What is shown


async def test_only_the_kinds_that_are_wanted_are_shown(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(
            context_id, query="?kinds=reply-ended,context-renamed"
        ) as stream:
            await stream.take("snapshot")
            await client.say(context_id, "/chunks 5 1")
            await client.act(context_id, "rename", {"title": "x"})
            shown = await stream.take("context-renamed")
        assert [frame.event for frame in shown] == ["reply-ended", "context-renamed"]
        assert shown[-1].id == (await client.state(context_id))["cursor"]


async def test_without_deltas_a_reply_comes_whole(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id, query="?deltas=off") as stream:
            await stream.take("snapshot")
            await client.say(context_id, "/chunks 5 1")
            shown = await stream.take("reply-ended")
        assert [frame.event for frame in shown] == [
            *("message-received", "reply-started", "reply-ended")
        ]


@pytest.mark.parametrize("query", ["kinds=", "kinds=reply", "deltas=no", "kinds=a&kinds=b"])
async def test_what_cannot_be_shown_is_refused(store_url: str, query: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        for what in ("events", "ws"):
            answer = await service.client.get(f"/api/contexts/{context_id}/{what}?{query}")
            assert (answer.status, answer.problem) == (400, "invalid-parameter")
