"""Polling: ETag, 304, long polls, events since a cursor, bounded messages."""

# pyright: reportPrivateUsage=false
# One test has a feed miss what it would hear.

import asyncio
import re
import time
from collections.abc import Callable, Sequence

import pytest

from gateway import GatewayConfig
from gateway.directory import Directory
from gateway.feed import Feed
from gateway.guard import OWNER
from gateway.mirror import Mirror
from storage import Link, Meters, Store
from storage.logs import Logs
from tests.gateway.arrivals import asked_after
from tests.support.service import Json, serving, text_of


def state_path(context_id: str) -> str:
    return f"/api/contexts/{context_id}/state"


async def test_the_etag_changes_exactly_when_the_state_does(store_url: str) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        seen: list[str] = []
        for action in ("pause", "pause", "resume", "rename"):
            body = {"title": "t"} if action == "rename" else {}
            await here.act(context_id, action, body)
            tags = {
                (await client.get(state_path(context_id))).headers["ETag"]
                for client in (here, there)
            }
            assert len(tags) == 1
            seen += tags
        assert seen[0] == seen[1]  # the second pause was refused
        assert len(set(seen)) == 3


async def test_a_poll_after_an_action_shows_that_action_on_every_gateway(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        for n in range(20):
            etag = (await there.get(state_path(context_id))).headers["ETag"]
            await here.act(context_id, "rename", {"title": str(n)})
            answer = await there.get(state_path(context_id), If_None_Match=etag)
            assert (answer.status, answer.context["title"]) == (200, str(n))


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '{}, W/"y"', "*"])
async def test_what_the_client_has_is_answered_304_without_a_body(
    store_url: str, form: str
) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        etag = (await service.client.get(state_path(context_id))).headers["ETag"]
        answer = await service.client.get(
            state_path(context_id), If_None_Match=form.format(etag)
        )
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == etag
        other = await service.client.get(state_path(context_id), If_None_Match='"1.1.1"')
        assert other.status == 200


