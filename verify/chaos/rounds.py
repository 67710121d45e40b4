"""One round: fresh contexts, clients and viewers under fault, then rest, then judgement."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from verify.chaos.api import Api, Records
from verify.chaos.clients import Approvals, Client
from verify.chaos.model import ModelServer
from verify.chaos.nemesis import Act, Nemesis
from verify.chaos.polling import until
from verify.chaos.service import NotReady, Service
from verify.chaos.viewers import Viewer
from verify.chaos.witnessing import check_witness
from verify.records import (
    Final,
    Json,
    Log,
    ModelCall,
    Operation,
    Read,
    StreamRecording,
    Violation,
)

SOCKET_RATE = 0.4
"""Share of the viewers' connections that are WebSockets."""
POLL_RATE = 0.25
"""Share of them that are long polls for events."""
CATCH_UP_S_MAX = 20.0
"""How long viewers may take to see the end of a context that rests."""


@dataclass(frozen=True, slots=True)
class Round:
    """The records of one round, and what is wrong without any checker."""

    number: int
    contexts: Sequence[str]
    operations: Sequence[Operation]
    reads: Sequence[Read]
    finals: Sequence[Final]
    recordings: Sequence[StreamRecording]
    logs: Sequence[Log]
    model_calls: Sequence[ModelCall]
    acts: Sequence[Act]
    tries: Counter[str]
    answered_at_s: Sequence[float]
    violations: Sequence[Violation]
    rested_in_s: float
    """From the end of the faults until everything was at rest."""


async def run_round(service: Service, number: int, model: ModelServer) -> Round:
    """Run one round on a service that is ready, and whose workers ask this model."""
    settings = service.settings
    records, approvals = Records(), Approvals()
    draw = random.Random(f"{settings.seed}/{number}")
    apis = [
        Api(
            service.url,
            f"r{number}c{client}",
            records,
            draw=random.Random(draw.random()),
            request_s_max=settings.request_s_max,
            operation_s_max=settings.operation_s_max,
        )
        for client in range(settings.clients)
    ]
    contexts = await _create_contexts(apis[0], number, settings.contexts)
    clients = [
        Client(
            at,
            api,
            contexts,
            approvals,
            draw=random.Random(draw.random()),
            settings=settings,
        )
        for at, api in enumerate(apis)
    ]
    viewers = [
        Viewer(
            service.url,
            f"r{number}s{at}",
            contexts[at % len(contexts)],
            random.Random(draw.random()),
            socket_rate=SOCKET_RATE,
            poll_rate=POLL_RATE,
        )
        for at in range(settings.streams)
    ]
    violations: list[Violation] = []
    async with asyncio.TaskGroup() as group:
        nemesis = Nemesis(
            service,
            group,
            random.Random(draw.random()),
        )
        watching = [
            group.create_task(viewer.run(), name=viewer.subscriber) for viewer in viewers
        ]
        until_s = time.monotonic() + settings.round_s
        async with asyncio.TaskGroup() as acting:
            acting.create_task(_harm(nemesis, until_s), name="nemesis")
            for client in clients:
                acting.create_task(client.run(until_s), name="client")
        faults_end_s = time.monotonic()
        try:
            await _ready_again(service)
        except NotReady as error:
            violations.append(_not_ready(service, error))
        for viewer in viewers:
            viewer.hangs_up = False
        states = await _bring_to_rest(clients, contexts, within_s=settings.rest_s_max)
        rested_s = time.monotonic()
        violations += await _caught_up(viewers, states)
        for task in watching:
            task.cancel()
    logs = await _logs(apis[0], list(states))
    for api in apis:
        await api.close()
    finals = tuple(Final.of(state) for state in states.values())
    violations += _stuck(contexts, states)
    violations += [Violation(check, c, text, {}) for check, c, text in records.oddities]
    violations += check_witness(
        service.traces, consented=approvals.consented, states=states.values()
    )
    return Round(
        number=number,
        contexts=contexts,
        operations=records.operations,
        reads=records.reads,
        finals=finals,
        recordings=[viewer.recording() for viewer in viewers],
        logs=logs,
        model_calls=model.taken(),
        acts=nemesis.acts,
        tries=records.tries,
        answered_at_s=records.answered_at_s,
        violations=violations,
        rested_in_s=rested_s - faults_end_s,
    )


