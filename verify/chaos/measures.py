"""Times as clients see them, with one fault at a time: takeovers and rolling restarts."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from verify.chaos.api import Api, Records
from verify.chaos.polling import until
from verify.chaos.run import not_ready, stopped
from verify.chaos.service import NotReady, Service, open_service
from verify.chaos.settings import ChaosSettings
from verify.chaos.viewers import Viewer
from verify.records import Violation

CONTEXTS = 8
REPLY = "\n/chunks 3000 10"
"""Asks for a reply of half a minute, so that every kill hits in the middle of one."""
HANDS_OVER = {"CONTEXTD_DRAIN_S": "0.5"}
"""A restart does not wait for such a reply: it goes on elsewhere."""
SEEN_S_MAX = 20.0
POLL_S = 0.02
QUIET_S = 0.5
"""How long a worker that has just started is left alone, besides being counted."""
RESTARTED_S_MAX = 90.0
OVER = frozenset({"complete", "failed"})


@dataclass(frozen=True, slots=True)
class RestartSeen:
    """One rolling restart as its clients saw it."""

    took_s: float
    longest_gap_s: float
    """Longest time in which no request was answered."""
    failed: int
    """Requests that were refused, cut or answered 5xx."""
    stream_gaps_s: Sequence[float]
    """Of each stream: from the end of one connection to the first frame of the next."""


@dataclass(slots=True)
class Measures:
    """What was seen."""

    kills: int = 0
    takeovers_s: list[float] = field(default_factory=list[float])
    """Of each reply that was cut: from the kill to the first frame of the successor."""
    restarts: list[RestartSeen] = field(default_factory=list[RestartSeen])
    violations: list[Violation] = field(default_factory=list[Violation])


@dataclass(frozen=True, slots=True)
class _Watched:
    api: Api
    context_ids: Sequence[str]
    viewers: Sequence[Viewer]


async def run_measures(
    server_path: Path,
    folder: Path,
    settings: ChaosSettings,
    *,
    seconds: float,
    progress: Callable[[str], None] = lambda _: None,
) -> Measures:
    """Spend a third of the time on takeovers and the rest on rolling restarts.

    Args:
        server_path: The store's program.
        folder: An empty one; it may be thrown away afterwards.
        settings: How many gateways and workers; nothing else goes wrong here.
        seconds: How long about; each is measured once at least.
        progress: Told after each kill and restart.
    """
    done = Measures()
    began_s = time.monotonic()
    try:
        async with open_service(
            replace(settings, environment=HANDS_OVER), folder, server_path
        ) as service:
            await _measure_takeovers(service, done, began_s + seconds / 3, progress)
            await _measure_restarts(service, done, began_s + seconds, progress)
            done.violations += await stopped(service)
    except* NotReady as failed:
        done.violations += not_ready("measures", failed)
    return done


async def _measure_takeovers(
    service: Service, done: Measures, due_s: float, progress: Callable[[str], None]
) -> None:
    """Kill workers in the middle of replies, one at a time."""
    draw = random.Random(service.settings.seed)
    async with asyncio.TaskGroup() as group:
        watched = await _watch(service, "takeover")
        tasks = [
            group.create_task(viewer.run(), name=viewer.subscriber)
            for viewer in watched.viewers
        ]
        while not done.kills or time.monotonic() < due_s:
            await _reply_everywhere(watched, str(done.kills))
            workers = service.up.of_role("worker")
            if len(workers) <= service.settings.workers:
                await asyncio.sleep(POLL_S)  # the standby is not there yet
                continue
            victim = draw.choice(workers)
            killed_s = time.monotonic()
            service.up.signal(victim, signal.SIGKILL)
            done.kills += 1
            done.takeovers_s += await _restarted(watched.viewers, killed_s)
            progress(f"{done.kills} workers killed, {len(done.takeovers_s)} replies taken over")
            await service.wait_ready(within_s=service.settings.ready_s_max)
            await asyncio.sleep(QUIET_S)
        for task in tasks:
            task.cancel()
    await watched.api.close()


async def _watch(service: Service, name: str) -> _Watched:
    draw = random.Random(name)
    settings = service.settings
    api = Api(
        service.url,
        name,
        Records(),
        draw=draw,
        request_s_max=settings.request_s_max,
        operation_s_max=settings.operation_s_max,
    )
    created = [await api.create(f"{name}.create.{at}", {}) for at in range(CONTEXTS)]
    context_ids = [context_id for context_id in created if context_id is not None]
    if len(context_ids) < CONTEXTS:
        raise NotReady("a service without faults does not make a context")
    viewers = [
        Viewer(service.url, f"{name}{at}", context_id, draw, hangs_up=False)
        for at, context_id in enumerate(context_ids)
    ]
    return _Watched(api, context_ids, viewers)


async def _reply_everywhere(watched: _Watched, serial: str) -> None:
    """Have a new reply run in every context, seen by its viewer."""
    for context_id in watched.context_ids:
        await watched.api.act(context_id, "cancel", {}, key=f"cancel.{serial}")
        content = f"{serial}{REPLY}"
        await watched.api.act(
            context_id, "send_message", {"content": content}, key=f"send.{serial}"
        )

    def all_run() -> bool:
        return all(v.frames and v.frames[-1].event == "reply-delta" for v in watched.viewers)

    if not await until(all_run, within_s=SEEN_S_MAX):
        raise NotReady("replies do not run in all contexts")


async def _restarted(viewers: Sequence[Viewer], killed_s: float) -> list[float]:
    """How long each cut reply took to go on; those that were not cut go on at once."""
    begun = [len(viewer.frames) for viewer in viewers]
    took: dict[str, float] = {}
    due_s = killed_s + SEEN_S_MAX
    while time.monotonic() < due_s:
        going_on = 0
        for viewer, first in zip(viewers, begun, strict=True):
            frames = viewer.frames[first:]
            restarts = [frame for frame in frames if frame.event == "reply-restarted"]
            if restarts:
                took[viewer.subscriber] = restarts[0].received_s - killed_s
            newest_s = frames[-1].received_s if frames else 0.0
            going_on += bool(restarts) or newest_s > killed_s + QUIET_S
        if going_on == len(viewers):
            return list(took.values())
        await asyncio.sleep(POLL_S)
    raise NotReady("a reply does not go on after its worker was killed")


async def _measure_restarts(
    service: Service, done: Measures, due_s: float, progress: Callable[[str], None]
) -> None:
    """Ask for rolling restarts of everything, one after another."""
    while not done.restarts or time.monotonic() < due_s:
        done.restarts.append(await _restart_once(service, len(done.restarts)))
        progress(f"{len(done.restarts)} rolling restarts")


async def _restart_once(service: Service, number: int) -> RestartSeen:
    async with asyncio.TaskGroup() as group:
        watched = await _watch(service, f"restart{number}")
        api = watched.api
        streaming = [
            group.create_task(viewer.run(), name=viewer.subscriber)
            for viewer in watched.viewers
        ]
        await _reply_everywhere(watched, "reply")
        began_s = time.monotonic()
        answer, _ = await api.request("POST", "/admin/restart", {})
        if answer is None or answer.status != 200:
            raise NotReady(f"no rolling restart is begun: {answer}")
        answered_s = [time.monotonic()]
        failed = 0
        status = "requested"
        while status not in OVER:
            reply, _ = await api.request("GET", f"/api/contexts/{watched.context_ids[0]}/state")
            if reply is None or reply.status >= 500:
                failed += 1
            else:
                answered_s.append(time.monotonic())
            told, _ = await api.request("GET", answer.body["report_url"])
            if told is not None and told.status == 200:
                status = told.body["status"]
            if status == "failed" or time.monotonic() - began_s > RESTARTED_S_MAX:
                raise NotReady(
                    f"a rolling restart is {status} after {RESTARTED_S_MAX:g} s or less"
                )
            await asyncio.sleep(POLL_S)
        for task in streaming:
            task.cancel()
    await api.close()
    answered_s.append(time.monotonic())
    gaps = [later - earlier for earlier, later in pairwise(answered_s)]
    return RestartSeen(
        time.monotonic() - began_s,
        max(gaps),
        failed,
        [gap for viewer in watched.viewers for gap in _stream_gaps_s(viewer)],
    )


def _stream_gaps_s(viewer: Viewer) -> list[float]:
    firsts: dict[int, float] = {}
    for frame in viewer.frames:
        firsts.setdefault(frame.connection, frame.received_s)
    return [
        firsts[number + 1] - closed.closed_s
        for number, closed in enumerate(viewer.connections[:-1])
        if closed.closed_s is not None and number + 1 in firsts
    ]
