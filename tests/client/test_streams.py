"""A stream shows everything once, over any number of connections."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from contextd_client import (
    Bye,
    ClientLimits,
    Committed,
    ContextDeleted,
    Event,
    Hello,
    NotFound,
    NotUnderstood,
    Problem,
    ReplyDelta,
    ReplyEnded,
    Reset,
    Snapshot,
    Transcript,
    Unavailable,
    UnknownEvent,
    Unreachable,
)
from contextd_client.problems import FrameTooLarge
from tests.client.cutting_proxy import open_proxy
from tests.client.made_up_server import (
    HELLO,
    SNAPSHOT,
    MadeUpServer,
    Reply,
    cut,
    frame,
    problem,
    says,
    state,
    streams,
)
from tests.client.patience import WITHIN_S, Waits, everything, impatient
from tests.support.service import eventually, serving

CUTS = 60
STUBBORN = ClientLimits(tries_max=CUTS, first_tries_max=CUTS)
"""Some cuts come before anything is shown."""


def delta(text: str, n: int, *, at: str) -> bytes:
    return frame("reply-delta", {"message_id": "m", "n": n, "text": text}, id=at)


RENAMED = frame("context-renamed", {"at_ms": 1, "title": "T"}, id="1.2.0")
DELETED = frame("context-deleted", {"at_ms": 1}, id="1.3.0")


async def watch(
    events: AsyncGenerator[Event, None], *, turns: int = 1, seen: list[Event] | None = None
) -> list[Event]:
    """Every event up to the end of so many replies; `seen` takes them as they come."""
    seen = [] if seen is None else seen
    async with aclosing(events), asyncio.timeout(WITHIN_S):
        async for event in events:
            seen.append(event)
            turns -= isinstance(event, ReplyEnded)
            if turns == 0:
                break
    return seen


def committed(events: Sequence[Event]) -> list[Committed]:
    return [event for event in events if isinstance(event, Committed)]


def texts(events: Sequence[Event]) -> list[bytes]:
    """What somebody has printed who prints what is new, and each reply as it stands then."""
    transcript = Transcript()
    printed = "".join([transcript.take(event) for event in events])
    return [printed.encode(), *(reply.text.encode() for reply in transcript.replies)]


@pytest.mark.parametrize("seed", range(3))
async def test_replies_that_are_cut_anywhere_are_shown_byte_for_byte_as_uncut(
    store_url: str, seed: int
) -> None:
    drawn = random.Random(seed)
    async with (
        serving(store_url, gateway={"sse_retry_ms": 0}) as service,
        open_proxy(service.client.url) as proxy,
        impatient(service.client.url) as steady,
        impatient(proxy.url, limits=STUBBORN) as unsteady,
    ):
        context = await steady.create()
        start = (await context.state()).cursor
        proxy.cut_after([drawn.randrange(1, 2_500) for _ in range(CUTS)])
        async with asyncio.TaskGroup() as group:
            uncut = group.create_task(watch(context.stream(after=start), turns=2))
            elsewhere = unsteady.context(context.id).stream(after=start)
            cuts = group.create_task(watch(elsewhere, turns=2))
            await context.send_message("/chunks 150 4", wait_s=30)
            await context.send_message("Grüße 👋", wait_s=30)
        assert proxy.made > 5
        assert texts(cuts.result()) == texts(uncut.result())
        assert committed(cuts.result()) == committed(uncut.result())
        replies = [m.content.encode() for m in (await context.state()).messages[1::2]]
        assert texts(cuts.result())[1:] == replies
        assert texts(cuts.result())[0] == b"".join(replies)


async def test_a_stream_whose_gateway_stops_goes_on_at_another_in_mid_reply(
    store_url: str,
) -> None:
    async with (
        serving(store_url, gateways=2, gateway={"sse_retry_ms": 0}) as service,
        open_proxy(service.clients[0].url) as proxy,
        impatient(service.clients[1].url) as steady,
        impatient(proxy.url) as client,
    ):
        context = await steady.create()
        start = (await context.state()).cursor
        seen: list[Event] = []

        async def has_text() -> bool:
            return any(isinstance(event, ReplyDelta) for event in seen)

        async with asyncio.TaskGroup() as group:
            uncut = group.create_task(watch(context.stream(after=start)))
            moving = client.context(context.id).stream(after=start)
            group.create_task(watch(moving, seen=seen))
            await context.send_message("/chunks 100 10")
            await eventually(has_text)
            proxy.upstream = int(service.clients[1].url.rpartition(":")[2])
            service.stop("gateway 0")
        assert sum(isinstance(event, Bye) for event in seen) == 1
        assert texts(seen) == texts(uncut.result())
        assert committed(seen) == committed(uncut.result())


async def test_a_stream_that_is_cut_before_its_snapshot_begins_again_with_it(
    store_url: str,
) -> None:
    async with (
        serving(store_url, gateway={"sse_retry_ms": 0}) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        context = await client.create()
        proxy.cut_after([0, 200, 350])
        async with asyncio.timeout(WITHIN_S), aclosing(context.stream()) as events:
            async for event in events:
                if isinstance(event, Snapshot):
                    break
        assert proxy.made == 3


async def test_a_stream_goes_on_from_a_cursor_and_ends_with_the_deletion(
    store_url: str,
) -> None:
    async with serving(store_url) as service, impatient(service.client.url) as client:
        context = await client.create()
        await context.pause()
        seen = await context.state()
        await context.resume()
        async with asyncio.timeout(WITHIN_S):
            events = context.stream(after=seen.cursor)
            shown = [await anext(events), await anext(events)]
            await context.delete()
            shown += [event async for event in events]
        kinds = [type(event).__name__ for event in shown]
        assert kinds == ["Hello", "ResumeRequested", "ContextDeleted"]
        with pytest.raises(NotFound):
            await everything(context)


async def test_a_cursor_of_another_store_gives_one_reset(store_url: str) -> None:
    async with serving(store_url) as service, impatient(service.client.url) as client:
        context = await client.create(title="T")
        async with asyncio.timeout(WITHIN_S), aclosing(context.stream(after="7.7.7")) as events:
            hello, reset = await anext(events), await anext(events)
        assert isinstance(hello, Hello)
        assert not hello.resumed
        assert isinstance(reset, Reset)
        assert (reset.context.title, reset.id) == ("T", (await context.state()).cursor)


async def test_each_connection_goes_on_behind_the_last_whole_event() -> None:
    whole = delta("lo, ", 7, at="1.2.7")
    server = MadeUpServer(
        [
            streams(HELLO, SNAPSHOT, delta("Hel", 3, at="1.2.3"), whole[:-4]),
            streams(HELLO),
            streams(HELLO, whole, delta("you", 10, at="1.2.10")),
            streams(HELLO, DELETED),
        ]
    )
    async with server.served() as url, impatient(url) as client:
        events = await everything(client.context("c1"))
    asked = [asked.headers.get("Last-Event-ID") for asked in server.asked]
    assert asked == [None, "1.2.3", "1.2.3", "1.2.10"]
    assert "".join(e.text for e in events if isinstance(e, ReplyDelta)) == "Hello, you"
    assert isinstance(events[-1], ContextDeleted)


async def test_kinds_that_are_not_known_are_carried() -> None:
    server = MadeUpServer([streams(HELLO, frame("x-new", {"a": [1]}, id="1.2.0"), DELETED)])
    async with server.served() as url, impatient(url) as client:
        _, unknown, _ = await everything(client.context("c1"))
    assert unknown == UnknownEvent(id="1.2.0", kind="x-new", data={"a": [1]})


async def test_a_reconnection_waits_as_long_as_the_server_has_asked() -> None:
    bye = frame("bye", {"reason": "this gateway is stopping", "retry_ms": 3_500})
    server = MadeUpServer(
        [
            streams(b"retry: 1000\n\n", HELLO, SNAPSHOT),
            problem(503, "draining", retry_after_s=2),
            streams(HELLO, RENAMED, b"retry: 3500\n", bye),
            streams(HELLO, DELETED),
        ]
    )
    waits = Waits()
    async with server.served() as url, impatient(url, waits) as client:
        events = await everything(client.context("c1"))
    assert [event.retry_ms for event in events if isinstance(event, Bye)] == [3_500]
    assert waits.seconds == pytest.approx([1.1, 2.2, 3.6])


async def test_what_a_server_has_asked_holds_until_it_asks_for_something_else() -> None:
    waits = Waits()
    server = MadeUpServer(
        [streams(b"retry: 1000\n\n", HELLO), problem(503, "draining"), streams(HELLO, DELETED)]
    )
    async with server.served() as url, impatient(url, waits) as client:
        await everything(client.context("c1"))
    assert waits.seconds == pytest.approx([1.1, 1.2])


async def test_an_event_may_be_as_large_as_a_context_and_no_larger() -> None:
    large = frame("snapshot", state(title="x" * 100_000), id="1.1.0")
    server = MadeUpServer([streams(HELLO, large, DELETED)])
    async with server.served() as url, impatient(url) as client:
        assert len(await everything(client.context("c1"))) == 3
    limits = ClientLimits(context_bytes_max=50_000)
    async with server.served() as url, impatient(url, limits=limits) as client:
        with pytest.raises(FrameTooLarge):
            await everything(client.context("c1"))


async def test_a_stream_waits_no_longer_than_its_bound_however_long_the_server_asks() -> None:
    waits = Waits()
    server = MadeUpServer([streams(b"retry: 999000000\n\n", HELLO), streams(HELLO, DELETED)])
    async with server.served() as url, impatient(url, waits) as client:
        await everything(client.context("c1"))
    assert waits.seconds == pytest.approx([60.1])


@pytest.mark.parametrize("shown", [[HELLO], [HELLO, SNAPSHOT]], ids=["nothing", "the same"])
async def test_waits_of_a_stream_grow_while_nothing_new_comes_and_it_does_not_give_up(
    shown: list[bytes],
) -> None:
    waits = Waits()
    limits = ClientLimits(tries_max=3, backoff_s_base=0.5, backoff_s_max=1.5)
    quiet = [streams(*shown)] * 6
    server = MadeUpServer([*quiet, streams(HELLO, RENAMED), streams(HELLO, DELETED)])
    async with server.served() as url, impatient(url, waits, limits=limits) as client:
        await everything(client.context("c1"))
    assert waits.seconds == [0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.25]


@pytest.mark.parametrize(
    ("away", "kind"),
    [(cut, Unreachable), (streams(), Unreachable), (problem(503, "draining"), Unavailable)],
    ids=["cut", "empty", "503"],
)
async def test_a_server_that_stays_away_is_given_up_after_so_many_tries(
    away: Reply, kind: type[Exception]
) -> None:
    waits, server = Waits(), MadeUpServer([streams(HELLO, SNAPSHOT), away])
    limits = ClientLimits(tries_max=4)
    async with server.served() as url, impatient(url, waits, limits=limits) as client:
        with pytest.raises(kind) as given_up:
            await everything(client.context("c1"))
    assert len(waits.seconds) == 4
    if isinstance(given_up.value, Problem):
        assert given_up.value.tries == 4


async def test_a_stream_that_is_refused_is_not_asked_for_again() -> None:
    server = MadeUpServer([problem(404, "not-found")])
    async with server.served() as url, impatient(url) as client:
        with pytest.raises(Problem) as refusal:
            await everything(client.context("c1"))
    assert type(refusal.value) is NotFound
    assert len(server.asked) == 1


async def test_what_is_no_stream_is_said_to_be_none() -> None:
    for reply in (says(200, {}), streams(HELLO, frame("reply-delta", {}, id="1.2.0"))):
        server = MadeUpServer([reply])
        async with server.served() as url, impatient(url) as client:
            with pytest.raises(NotUnderstood):
                await everything(client.context("c1"))


async def test_a_silent_connection_is_given_up_and_the_stream_goes_on() -> None:
    server = MadeUpServer(
        [streams(HELLO, SNAPSHOT, hangs=True), streams(HELLO, RENAMED, DELETED)]
    )
    limits = ClientLimits(silence_s_max=0.2)
    async with server.served() as url, impatient(url, limits=limits) as client:
        events = await everything(client.context("c1"))
    assert len(events) == 5
    assert server.asked[1].headers["Last-Event-ID"] == "1.1.0"


async def test_comments_of_the_server_keep_a_quiet_stream_open(store_url: str) -> None:
    async with (
        serving(store_url, gateway={"sse_heartbeat_s": 0.05}) as service,
        impatient(service.client.url, limits=ClientLimits(silence_s_max=1.0)) as client,
    ):
        context = await client.create()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(everything(context))
            # So long that a stream without comments would have been given up.
            await asyncio.sleep(1.5)
            await context.delete()
        assert [type(event) for event in watching.result()] == [Hello, Snapshot, ContextDeleted]


async def test_waiting_until_a_context_rests_goes_on_over_cuts(store_url: str) -> None:
    async with (
        serving(store_url, gateway={"sse_retry_ms": 0}) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        context = await client.create()
        rested = await context.wait_until_at_rest()
        assert rested.status == "idle"
        await context.send_message("/chunks 60 4")
        proxy.cut_after([1_200] * 3)
        async with asyncio.timeout(WITHIN_S):
            rested = await context.wait_until_at_rest()
        assert proxy.made == 3
        assert rested.messages[-1].content.endswith("chunk 60 ")


async def test_a_turn_that_waits_to_be_tried_again_does_not_rest(store_url: str) -> None:
    async with serving(store_url) as service, impatient(service.client.url) as client:
        context = await client.create()
        await context.send_message("/fail overloaded 1")
        async with asyncio.timeout(WITHIN_S):
            rested = await context.wait_until_at_rest()
        assert (rested.status, rested.messages[-1].role) == ("idle", "assistant")


async def test_who_waits_for_a_context_that_is_deleted_is_told(store_url: str) -> None:
    async with serving(store_url) as service, impatient(service.client.url) as client:
        context = await client.create(message="/hang")
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            with pytest.raises(NotFound):
                await context.wait_until_at_rest()

        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            group.create_task(wait())
            await waiting.wait()
            await context.delete()
