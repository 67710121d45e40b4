"""Jobs that are none of contextd's are never run, over a real server."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.utils import import_attribute

from storage import ActivationQueue
from tests.support.store_server import StoreServer
from tests.workers.jobs import open_both, rq_client
from workers.dequeue import ALLOWED, activate

pytestmark = pytest.mark.real_only

MARK = Path("ran-by-a-foreign-job")


def foreign_json(queue: Queue) -> Job:
    return queue.enqueue("os.system", f"touch {MARK}")


def foreign_pickle(queue: Queue) -> Job:
    queue.serializer = DefaultSerializer
    return queue.enqueue("os.system", f"touch {MARK}")


def foreign_trap(queue: Queue) -> Job:
    """Whoever so much as reads it as rq does by default has run it."""
    job = Job.create("x", connection=queue.connection, serializer=JSONSerializer, id="trap")
    job.data = f"cos\nsystem\n(S'touch {MARK}'\ntR.".encode()
    return queue.enqueue_job(job)


def foreign_method(queue: Queue) -> Job:
    job = Job.create("x", connection=queue.connection, serializer=JSONSerializer, id="method")
    job.data = json.dumps([ActivationQueue.FUNCTION, "instance", [], {}]).encode()
    return queue.enqueue_job(job)


def foreign_id(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.FUNCTION, context_id="c1")


def foreign_in_disguise(queue: Queue) -> Job:
    return queue.enqueue("os.system", context_id="c1", job_id="activate-c1")


def foreign_chore(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.chore_function("retention"), context_id="c1")


def foreign_chore_id(queue: Queue) -> Job:
    return queue.enqueue(
        ActivationQueue.chore_function("retention"), job_id="maintain-webhooks"
    )


def foreign_bomb(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.FUNCTION, context_id="c" * 50_000_000)


@pytest.mark.parametrize(
    ("enqueue", "why"),
    [
        (foreign_json, "names os.system, which is not on the worker's allow-list"),
        (foreign_pickle, "not JSON"),
        (foreign_trap, "not JSON"),
        (foreign_method, "is not activate(context_id=...)"),
        (foreign_id, "id is not activate-c1"),
        (foreign_in_disguise, "names os.system"),
        (foreign_chore, "and no chore"),
        (foreign_chore_id, "id is not maintain-retention"),
        (foreign_bomb, "not JSON"),
    ],
)
async def test_a_foreign_job_is_never_run_and_is_seen_as_failed(
    server: StoreServer,
    store: Redis,
    enqueue: Callable[[Queue], Job],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client = rq_client(server)
    job = enqueue(Queue("contextd", connection=client, serializer=JSONSerializer))
    async with open_both(server) as (queue, source):
        await queue.enqueue("good")
        assert await source.take(10) == ["good"]
    assert FailedJobRegistry("contextd", connection=client).get_job_ids() == [job.id]
    result = Job.fetch(job.id, connection=client, serializer=JSONSerializer).latest_result()
    assert result is not None
    assert result.exc_string is not None
    assert why in result.exc_string
    assert not (tmp_path / MARK).exists()


def test_the_functions_that_jobs_name_exist_and_no_others_are_allowed() -> None:
    chores = {ActivationQueue.chore_function(name) for name in ActivationQueue.CHORES}
    assert {ActivationQueue.FUNCTION, *chores} == ALLOWED
    assert import_attribute(ActivationQueue.FUNCTION) is activate
    with pytest.raises(RuntimeError, match="by a worker of contextd only"):
        activate("c1")
    for name, is_about_one in ActivationQueue.CHORES.items():
        chore = import_attribute(ActivationQueue.chore_function(name))
        with pytest.raises(RuntimeError, match="worker of contextd"):
            chore(*(["c1"] if is_about_one else []))
