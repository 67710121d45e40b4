"""What a recorder repeats, asks about and lets go of; beside a service see `tests/gateway`."""

from typing import Final

import pytest

from storage import (
    KeyReused,
    MailboxFull,
    Reading,
    Recorder,
    RecordRefused,
    Result,
    StorageError,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
    keys,
)
from storage.admissions import Admissions
from storage.recorder import TRIES_MAX
from tests.storage.conftest import Backend
from tests.support.clock import in_virtual_time, timed
from tests.support.memory_store import open_memory_store

OWNER: Final = "ada"
REFUSED: Final = Result(outcome="refused", version=1, code="illegal-in-phase", detail="Busy.")
STEPS: Final = [
    *(("create", error) for error in (StoreUnavailable, StoreRefusedWrite)),
    *(("deliver", error) for error in (StoreUnavailable, StoreRefusedWrite, MailboxFull)),
]


def fail_first(
    patch: pytest.MonkeyPatch, step: str, error: StorageError, *, times: int
) -> None:
    """Have a step fail so often, and then do what it does."""
    call = getattr(Admissions, step)
    left = [error] * times

    async def step_or_error(*given: object, **named: object) -> object:
        if left:
            raise left.pop()
        return await call(*given, **named)

    patch.setattr(Admissions, step, step_or_error)


async def do(recorder: Recorder, step: str, context_id: str) -> None:
    if step == "create":
        await recorder.initialize()
    else:
        await recorder.record_user_message(context_id, "Hello")


@pytest.mark.parametrize(("step", "error"), STEPS)
@in_virtual_time
async def test_what_fails_is_tried_again_after_pauses_that_double_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, step: str, error: type[StorageError]
) -> None:
    async with open_memory_store() as store:
        recorder = Recorder(store, OWNER)
        context_id = await recorder.initialize()
        fail_first(monkeypatch, step, error("not now"), times=TRIES_MAX - 1)
        _, took_s = await timed(do(recorder, step, context_id))
        assert took_s == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 2.0 * (TRIES_MAX - 6))


@pytest.mark.parametrize(("step", "error"), STEPS)
@in_virtual_time
async def test_what_goes_on_failing_is_raised_after_the_last_try(
    monkeypatch: pytest.MonkeyPatch, step: str, error: type[StorageError]
) -> None:
    async with open_memory_store() as store:
        recorder = Recorder(store, OWNER)
        context_id = await recorder.initialize()
        fail_first(monkeypatch, step, error("not now"), times=TRIES_MAX)
        with pytest.raises(error, match="not now"):
            await do(recorder, step, context_id)
        await do(recorder, step, context_id)


async def test_a_creation_under_the_key_of_another_is_refused(store: Store) -> None:
    recorder = Recorder(store, OWNER)
    labels = {"a": "1", "b": "2"}
    made = await recorder.initialize(title="t", labels=labels, key="k")
    turned = dict(reversed(labels.items()))
    assert await recorder.initialize(title="t", labels=turned, key="k") == made
    for title, other in (("u", labels), ("t", {"a": "1"})):
        with pytest.raises(KeyReused):
            await recorder.initialize(title=title, labels=other, key="k")


async def test_a_recorded_message_asks_for_the_activation_of_its_context(store: Store) -> None:
    recorder = Recorder(store, OWNER)
    context_id = await recorder.initialize()
    await recorder.record_user_message(context_id, "Hello")
    queued = await store.link.call("LRANGE", store.queue.KEY, 0, -1)
    assert queued == [store.queue.job_id(context_id).encode()]


async def test_what_an_owner_of_many_records_waits_in_the_crowd(store: Store) -> None:
    recorder = Recorder(store, OWNER)
    context_id = await recorder.initialize()
    await store.link.call("SADD", keys.owner_turns(OWNER), *range(1_000))
    await recorder.record_user_message(context_id, "one")
    other = await recorder.initialize()
    await recorder.record_user_message(other, "two")
    assert await store.link.call("LLEN", store.queue.CROWD_KEY) == 1


async def record(recorder: Recorder, context_id: str, content: str) -> None:
    """Record a message, which a worker takes at once."""
    await recorder.record_user_message(context_id, content)
    await recorder.store.link.call("DEL", *keys.of_context(context_id, "mail"))


async def test_every_result_that_the_store_still_keeps_is_looked_at(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def refused(_store: Store, _id: str, _owner: str, *, seq: int) -> Reading:
        asked.append(seq)
        return Reading(version=1, n=0, mail_seq=5, result=REFUSED, view=None)

    async with backend.connect(results_max=3, mailbox_max=3) as store:
        recorder = Recorder(store, OWNER)
        context_id = await recorder.initialize()
        for number in range(5):
            await record(recorder, context_id, f"{number}")
        monkeypatch.setattr(Store, "read", refused)
        with pytest.raises(RecordRefused, match=f"^3 of context {context_id}: Busy") as caught:
            await recorder.cleanup()
    assert asked == list(caught.value.results) == [3, 4, 5]


async def test_a_result_that_has_just_made_room_is_not_waited_for(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_store: Store, _id: str, _owner: str, *, seq: int) -> Reading:
        return Reading(version=1, n=0, mail_seq=seq + 3, result=None, view=None)

    async with backend.connect(results_max=3, mailbox_max=3) as store:
        recorder = Recorder(store, OWNER)
        await recorder.record_user_message(await recorder.initialize(), "Hello")
        monkeypatch.setattr(Store, "read", gone)
        assert await recorder.cleanup(within_s=5)


async def test_what_is_recorded_while_a_result_is_waited_for_is_looked_at_too(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def slow(_store: Store, _id: str, _owner: str, *, seq: int) -> Reading:
        asked.append(seq)
        if seq == 1:  # two more come meanwhile, and it makes room for them
            for number in range(2):
                await record(recorder, context_id, f"{number}")
        return Reading(version=1, n=0, mail_seq=seq, result=REFUSED, view=None)

    async with backend.connect(results_max=2, mailbox_max=2) as store:
        recorder = Recorder(store, OWNER)
        context_id = await recorder.initialize()
        await record(recorder, context_id, "Hello")
        monkeypatch.setattr(Store, "read", slow)
        with pytest.raises(RecordRefused):
            await recorder.cleanup()
    assert asked == [1, 2, 3]