async def test_if_none_match_may_come_in_several_headers(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        etag = (await service.client.get(state_path(context_id))).headers["ETag"]
        answer = await service.client.send(
            "GET",
            state_path(context_id),
            headers=[("If-None-Match", '"1.2.3"'), ("If-None-Match", etag)],
        )
        assert answer.status == 304


async def test_a_long_poll_wakes_on_a_change(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        etag = (await there.get(state_path(context_id))).headers["ETag"]
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            arrived = asked_after(monkeypatch)
            poll = group.create_task(
                there.get(state_path(context_id), If_None_Match=etag, Prefer="wait=30")
            )
            await arrived.wait()
            await here.act(context_id, "rename", {"title": "woken"})
        assert (poll.result().status, poll.result().context["title"]) == (200, "woken")
        assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("by", ["etag", "cursor"])
async def test_a_long_poll_that_meets_the_deletion_shows_it_once_more(
    store_url: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        seen = (await client.state(context_id))["cursor"]
        path = state_path(context_id) + (f"?after={seen}" if by == "cursor" else "")
        async with client.stream(context_id) as stream, asyncio.TaskGroup() as group:
            await stream.take("snapshot")
            arrived = asked_after(monkeypatch)
            polling = client.get(path, If_None_Match=f'"{seen}"', Prefer="wait=30")
            poll = group.create_task(polling)
            await arrived.wait()
            await client.act(context_id, "delete")
        answer = poll.result()
        assert (answer.status, answer.json["status"]) == (200, "deleted")
        assert answer.json["version"] == 2
        if by == "cursor":
            (reset,) = answer.json["events"]
            assert (reset["event"], reset["data"]["context"]["status"]) == ("reset", "deleted")
        assert (await client.get(path)).status == 404


async def test_a_long_poll_without_a_change_ends_in_304(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        etag = (await service.client.get(state_path(context_id))).headers["ETag"]
        began_s = time.monotonic()
        answer = await service.client.get(
            state_path(context_id), If_None_Match=etag, Prefer="wait=1"
        )
        assert (answer.status, answer.headers["ETag"]) == (304, etag)
        assert 0.9 < time.monotonic() - began_s < 10


async def test_a_long_poll_does_not_take_a_feed_that_is_behind_for_a_change(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = Feed._on_message

    def miss(feed: Feed, raw: bytes) -> None:
        if not feed.viewers:
            hear(feed, raw)

    monkeypatch.setattr(Feed, "_on_message", miss)
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create(title="before")
        async with here.stream(context_id) as stream:
            await stream.take("snapshot")
            assert (await there.act(context_id, "rename", {"title": "after"})).status == 200
            seen = await here.get(state_path(context_id))
            assert seen.context["title"] == "after"
            etag = seen.headers["ETag"]
            waited = await here.get(state_path(context_id), If_None_Match=etag, Prefer="wait=1")
            assert (waited.status, waited.headers["ETag"]) == (304, etag)


async def test_after_a_cursor_only_the_events_since_are_sent(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        answer = await client.say(context_id, "/chunks 3 0")
        page = await client.get(f"{state_path(context_id)}?after={before['cursor']}")
        assert (page.status, page.json["status"]) == (200, "idle")
        assert page.json["cursor"] == answer.context["cursor"]
        assert page.headers["ETag"] == f'"{answer.context["cursor"]}"'
        kinds = [frame["event"] for frame in page.json["events"]]
        assert kinds[:2] == ["message-received", "reply-started"]
        assert kinds[-1] == "reply-ended"
        text = "".join(
            frame["data"]["text"]
            for frame in page.json["events"]
            if frame["event"] == "reply-delta"
        )
        assert text == answer.context["messages"][-1]["content"]
        again = await client.get(f"{state_path(context_id)}?after={page.json['cursor']}")
        assert again.json["events"] == []


async def test_events_polled_piece_by_piece_are_those_of_one_poll(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        start = (await client.state(context_id))["cursor"]
        await client.act(context_id, "send_message", {"content": "/chunks 30 5"})
        pieces: list[Json] = []
        cursor = start
        async with asyncio.timeout(20):
            while not pieces or pieces[-1]["event"] != "reply-ended":
                path = f"{state_path(context_id)}?after={cursor}"
                page = await client.get(path, Prefer="wait=5")
                pieces += page.json["events"]
                cursor = page.json["cursor"]
        whole = (await client.get(f"{state_path(context_id)}?after={start}")).json["events"]
        committed = [
            [frame for frame in frames if frame["event"] != "reply-delta"]
            for frames in (pieces, whole)
        ]
        assert committed[0] == committed[1]
        texts = [
            "".join(f["data"]["text"] for f in frames if f["event"] == "reply-delta")
            for frames in (pieces, whole)
        ]
        assert (
            texts[0] == texts[1] == (await client.state(context_id))["messages"][-1]["content"]
        )


async def test_the_cursor_of_a_page_is_where_its_events_end_while_the_reply_goes_on(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        start = (await client.state(context_id))["cursor"]
        async with client.stream(context_id) as stream:
            await client.act(context_id, "send_message", {"content": "/chunks 1000 5"})
            await stream.take("reply-delta")
            plain_events = Logs.events

            async def slow_events(
                logs: Logs, context_id: str, *, after: int, until: int
            ) -> Sequence[bytes]:
                found = await plain_events(logs, context_id, after=after, until=until)
                for _ in range(3):
                    await stream.take("reply-delta")
                return found

            monkeypatch.setattr(Logs, "events", slow_events)
            page = await client.get(f"{state_path(context_id)}?after={start}")
        shown = "".join(
            frame["data"]["text"]
            for frame in page.json["events"]
            if frame["event"] == "reply-delta"
        )
        assert page.json["cursor"] == page.json["events"][-1]["id"]
        assert page.json["cursor"].endswith(f".{len(shown)}")


async def test_a_long_poll_for_events_wakes_on_a_change_and_ends_empty(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        path = f"{state_path(context_id)}?after={(await client.state(context_id))['cursor']}"
        quiet = await client.get(path, Prefer="wait=1")
        assert (quiet.status, quiet.json["events"]) == (200, [])
        async with asyncio.TaskGroup() as group:
            arrived = asked_after(monkeypatch)
            poll = group.create_task(client.get(path, Prefer="wait=30"))
            await arrived.wait()
            await client.act(context_id, "pause")
        assert [f["event"] for f in poll.result().json["events"]] == ["pause-requested"]


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
async def test_after_a_cursor_of_another_history_comes_one_reset(
    store_url: str, shift: tuple[int, int, int]
) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        state = await service.client.state(context_id)
        parts = [int(p) + d for p, d in zip(state["cursor"].split("."), shift, strict=True)]
        foreign = ".".join(map(str, parts))
        page = await service.client.get(f"{state_path(context_id)}?after={foreign}")
        (frame,) = page.json["events"]
        assert frame["event"] == "reset"
        assert frame["data"]["context"] == state
        assert frame["id"] == state["cursor"]


async def test_the_number_of_messages_can_be_bounded(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        for n in range(3):
            await client.say(context_id, f"message {n}")
        whole = await client.state(context_id)
        assert len(whole["messages"]) == 6
        for bound, shown in ((0, 0), (1, 1), (4, 4), (6, 6), (100, 6)):
            answer = await client.get(f"{state_path(context_id)}?messages={bound}")
            assert answer.context["messages"] == whole["messages"][6 - shown :]
            assert ("Link" in answer.headers) == (shown < 6)
            assert answer.context | {"messages": []} == whole | {"messages": []}
        link = (await client.get(f"{state_path(context_id)}?messages=1")).headers["Link"]
        (address,) = re.findall(r'<([^>]+)>; rel="collection"', link)
        assert (await client.get(address)).json["messages"] == whole["messages"]


async def test_messages_of_other_branches_are_not_told_as_left_out(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        said = await client.say(context_id, "once")
        edit = {"message_id": said.context["messages"][0]["id"], "content": "twice"}
        await client.act(context_id, "edit_message", edit, Prefer="wait=30")
        answer = await client.get(f"{state_path(context_id)}?messages=2")
        assert (len(answer.context["messages"]), answer.context["message_count"]) == (2, 4)
        assert "Link" not in answer.headers


async def test_polls_are_told_when_to_ask_again(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        quiet = await client.get(state_path(context_id))
        await client.act(context_id, "send_message", {"content": "/hang"})
        busy = await client.get(state_path(context_id))
        assert int(busy.headers["Poll-After-Ms"]) < int(quiet.headers["Poll-After-Ms"])


async def test_what_a_poll_asks_the_store_is_timed_before_it_waits_for_a_change(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    plain_wait = Feed.wait_until

    def took(_meters: Meters, kind: str, _seconds: float) -> None:
        noted.append(kind)

    async def wait(feed: Feed, reached: Callable[[Mirror], bool]) -> None:
        noted.append("wait")
        await plain_wait(feed, reached)

    async with serving(store_url, workers=0) as service:
        path = state_path(await service.client.create())
        seen = (await service.client.get(path)).headers["ETag"]
        monkeypatch.setattr(Meters, "took", took)
        monkeypatch.setattr(Feed, "wait_until", wait)
        await service.client.get(path)
        await service.client.get(path, If_None_Match=seen, Prefer="wait=1")
        after = seen.strip('"')
        await service.client.get(f"{path}?after={after}", Prefer="wait=1")
        assert noted == ["poll", "poll", "wait", "poll", "wait"]
        noted.clear()
        epoch, _, _ = after.split(".")
        missed = await service.client.get(f"{path}?after={epoch}.0.0", Prefer="wait=1")
        assert ([event["event"] for event in missed.json["events"]], noted) == (
            ["context-created"],
            ["poll"],
        )


async def test_a_hundred_polls_at_once_ask_the_store_once(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create(title="popular")
        etag = (await service.client.get(state_path(context_id))).headers["ETag"]
        calls: list[object] = []
        plain_call = Link.call

        def counted(link: Link, *command: bytes | str | float) -> asyncio.Future[object]:
            if link is service.stores[0].link and command[0] == "EVALSHA":
                calls.append(command)
            return plain_call(link, *command)

        monkeypatch.setattr(Link, "call", counted)
        for headers, status in (({}, 200), ({"If_None_Match": etag}, 304)):
            calls.clear()
            async with asyncio.TaskGroup() as group:
                polls = [
                    group.create_task(service.client.get(state_path(context_id), **headers))
                    for _ in range(100)
                ]
            assert {poll.result().status for poll in polls} == {status}
            # One a turn of the loop in which requests arrived; a hundred come in a few.
            assert len(calls) <= 25, len(calls)


async def test_readers_in_one_turn_of_the_loop_share_one_question(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, workers=0) as service, asyncio.TaskGroup() as group:
        context_id = await service.client.create()
        directory = Directory(service.stores[0], GatewayConfig(), group)
        asked = 0
        plain_peek = Store.peek

        def counted(store: Store, context_id: str, owner: str) -> asyncio.Future[object]:
            nonlocal asked
            asked += 1
            return plain_peek(store, context_id, owner)

        monkeypatch.setattr(Store, "peek", counted)
        async with asyncio.TaskGroup() as readers:
            for _ in range(100):
                readers.create_task(directory.head(context_id, OWNER))
        assert asked == 1
        await directory.head(context_id, OWNER)
        assert asked == 2  # never older than the reader's own last action


async def test_streams_and_polls_agree(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        start = (await client.state(context_id))["cursor"]
        async with client.stream(context_id) as stream:
            await client.say(context_id, "/chunks 5 2")
            frames = await stream.take("reply-ended")
        page = await client.get(f"{state_path(context_id)}?after={start}")
        polled = [f["data"] for f in page.json["events"] if f["event"] != "reply-delta"]
        streamed = [
            f.data for f in frames if f.event not in {"reply-delta", "hello", "snapshot"}
        ]
        assert streamed == polled
        assert text_of(frames) == polled[-1]["text"]
