"""The webhook is told of everything it asked for: signed, in order, again until it takes it."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from storage import ActivationQueue, DeadLetters, StorageConfig, Store, connect
from tests.storage.arranging import create, next_commit, own
from tests.support.playbook import CONTEXT_ID, Playbook, rename
from tests.support.service_processes import free_port
from tests.support.store_server import StoreServer
from tests.support.webhook_receiver import SECRET, Receiver
from workers import WorkerConfig
from workers.webhooks import NOTICES_MAX, Teller, cloud_event, open_teller, signature

pytestmark = pytest.mark.real_only

NOW_MS = 1_760_000_123_456


@dataclass
class World:
    """A store, a receiver, and what tells the one of the other."""

    store: Store
    receiver: Receiver
    teller: Teller
    now_ms: int = NOW_MS

    async def arrange(self, versions: int) -> None:
        """A context with so many events to tell of."""
        book = Playbook()
        await create(self.store, book.log[0])
        owned = await own(self.store)
        for _ in range(versions - 1):
            before = book.state
            book.given(rename(f"Title {before.version}"))
            notice = self.store.webhooks.notice(before, book.log[-1], book.state)
            assert notice is not None
            commit = next_commit(book, owned, base=before.version)
            await self.store.ownership.commit(replace(commit, notices=[notice]))

    async def due_ms(self) -> int | None:
        """When the context is looked at again; None: nothing waits."""
        score = await self.store.link.call("ZSCORE", "webhooks", CONTEXT_ID)
        return int(score) if isinstance(score, bytes) else None

    @property
    def versions(self) -> list[int]:
        """Of what was sent, in order."""
        return [int(one.id.rpartition(".")[2]) for one in self.receiver.deliveries]


@contextlib.asynccontextmanager
async def open_world(
    server: StoreServer, *, draw: float = 0.0, listens: bool = True, **settings: float
) -> AsyncGenerator[World, None]:
    client = server.client()
    client.flushall()  # pyright: ignore[reportUnknownMemberType] - its kwargs are untyped
    client.close()
    receiver = Receiver(free_port())
    config = StorageConfig(
        webhook_url=SecretStr(f"{receiver.url}?token=t0ken"),
        webhook_secret=SecretStr(SECRET),
        webhook_events="context-created,context-renamed",
    )
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(connect(server.url, config))
        if listens:
            await stack.enter_async_context(receiver.serving())
        teller = open_teller(
            store,
            WorkerConfig.model_validate(settings),
            clock=lambda: world.now_ms,
            draw=lambda: draw,
        )
        assert teller is not None
        stack.push_async_callback(teller.close)
        world = World(store, receiver, teller)
        yield world


async def test_everything_is_told_in_order_and_nothing_is_left(server: StoreServer) -> None:
    async with open_world(server) as world:
        await world.arrange(3)
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 2, 3]
        first = world.receiver.taken[0]
        assert first.at_s == NOW_MS // 1_000
        assert first.event == {
            "specversion": "1.0",
            "id": f"{CONTEXT_ID}.1",
            "source": f"/api/contexts/{CONTEXT_ID}",
            "type": "contextd.context-created",
            "time": "2025-10-09T08:53:20.000Z",
            "datacontenttype": "application/json",
            "data": {
                "context_id": CONTEXT_ID,
                "owner": "ada",
                "version": 1,
                "status": "idle",
                "occasions": ["context-created"],
                "event": Playbook().log[0].model_dump(mode="json"),
            },
        }
        assert await world.due_ms() is None
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 2, 3]


@pytest.mark.parametrize(
    ("status", "cause"), [(500, "status 500"), (300, "status 300"), (410, "status 410")]
)
async def test_what_is_not_taken_is_sent_again_with_the_same_id_and_body_before_the_next(
    server: StoreServer, status: int, cause: str
) -> None:
    async with open_world(server) as world:
        await world.arrange(2)
        world.receiver.statuses.append(status)
        with capture_logs() as logs:
            await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1]
        assert [(line["reason"], line["tries"]) for line in logs] == [(cause, 1)]
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 1, 2]
        refused, repeated, _ = world.receiver.deliveries
        assert (refused.id, refused.body) == (repeated.id, repeated.body)


@pytest.mark.parametrize("status", [200, 299])
async def test_every_2xx_takes_it(server: StoreServer, status: int) -> None:
    async with open_world(server) as world:
        await world.arrange(2)
        world.receiver.usual = status
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 2]
        assert await world.due_ms() is None


@pytest.mark.parametrize(
    ("draw", "pauses_ms"), [(0.0, [500, 1_000, 1_500]), (1.0, [1_000, 2_000, 3_000])]
)
async def test_pauses_grow_to_a_bound_with_jitter(
    server: StoreServer, draw: float, pauses_ms: list[int]
) -> None:
    async with open_world(server, draw=draw, webhook_pause_s_max=3) as world:
        await world.arrange(1)
        world.receiver.usual = 503
        due_ms: list[int | None] = []
        for _ in range(3):
            await world.teller.tell(CONTEXT_ID)
            due_ms.append(await world.due_ms())
        assert due_ms == [NOW_MS + pause_ms for pause_ms in pauses_ms]


async def test_after_the_last_try_it_is_a_dead_letter_and_the_next_one_is_sent(
    server: StoreServer,
) -> None:
    async with open_world(server, webhook_tries_max=2) as world:
        await world.arrange(2)
        world.receiver.statuses.extend([500, 500])
        for _ in range(2):
            await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 1, 2]
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(9)).letters
        assert letter.id == f"{CONTEXT_ID}.1.webhook"
        assert letter.cause == "The webhook has not taken it 2 times. Last: status 500"
        assert letter.notice is not None
        await world.store.webhooks.put_back(CONTEXT_ID, letter.notice)
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1, 1, 2, 1]
        assert await world.due_ms() is None


async def test_nobody_listens_or_answers_and_no_log_names_the_address_or_the_secret(
    server: StoreServer,
) -> None:
    async with open_world(server, listens=False, webhook_call_s_max=0.2) as world:
        await world.arrange(1)
        with capture_logs() as logs:
            await world.teller.tell(CONTEXT_ID)
            world.receiver.hangs = True
            async with world.receiver.serving():
                await world.teller.tell(CONTEXT_ID)
        reasons = [line["reason"] for line in logs]
        assert reasons == ["ClientConnectorError", "no answer within 0.2 s"]
        for secret in ("t0ken", SECRET, str(world.receiver.port)):
            assert secret not in str(logs)
        world.receiver.hangs = False
        async with world.receiver.serving():
            await world.teller.tell(CONTEXT_ID)
        assert world.versions == [1]


async def test_a_worker_that_ends_between_sending_and_saying_so_has_it_sent_twice(
    server: StoreServer,
) -> None:
    async with open_world(server) as world:
        await world.arrange(2)
        notice = await world.store.webhooks.first(CONTEXT_ID)
        assert notice is not None
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(world.teller.tell(CONTEXT_ID))
            await world.receiver.until(1)
            telling.cancel()
        taken = len(world.receiver.taken)
        await world.teller.tell(CONTEXT_ID)
        assert world.versions[0] == 1
        assert world.versions[-1] == 2
        assert len(world.versions) in {taken + 1, taken + 2}
        assert sorted(set(world.versions)) == [1, 2]


async def test_one_job_tells_so_much_and_the_context_comes_again(server: StoreServer) -> None:
    async with open_world(server) as world:
        await world.arrange(NOTICES_MAX + 1)
        await world.teller.tell(CONTEXT_ID)
        assert world.versions == [*range(1, NOTICES_MAX + 1)]
        due_ms = await world.due_ms()
        assert due_ms is not None
        assert due_ms > world.now_ms
        world.now_ms = due_ms
        await world.teller.claim(5)
        queue = world.store.queue
        assert not await queue.enqueue_chore("webhooks", CONTEXT_ID)  # it is there already
        assert ActivationQueue.chore_id("webhooks", CONTEXT_ID).endswith(CONTEXT_ID)


async def test_without_an_address_there_is_nobody_to_tell(server: StoreServer) -> None:
    async with connect(server.url, StorageConfig()) as store:
        assert (
            open_teller(store, WorkerConfig(), clock=lambda: NOW_MS, draw=lambda: 0.0) is None
        )


def test_a_signature_is_that_of_the_specification_s_example() -> None:
    # The example of the Standard Webhooks reference implementations' tests.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_same_notice_is_the_same_bytes(server: StoreServer) -> None:
    async with open_world(server) as world:
        await world.arrange(1)
        first = await world.store.webhooks.first(CONTEXT_ID)
        again = await world.store.webhooks.first(CONTEXT_ID)
        assert first is not None
        assert again is not None
        assert cloud_event(CONTEXT_ID, first[0]) == cloud_event(CONTEXT_ID, again[0])