async def _ready_again(service: Service) -> None:
    """Wait for the service; a supervisor that has ended is started again, as systemd does.

    One whose store was killed while it started the first time ends with code 1.

    Raises:
        NotReady: It is not ready in time.
    """
    rest_s_max = service.settings.rest_s_max
    try:
        await service.wait_ready(within_s=rest_s_max)
    except NotReady:
        if service.up.exit_code is None:
            raise
        await service.relaunch()
        await service.wait_ready(within_s=rest_s_max)


async def _harm(nemesis: Nemesis, until_s: float) -> None:
    await nemesis.run(until_s)
    await nemesis.settle()


async def _create_contexts(api: Api, number: int, count: int) -> list[str]:
    # As many attempts and as long a turn as allowed: what fails here is meant to be the
    # service, not the patience of a turn.
    config = {"limits": {"attempts_max": 20, "turn_s_max": 3_600, "backoff_ms_max": 500}}
    contexts: list[str] = []
    for at in range(count):
        body = {"title": f"round {number}, context {at}", "config": config}
        context_id = await api.create(f"create.{api.client}.{at}", body)
        if context_id is None:
            raise NotReady("a service without faults does not make a context")
        contexts.append(context_id)
    return contexts


async def _bring_to_rest(
    clients: Sequence[Client], contexts: Sequence[str], *, within_s: float
) -> dict[str, Json]:
    """Final states by context; a context that does not rest has None."""
    owner = {context_id: client for client in clients for context_id in client.own}
    async with asyncio.TaskGroup() as group:
        tasks = {
            context_id: group.create_task(
                owner.get(context_id, clients[0]).bring_to_rest(context_id, within_s=within_s),
                name=f"rest {context_id}",
            )
            for context_id in contexts
        }
    return {context_id: task.result() for context_id, task in tasks.items() if task.result()}


async def _caught_up(viewers: Sequence[Viewer], states: dict[str, Json]) -> list[Violation]:
    """Wait until every viewer has seen the end; returns findings about those that have not."""

    def behind() -> list[Viewer]:
        return [
            viewer
            for viewer in viewers
            if viewer.context_id in states
            and viewer.cursor != states[viewer.context_id]["cursor"]
        ]

    await until(lambda: not behind(), within_s=CATCH_UP_S_MAX)
    return [
        Violation(
            "stream-behind",
            viewer.context_id,
            f"a stream did not show the end within {CATCH_UP_S_MAX:g} s of rest",
            {
                "subscriber": viewer.subscriber,
                "cursor": viewer.cursor,
                "final": states[viewer.context_id]["cursor"],
                "statuses": viewer.statuses[-5:],
            },
        )
        for viewer in behind()
    ]


async def _logs(api: Api, contexts: Sequence[str]) -> list[Log]:
    """The logs of contexts that rest.

    Raises:
        NotReady: A service without faults does not tell one.
    """
    logs: list[Log] = []
    for context_id in contexts:
        answer, error = await api.request("GET", f"/api/contexts/{context_id}/export")
        if answer is None or answer.status != 200:
            raise NotReady(f"a log cannot be read: {answer.code if answer else error}")
        logs.append(Log(context_id=context_id, events=tuple(answer.body["events"])))
    return logs


def _stuck(contexts: Sequence[str], states: dict[str, Json]) -> list[Violation]:
    return [
        Violation("stuck", context_id, "it did not come to rest once the faults were over", {})
        for context_id in contexts
        if context_id not in states
    ]


def _not_ready(service: Service, error: NotReady) -> Violation:
    evidence = {"log": service.up.tail(), "error": str(error)[:400]}
    text = "the service was not ready again once the faults were over"
    return Violation("not-ready", "", text, evidence)
