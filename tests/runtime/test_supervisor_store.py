"""The supervisor with a store of its own, which comes first and goes last."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from tests.runtime.supervised import WAITING, WELL, Rig, StubStore, supervised, waiting
from tests.runtime.support import alive, run, until


def test_a_dead_store_is_started_again_and_goes_last(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        store.dies.set()
        await until(lambda: store.starts == 2)
        store.failing = True
        store.dies.set()
        await until(lambda: store.starts == 4)
        store.failing = False
        await until(lambda: not store.dies.is_set())

    supervised(rig.supervisor(("worker", WELL)), story)
    assert store.did == ["stopped"]
    assert len(rig.drained()) == 1


def test_what_a_store_needs_is_looked_for_each_time_it_has_come_up(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        assert rig.prepared == 1
        rig.prepare_failures = 2
        store.dies.set()
        await until(lambda: rig.prepared == 2)
        assert store.starts == 2

    supervised(rig.supervisor(("worker", WELL)), story)


def test_what_a_store_needs_is_looked_for_no_more_once_it_is_gone(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        rig.prepare_hangs = True
        store.dies.set()
        await until(lambda: rig.preparing == 1)
        store.failing = True
        store.dies.set()
        await until(lambda: store.starts == 4)
        assert rig.preparing == 0

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_store_is_tried_again_as_often_as_its_own_bound_says(tmp_path: Path) -> None:
    config = RuntimeConfig(restart_backoff_s_base=0.1, store_backoff_s_max=0.1)
    store = StubStore()
    rig = Rig(tmp_path, config, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        store.failing = True
        store.dies.set()
        # After 1 s; with waits that double up to those of other processes after 26 s.
        await until(lambda: store.starts == 11, within_s=20)

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_data_folder_that_was_lost_is_said_once_and_looked_for_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = RuntimeConfig(restart_backoff_s_base=0.01, store_backoff_s_max=0.01)
    store = StubStore()
    rig = Rig(tmp_path, config, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        store.lost = "it is away"
        store.dies.set()
        await until(lambda: store.starts == 7)
        store.lost = "it is another one"
        await until(lambda: store.starts == 9)
        store.lost = ""
        await until(lambda: rig.prepared == 2)

    supervised(rig.supervisor(("worker", WELL)), story)
    assert [line for line in caplog.messages if line.startswith("store")] == [
        "store gone, starting it again",
        "store did not start",
        "store did not start",
        "store is up again",
    ]


def test_a_store_that_cannot_start_fails_the_start_by_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path, store=StubStore(failing=True))
    with pytest.raises(StoreFailed, match="no disk"):
        run(rig.supervisor(("worker", WELL)).run())
    assert rig.up() == {}


def test_a_stop_does_not_wait_for_a_store_that_does_not_come_up(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: store.starts)

    supervised(rig.supervisor(("worker", WELL)), story)
    assert store.did == ["gave up starting", "stopped"]
    assert rig.up() == {}


def test_processes_load_while_the_store_comes_up_and_serve_once_it_has(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: len(waiting(rig)) == 2)
        loaded = waiting(rig)
        await asyncio.sleep(0.1)
        assert rig.up() == {}
        store.comes_up.set()
        await until(lambda: rig.announced)
        assert rig.living() == loaded

    supervised(rig.supervisor(("gateway", WAITING + WELL), ("worker", WAITING + WELL)), story)


def test_one_that_ended_while_the_store_came_up_is_started_again(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: waiting(rig))
        (loaded,) = waiting(rig)
        os.kill(loaded, signal.SIGKILL)
        await until(lambda: not alive(loaded))
        store.comes_up.set()
        await until(lambda: rig.announced)
        assert len(rig.living() - {loaded}) == 1

    supervised(rig.supervisor(("worker", WAITING + WELL)), story)


@pytest.mark.parametrize("fails", [True, False], ids=["it failed", "it was stopped"])
def test_what_has_loaded_for_a_store_that_does_not_come_up_is_ended(
    tmp_path: Path, *, fails: bool
) -> None:
    store = StubStore(failing=True, hanging=True)
    rig = Rig(tmp_path, store=store)
    supervisor = rig.supervisor(("gateway", WAITING + WELL), ("worker", WAITING + WELL))

    async def story() -> None:
        await until(lambda: len(waiting(rig)) == 2)
        loaded.update(waiting(rig))
        if fails:
            store.comes_up.set()
        else:
            supervisor.stop()

    loaded: set[int] = set()
    if fails:
        with pytest.raises(ExceptionGroup) as failed:
            supervised(supervisor, story)
        assert failed.group_contains(StoreFailed, match="no disk")
    else:
        supervised(supervisor, story)
    assert not any(alive(process_id) for process_id in loaded)
    assert rig.up() == {}
