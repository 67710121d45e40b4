"""Rates: who asks too often is told when to come again, and nobody else notices."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import aiohttp
import openai
import pytest

from gateway import limits
from gateway.clients import network_of
from storage import Access, Buckets, Rate, Taking
from tests.gateway.guarding import Scene, guarded
from tests.support.routes import SERVED
from tests.support.service import Answer, Client, Json, eventually, serving
from tests.support.store_faults import REFUSALS
from tests.support.store_server import StoreServer

SLOW: Final = 6
"""A minute: with a burst of so many, nothing comes back while a test runs."""
BURST: Final = {"rate_burst_s": 60}


@contextlib.asynccontextmanager
async def limited(
    store_url: str, *, gateways: int = 1, workers: int = 1, **gateway: object
) -> AsyncGenerator[Scene, None]:
    """A service with keys, and limits whose buckets do not fill while a test looks."""
    async with guarded(
        store_url, gateways=gateways, workers=workers, **BURST, **gateway
    ) as scene:
        yield scene


async def ask(client: Client, count: int, method: str, path: str) -> list[Answer]:
    """The same request so often, one after another."""
    return [await client.send(method, path) for _ in range(count)]


def statuses(answers: Sequence[Answer]) -> list[int]:
    return [answer.status for answer in answers]


async def test_actions_beyond_the_rate_are_refused_before_anything_is_done(
    store_url: str,
) -> None:
    async with limited(store_url, actions_per_owner_minute_max=SLOW) as scene:
        ada = await scene.of("ada")
        answers = [await ada.send("POST", "/api/contexts", {}) for _ in range(SLOW + 2)]
        assert statuses(answers) == [201] * SLOW + [429] * 2
        assert answers[-1].problem == "rate-limited"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
        assert answers[-1].json["retry_after_s"] == int(answers[-1].headers["Retry-After"])
        assert len((await ada.get("/api/contexts")).json["contexts"]) == SLOW


async def test_one_owners_rate_is_nobody_elses(store_url: str) -> None:
    async with limited(store_url, actions_per_owner_minute_max=SLOW) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        await ask(ada, SLOW + 1, "POST", "/api/tickets")
        assert statuses(await ask(eve, SLOW, "POST", "/api/tickets")) == [201] * SLOW
        assert (await scene.stranger.get("/healthz")).status == 200


async def test_all_gateways_together_let_no_more_actions_through(store_url: str) -> None:
    async with limited(
        store_url, gateways=2, workers=0, actions_per_owner_minute_max=SLOW
    ) as scene:
        ada = await scene.of("ada")
        doors = [Client(one.url, one.session, ada.key) for one in scene.service.clients]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(door.send("POST", "/api/tickets"), name="ask")
                for door in doors
                for _ in range(SLOW)
            ]
        assert sorted(task.result().status for task in tasks) == [201] * SLOW + [429] * SLOW


@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("polls_per_owner_minute_max", "/api/contexts"),
        ("admin_per_owner_minute_max", "/admin/dead_letters"),
        ("polls_per_address_minute_max", "/api/contexts"),
        ("admin_per_address_minute_max", "/admin/dead_letters"),
    ],
)
async def test_each_rate_counts_its_own_requests(store_url: str, limit: str, path: str) -> None:
    async with limited(store_url, workers=0, **{limit: SLOW}) as scene:
        ada = await scene.of("ada")
        assert statuses(await ask(ada, SLOW + 1, "GET", path)) == [200] * SLOW + [429]
        other = "/api/notes" if "admin" in path else "/admin/dead_letters"
        assert (await ada.get(other)).status == 200
        assert (await ada.send("POST", "/api/tickets")).status == 201


async def test_streams_count_when_they_are_opened(store_url: str) -> None:
    async with limited(store_url, streams_per_owner_minute_max=2) as scene:
        ada = await scene.of("ada")
        context_id = await ada.create()
        for _ in range(2):
            async with ada.stream(context_id) as stream:
                await stream.take("snapshot")
        refused = await ada.get(f"/api/contexts/{context_id}/events")
        assert (refused.status, refused.problem) == (429, "rate-limited")


async def test_who_guesses_keys_is_counted_by_address(store_url: str) -> None:
    async with limited(store_url, workers=0, polls_per_address_minute_max=SLOW) as scene:
        guesser = Client(scene.stranger.url, scene.stranger.session, "ctxd_guess")
        answers = await ask(guesser, SLOW + 1, "GET", "/api/contexts")
        assert statuses(answers) == [401] * SLOW + [429]


async def test_what_is_left_of_a_rate_is_told_with_each_answer(store_url: str) -> None:
    async with limited(
        store_url, actions_per_owner_minute_max=SLOW, actions_per_address_minute_max=60
    ) as scene:
        ada = await scene.of("ada")
        answer = await ada.send("POST", "/api/contexts", {})
        assert answer.headers["RateLimit-Policy"] == (
            '"address-actions";q=60;w=60, "owner-actions";q=6;w=60'
        )
        assert answer.headers["RateLimit"] == (
            '"address-actions";r=59;t=1, "owner-actions";r=5;t=10'
        )
        answers = await ask(ada, SLOW, "POST", "/api/tickets")
        assert answers[-1].headers["RateLimit-Policy"] == '"owner-actions";q=6;w=60'
        assert answers[-1].headers["RateLimit"] == '"owner-actions";r=0;t=60'
        assert "RateLimit" not in (await ada.get("/api/contexts")).headers


async def test_a_stream_tells_of_its_rate_too(store_url: str) -> None:
    async with limited(store_url, streams_per_owner_minute_max=SLOW) as scene:
        ada = await scene.of("ada")
        async with ada.stream(await ada.create()) as stream:
            assert stream.response.headers["RateLimit"] == '"owner-streams";r=5;t=10'


async def test_a_poll_that_is_answered_304_costs_a_tenth(store_url: str) -> None:
    async with limited(store_url, polls_per_owner_minute_max=SLOW) as scene:
        ada = await scene.of("ada")
        path = f"/api/contexts/{await ada.create()}/state"
        first = await ada.get(path)
        assert first.headers["RateLimit"] == '"owner-polls";r=5;t=10'
        seen = [await ada.get(path, If_None_Match=first.headers["ETag"]) for _ in range(10)]
        assert statuses(seen) == [304] * 10
        assert seen[-1].headers["RateLimit"] == '"owner-polls";r=4;t=20'


async def test_what_one_gateway_counts_the_others_learn(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTLE_S", 0.2)
    async with limited(store_url, gateways=2, polls_per_owner_minute_max=SLOW) as scene:
        ada = await scene.of("ada")
        other = Client(scene.service.clients[1].url, ada.session, ada.key)
        answers = await ask(ada, SLOW, "GET", "/api/contexts")
        answers.append(await other.get("/api/contexts"))  # it does not know yet
        assert statuses(answers) == [200] * (SLOW + 1)

        async def is_settled() -> bool:
            stored = Buckets(scene.access.link, scene.service.stores[0].scripts)
            (full_s,) = await stored.settle([Taking("owner-polls:ada", Rate(SLOW, SLOW), 0)])
            return full_s > 60

        async def is_refused() -> bool:
            answers.append(await other.get("/api/contexts"))
            return answers[-1].status == 429

        await eventually(is_settled)
        await eventually(is_refused)
        assert len(answers) < 2 * SLOW, "it has learned nothing, and used up a burst of its own"


async def test_actions_on_a_socket_count_as_any_others(store_url: str) -> None:
    async with limited(store_url, actions_per_owner_minute_max=2) as scene:
        ada = await scene.of("ada")
        path = f"/api/contexts/{await ada.create()}/ws"
        async with ada.session.ws_connect(ada.url + path, headers=ada.credential) as socket:
            for _ in range(2):
                await socket.send_json({"action": "rename", "body": {"title": "x"}})
            results = [frame async for frame in _results(socket, 2)]
        by_status = {result["status"]: result.get("problem") for result in results}
        assert by_status[200] is None
        assert by_status[429]["type"] == "/problems/rate-limited"


async def _results(
    socket: aiohttp.ClientWebSocketResponse, count: int
) -> AsyncGenerator[Json, None]:
    while count:
        frame = await socket.receive_json()
        if frame["event"] == "action-result":
            count -= 1
            yield frame["data"]


async def test_openais_client_is_told_in_its_own_words(store_url: str) -> None:
    async with limited(store_url, actions_per_owner_minute_max=1) as scene:
        ada = await scene.of("ada")
        async with openai.AsyncOpenAI(
            base_url=f"{ada.url}/v1", api_key=ada.key or "", max_retries=0
        ) as client:
            await client.responses.create(model="scripted", input="Hello")
            with pytest.raises(openai.RateLimitError) as refused:
                await client.responses.create(model="scripted", input="Hello")
        assert refused.value.code == "rate_limit_exceeded"
        assert int(refused.value.response.headers["Retry-After"]) >= 1


async def test_an_owner_has_so_many_streams_at_once(store_url: str) -> None:
    async with guarded(store_url, workers=1, streams_per_owner_max=1) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        path = f"/api/contexts/{await ada.create()}/events"
        async with ada.stream_at(path) as stream:
            await stream.take("snapshot")
            assert (await ada.get(path)).problem == "too-many-streams"
            async with eve.stream(await eve.create()) as other:
                assert other.response.status == 200

        async def is_open_again() -> bool:
            async with ada.stream_at(path) as stream:
                return stream.response.status == 200

        await eventually(is_open_again)


def test_what_is_limited_is_every_request_that_takes_a_credential() -> None:
    traffic = {route.name: route.traffic for route in SERVED if not route.is_public}
    assert {name for name, one in traffic.items() if one == "admin"} == {
        route.name
        for route in SERVED
        if route.path.startswith(("/admin", "/api/v1", "/metrics"))
    } - {"get_websocket_config"}
    assert {name for name, one in traffic.items() if one == "streams"} == {
        *("stream_events", "open_socket", "stream_many", "get_response"),
    }
    assert (traffic["act"], traffic["complete_chat"], traffic["get_state"]) == (
        *("actions", "actions", "polls"),
    )


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
    ],
)
def test_a_client_is_known_by_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_a_store_that_takes_no_writes_refuses_nobody_for_a_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SETTLE_S", 0.01)
    options = {**BURST, "admin_per_owner_minute_max": 1, "polls_per_owner_minute_max": SLOW}
    with StoreServer() as store:
        async with serving(store.url, workers=0, gateway=options) as service:
            client = service.client
            plain = store.client()
            with REFUSALS["memory full"](plain, store.process_id):
                answers = await ask(client, 3, "GET", "/admin/dead_letters")
                answers += await ask(client, SLOW + 1, "GET", "/api/contexts")
                await asyncio.sleep(0.05)  # it is told of several times, in vain
            plain.close()
            assert (await client.get("/healthz")).status == 200
    assert statuses(answers) == [200] * (3 + SLOW) + [429]


async def test_while_the_store_is_away_each_gateway_counts_by_itself() -> None:
    options = {**BURST, "polls_per_owner_minute_max": SLOW, "stale_after_s": 0.02}
    with StoreServer() as store:
        async with serving(store.url, workers=0, gateway=options) as service:
            path = f"/api/contexts/{await service.client.create()}/state"
            answers = await ask(service.client, 1, "GET", path)
            store.pause()
            answers += await ask(service.client, SLOW, "GET", path)
            store.resume()
    assert statuses(answers) == [200] * SLOW + [429]
    assert answers[-2].headers["Contextd-Stale"] == "true"


# Quotas, and what is told of all of it


async def test_a_quota_that_is_full_says_of_what_and_how_far(store_url: str) -> None:
    quotas = {"contexts_per_owner_max": 1, "messages_per_context_max": 2}
    async with serving(store_url, storage=quotas) as service:
        client = service.client
        context_id = await client.create()
        full = await client.send("POST", "/api/contexts", {})
        assert (full.status, full.problem) == (403, "quota-full")
        assert (full.json["quota"], full.json["limit"], full.json["used"]) == ("contexts", 1, 1)
        assert (await client.say(context_id, "Hello")).status == 200
        full = await client.say(context_id, "again")
        assert (full.json["quota"], full.json["limit"], full.json["used"]) == ("messages", 2, 2)
        assert (await client.act(context_id, "rename", {"title": "x"})).status == 200
        assert (await client.act(context_id, "delete")).status == 200
        await client.create()


async def test_tokens_of_a_day_are_those_of_its_replies(store_url: str) -> None:
    async with serving(store_url, storage={"tokens_per_owner_day_max": 1}) as service:
        client = service.client
        context_id = await client.create()
        answer = await client.say(context_id, "Hello")
        used = answer.context["usage"]["total_tokens"]
        assert used > 0
        refused = await client.say(context_id, "again")
        assert (refused.status, refused.problem) == (429, "quota-exceeded")
        assert (refused.json["quota"], refused.json["used"]) == ("tokens", used)
        assert 1 <= int(refused.headers["Retry-After"]) <= 86_400
        assert (await client.get("/api/limits")).json["tokens_today"] == {
            "limit": 1,
            "used": used,
        }


async def test_a_turn_too_many_waits_for_no_worker(store_url: str) -> None:
    async with serving(store_url, storage={"turns_per_owner_max": 1}) as service:
        client = service.client
        busy, other = await client.create(), await client.create()
        await client.act(busy, "send_message", {"content": "/chunks 1000 1000"})
        refused = await client.say(other, "Hello")
        assert (refused.status, refused.problem) == (429, "quota-exceeded")
        assert (refused.json["quota"], refused.headers["Retry-After"]) == ("turns", "1")
        assert (await client.act(busy, "send_message", {"content": "later"})).status == 200
        assert [entry["content"] for entry in (await client.state(busy))["queue"]] == ["later"]
        await client.act(busy, "delete")
        assert (await client.say(other, "Hello")).status == 200


async def test_an_owner_is_told_what_it_may_and_what_it_has_used(store_url: str) -> None:
    async with limited(
        store_url, actions_per_owner_minute_max=SLOW, streams_per_owner_max=3
    ) as scene:
        ada = await scene.of("ada")
        async with ada.stream(await ada.create()) as stream:
            await stream.take("snapshot")
            told = (await ada.get("/api/limits")).json
        day_ends = told.pop("today_ends_at")
        assert day_ends.endswith("T00:00:00.000Z")
        assert told == {
            "owner": "ada",
            "contexts": {"limit": None, "used": 1},
            "turns": {"limit": None, "used": 0},
            "tokens_today": {"limit": None, "used": 0},
            "streams": {"limit": 3, "used": 1},
            "messages_per_context": None,
            "bytes_per_context": None,
            "rates": {"actions": {"per_minute": SLOW, "burst": SLOW, "left": SLOW - 1}},
        }


# Fairness


async def test_one_message_does_not_wait_behind_anothers_sixty(store_url: str) -> None:
    async with serving(
        store_url, gateway={"auth": "keys"}, worker={"model_connections_max": 2}
    ) as service:
        scene = Scene(service, Access(service.stores[0].link))
        many, one = await scene.of("many"), await scene.of("one")
        for _ in range(60):
            body = {"message": {"content": "/chunks 3 100"}}
            await many.send("POST", "/api/contexts", body, headers={"Prefer": "respond-async"})
        before = await _ended(many)
        assert before < 30, "they have to be busy for this to say anything"
        assert (await one.say(await one.create(), "Hello")).json["status"] == "idle"
        assert await _ended(many) - before <= 6


async def _ended(client: Client) -> int:
    shown = (await client.get("/api/contexts?limit=100")).json["contexts"]
    return sum(context["version"] > 2 and context["status"] == "idle" for context in shown)
