"""Sixteen clients send at once, under each policy, while workers are killed with kill -9.

`--long` runs a hundred races of each policy; this is its short form.
"""

import asyncio
import time
from typing import Final, get_args

import pytest

from fsm import SendPolicy
from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import Service, kill
from verify.finals import check_rest
from verify.logs import check_logs
from verify.promises import check_policy
from verify.records import Cursor, Final as FinalState, Log, Operation, Outcome, number_of

pytestmark = pytest.mark.timeout(1_800)

POLICIES: Final[tuple[SendPolicy, ...]] = get_args(SendPolicy)
RACES: Final = 3
"""Of each policy, all at once."""
ROUNDS_LONG: Final = 34
SENDERS: Final = 16
KILLS: Final = 4
FIRST: Final = "m0\n/chunks 120 20"
FIRST_STEERED: Final = 'm0\n/tool calculator {"expression": "6*7"}\n/chunks 120 20'
ATTEMPTS: Final = {"limits": {"attempts_max": 20}, "tool_policy": {"mode": "auto_loop"}}


async def send(
    client: HttpClient, context_id: str, content: str, policy: SendPolicy, *, gateway: int
) -> Operation:
    """Send under a key until it is known what has become of it."""
    called_s = time.monotonic()
    body = {"content": content, "policy": policy}
    key = content.partition("\n")[0]
    reply = await client.act(context_id, "send_message", body, key=key, gateway=gateway)
    told = reply.body
    applied = reply.status == 200
    assert reply.status in {200, 202, 409}, reply
    return Operation(
        client=content,
        context_id=context_id,
        kind="send_message",
        content=content,
        policy=policy,
        key=key,
        called_s=called_s,
        returned_s=time.monotonic(),
        outcome=(
            Outcome.APPLIED
            if applied
            else Outcome.ACCEPTED
            if reply.status == 202
            else Outcome.REFUSED
        ),
        code=None if reply.status < 300 else told["type"].removeprefix("/problems/"),
        action_id=number_of(told["action"]["id"]) if reply.status < 300 else None,
        version=told["action"]["version"] if applied else None,
        epoch=Cursor.parse(told["context"]["cursor"]).epoch if applied else None,
    )


async def race(client: HttpClient, policy: SendPolicy) -> list[Operation]:
    """One context: a turn runs, and everybody sends."""
    context_id = await client.create(config=ATTEMPTS)
    first = FIRST_STEERED if policy == "steer" else FIRST
    sent = [await send(client, context_id, first, "enqueue", gateway=0)]
    async with asyncio.TaskGroup() as group:
        sending = [
            group.create_task(
                send(
                    client,
                    context_id,
                    f"m{number:02}\n/chunks 2 5",
                    policy,
                    gateway=number % 2,
                )
            )
            for number in range(1, SENDERS + 1)
        ]
    return sent + [task.result() for task in sending]


async def judge(client: HttpClient, policy: SendPolicy, sent: list[Operation]) -> list[str]:
    """What is wrong with a context once it rests."""
    context_id = sent[0].context_id
    context: Json = await client.rested(context_id)
    exported = await client.request("GET", f"/api/contexts/{context_id}/export")
    log = Log(context_id=context_id, events=tuple(exported.body["events"]))
    final = FinalState.of(context)
    found = [
        *check_policy(policy, sent, log),
        *check_logs(sent, (), (), (final,), (log,), accepted_may_be_refused=policy == "reject"),
        *check_rest((final,)),
    ]
    return [f"{policy}: {one.check}: {one.text} {one.evidence}" for one in found]


async def race_all(
    service: Service, client: HttpClient
) -> list[tuple[SendPolicy, list[Operation]]]:
    """Races of every policy at once, and kills meanwhile."""
    async with asyncio.TaskGroup() as group:
        racing: list[tuple[SendPolicy, asyncio.Task[list[Operation]]]] = [
            (policy, group.create_task(race(client, policy)))
            for policy in POLICIES
            for _ in range(RACES)
        ]
        for number in range(KILLS):
            await asyncio.sleep(0.4)
            workers = service.processes("worker")
            for process_id in workers[number % 2 :][:1]:
                kill(process_id)
    return [(policy, task.result()) for policy, task in racing]


async def test_every_policy_keeps_its_promise_while_workers_are_killed(
    request: pytest.FixtureRequest,
) -> None:
    faults: list[str] = []
    refused = 0
    # Who is killed so often would be started again only after a while.
    with Service(workers=2, restart_backoff_s_max=0.1) as service:
        second_url = f"http://127.0.0.1:{service.join_gateway()}"
        async with HttpClient(service.url, second_url) as client:
            for _ in range(ROUNDS_LONG if request.config.getoption("--long") else 1):
                for policy, sent in await race_all(service, client):
                    faults += await judge(client, policy, sent)
                    refused += sum(one.outcome is Outcome.REFUSED for one in sent)
    assert faults == []
    assert refused > 0
