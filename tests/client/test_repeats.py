"""What has no answer is sent again: with the same key, the same bytes, and patience."""

import asyncio

import orjson
import pytest
from aiohttp import web

from contextd_client import (
    ClientLimits,
    Contextd,
    IllegalInPhase,
    InvalidRequest,
    NotFound,
    NotUnderstood,
    Problem,
    QueueFull,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from contextd_client.limits import LIMITS, pause_s
from tests.client.cutting_proxy import open_proxy
from tests.client.made_up_server import MadeUpServer, Reply, acted, cut, problem, says, state
from tests.client.patience import Waits, impatient
from tests.support.service import serving


async def test_a_send_whose_answer_is_cut_anywhere_is_applied_once(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        context = await client.create()
        contents: list[str] = []
        for answer_bytes in (0, 1, 9, 40, 150, 300, 700):
            proxy.cut_after([answer_bytes])
            contents.append(f"cut after {answer_bytes} bytes")
            answer = await context.send_message(contents[-1], wait_s=30)
            assert answer.applied
        assert proxy.made == len(contents)
        messages = (await context.state()).messages
        assert [m.content for m in messages if m.role == "user"] == contents


async def test_a_send_that_is_cut_again_and_again_is_applied_once(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        context = await client.create()
        proxy.cut_after([10] * 5)
        await context.send_message("once", wait_s=30)
        assert proxy.made == 5
        messages = (await context.state()).messages
        assert [m.content for m in messages if m.role == "user"] == ["once"]


async def test_a_creation_whose_answer_is_cut_makes_one_context(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        proxy.cut_after([30, 60])
        context = await client.create(message="first", wait_s=30)
        assert [summary.id async for summary in client.contexts()] == [context.id]


@pytest.mark.parametrize("tombstones", [False, True])
async def test_a_deletion_whose_answer_is_cut_is_no_error(
    store_url: str, tombstones: bool
) -> None:
    async with (
        serving(store_url, storage={"tombstones": tombstones}) as service,
        open_proxy(service.client.url) as proxy,
        impatient(proxy.url) as client,
    ):
        context = await client.create()
        proxy.cut_after([20])
        await context.delete()
        assert proxy.made == 1
        with pytest.raises(NotFound):
            await context.state()


@pytest.mark.parametrize(
    "first",
    [
        cut,
        problem(503, "store-unavailable"),
        problem(429, "mailbox-full"),
        problem(429, "rate-limited"),
        says(502, "<html>"),
        says(504, None),
    ],
    ids=["cut", "503", "429", "429 by rate", "502", "504"],
)
async def test_a_repeat_has_the_same_key_and_the_same_bytes(first: Reply) -> None:
    server = MadeUpServer([first, first, acted()])
    async with server.served() as url, impatient(url) as client:
        await client.context("c1").send_message("wörds", metadata={"b": 1, "a": [None]})
    assert len(server.asked) == 3
    assert len({asked.body for asked in server.asked}) == 1
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1
    assert {asked.headers["Content-Type"] for asked in server.asked} == {"application/json"}


async def test_two_actions_have_two_keys() -> None:
    server = MadeUpServer([acted()])
    async with server.served() as url, impatient(url) as client:
        await client.context("c1").pause()
        await client.context("c1").pause()
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 2


async def test_waits_grow_up_to_a_bound_and_then_it_is_given_up() -> None:
    waits, server = Waits(), MadeUpServer([problem(503, "store-unavailable")])
    limits = ClientLimits(tries_max=7, backoff_s_base=0.5, backoff_s_max=3.0)
    async with server.served() as url, impatient(url, waits, limits=limits) as client:
        with pytest.raises(Unavailable, match=r"^No\. \(503\)$") as refusal:
            await client.context("c1").pause()
    assert refusal.value.tries == len(server.asked) == 7
    # No jitter is drawn here, which leaves half of each window.
    assert waits.seconds == [0.25, 0.5, 1.0, 1.5, 1.5, 1.5]


async def test_jitter_is_drawn_for_each_wait() -> None:
    waits, server = Waits(), MadeUpServer([cut, cut, acted()])
    drawn = iter((0.5, 0.25))
    async with (
        server.served() as url,
        Contextd(url, sleep=waits.sleep, draw=lambda: next(drawn)) as client,
    ):
        await client.context("c1").pause()
    assert waits.seconds == pytest.approx([0.2 * 0.75, 0.4 * 0.625])


async def test_retry_after_is_waited_for_and_jitter_comes_on_top() -> None:
    waits = Waits()
    server = MadeUpServer(
        [
            says(503, {}, Retry_After="7"),
            problem(429, "mailbox-full", retry_after_s=2),
            says(503, {}, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
            acted(),
        ]
    )
    async with server.served() as url, impatient(url, waits) as client:
        await client.context("c1").pause()
    assert waits.seconds == pytest.approx([7.1, 2.2, 0.4])


async def test_who_asks_too_fast_is_slowed_down_and_loses_nothing(store_url: str) -> None:
    limits = {"actions_per_owner_minute_max": 60, "rate_burst_s": 2}
    async with (
        serving(store_url, workers=0, gateway=limits) as service,
        Contextd(service.client.url) as client,
    ):
        made = [await client.create() for _ in range(3)]
        assert len({context.id for context in made}) == 3
        assert len((await service.client.get("/api/contexts")).json["contexts"]) == 3


async def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    server = MadeUpServer([says(503, {}, Retry_After="3600")])
    async with server.served() as url, impatient(url) as client:
        with pytest.raises(Unavailable) as refusal:
            await client.context("c1").pause()
    assert refusal.value.retry_after_s == 3600
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(409, "illegal-in-phase", phase="idle"), IllegalInPhase),
        (problem(429, "queue-full", phase="idle", retry_after_s=1), QueueFull),
        (problem(422, "invalid-body"), InvalidRequest),
        (problem(404, "not-found"), NotFound),
        (says(401, {}), Unauthorized),
        (problem(500, "internal"), Problem),
        (says(302, {}, Location="/elsewhere"), Problem),
    ],
)
async def test_a_refusal_is_not_sent_again(reply: Reply, kind: type[Problem]) -> None:
    server = MadeUpServer([reply])
    async with server.served() as url, impatient(url) as client:
        with pytest.raises(Problem) as refusal:
            await client.context("c1").pause()
    assert type(refusal.value) is kind
    assert len(server.asked) == 1


async def test_a_server_that_answers_no_more_is_given_up_after_so_many_tries() -> None:
    waits, server = Waits(), MadeUpServer([acted(), cut])
    limits = ClientLimits(tries_max=4)
    async with server.served() as url, impatient(url, waits, limits=limits) as client:
        await client.context("c1").pause()
        with pytest.raises(Unreachable, match="cannot be reached"):
            await client.context("c1").resume()
    assert len(server.asked) == 1 + 4


async def test_what_only_reads_is_sent_no_more_often_than_an_action() -> None:
    waits, server = Waits(), MadeUpServer([cut])
    limits = ClientLimits(first_tries_max=2)
    async with server.served() as url, impatient(url, waits, limits=limits) as client:
        with pytest.raises(Unreachable, match="ServerDisconnectedError"):
            await client.context("c1").state()
    assert len(server.asked) == 2
    assert len(waits.seconds) == 1


async def test_an_address_where_nobody_has_ever_answered_is_given_up_soon(
    unused_tcp_port: int,
) -> None:
    waits = Waits()
    async with impatient(f"http://127.0.0.1:{unused_tcp_port}", waits) as client:
        with pytest.raises(Unreachable, match="ClientConnectorError"):
            await client.create()
    assert len(waits.seconds) == ClientLimits().first_tries_max - 1


async def test_an_answer_may_take_as_long_as_it_was_asked_to_wait() -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return await acted()(request)

    limits = ClientLimits(answer_s_max=0.1, tries_max=1, first_tries_max=1)
    server = MadeUpServer([slowly])
    async with server.served() as url, impatient(url, limits=limits) as client:
        context = client.context("c1")
        assert (await context.send_message("slowly", wait_s=10)).applied
        with pytest.raises(Unreachable):
            await context.send_message("at once")


async def test_an_answer_may_be_silent_for_longer_than_a_stream() -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await acted()(request)

    limits = ClientLimits(silence_s_max=0.1, tries_max=1, first_tries_max=1)
    server = MadeUpServer([slowly])
    async with server.served() as url, impatient(url, limits=limits) as client:
        assert (await client.context("c1").send_message("slowly", wait_s=10)).applied


async def test_an_answer_that_does_not_come_in_time_is_asked_for_again() -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server = MadeUpServer([never, acted()])
    limits = ClientLimits(answer_s_max=0.1)
    async with server.served() as url, impatient(url, limits=limits) as client:
        answer = await client.context("c1").pause()
    assert answer.applied
    assert len(server.asked) == 2


@pytest.mark.parametrize("body", [[], {"context": None}, "text", {"context": {"id": 1}}])
async def test_an_answer_that_is_none_of_contextds_is_said_to_be(body: object) -> None:
    server = MadeUpServer([says(200, body)])
    async with server.served() as url, impatient(url) as client:
        with pytest.raises(NotUnderstood):
            await client.context("c1").state()
    assert len(server.asked) == 1


async def test_an_answer_that_never_ends_is_not_kept() -> None:
    server = MadeUpServer([acted(title="x" * 10_000)])
    limits = ClientLimits(context_bytes_max=5_000)
    async with server.served() as url, impatient(url, limits=limits) as client:
        with pytest.raises(NotUnderstood):
            await client.context("c1").pause()


async def test_an_answer_may_be_as_large_as_its_bound() -> None:
    body = {"context": state(), "action": None}
    answer_bytes = len(orjson.dumps(body))
    for missing, is_read in ((0, True), (1, False)):
        limits = ClientLimits(context_bytes_max=answer_bytes - missing)
        async with (
            MadeUpServer([says(200, body)]).served() as url,
            impatient(url, limits=limits) as client,
        ):
            try:
                await client.context("c1").state()
            except NotUnderstood:
                assert not is_read
            else:
                assert is_read


async def test_fields_that_are_not_known_are_ignored() -> None:
    server = MadeUpServer(
        [says(200, {"context": state(mood="fine", draft=None), "news": 1, "action": None})]
    )
    async with server.served() as url, impatient(url) as client:
        assert (await client.context("c1").state()).status == "idle"


async def test_the_key_goes_with_every_request_and_no_id_leaves_its_path() -> None:
    server = MadeUpServer([acted()])
    async with server.served() as url, Contextd(url + "/", key="s3cret\n") as client:
        await client.context("../a b").state()
    (asked,) = server.asked
    assert asked.headers["Authorization"] == "Bearer s3cret"
    assert asked.path == "/api/contexts/..%2Fa%20b/state"
    assert asked.headers["Cache-Control"] == "no-cache"


async def test_no_key_is_sent_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTEXTD_API_KEY", raising=False)
    server = MadeUpServer([acted()])
    async with server.served() as url, Contextd(url) as client:
        await client.context("c1").state()
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize("failures", [6, 2_000])
def test_a_wait_grows_up_to_its_bound_however_often_it_fails(failures: int) -> None:
    assert pause_s(LIMITS, failures=failures, asked_s=1.0, drawn=0.5) == 1.0 + 5.0 * 0.75
