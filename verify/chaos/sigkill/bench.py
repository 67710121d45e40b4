"""Runs scenarios again and again, each time with a death one point later, and judges each.

One bench is a store, a gateway and a worker; several benches run side by side. A process
that has died is followed by another one at once, as under a supervisor.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from storage import Store, StoreUnavailable
from verify.chaos.api import Api, Records
from verify.chaos.clients import Approvals
from verify.chaos.service import free_port
from verify.chaos.sigkill.family import BirthFailed, Family, Member
from verify.chaos.sigkill.fuse import When
from verify.chaos.sigkill.scenarios import (
    GATEWAY_SCENARIOS,
    WORKER_SCENARIOS,
    Component,
    Scenario,
    Stage,
    Stuck,
)
from verify.chaos.viewers import Viewer
from verify.chaos.witnessing import check_witness
from verify.history import check_history
from verify.linearizability import check_linearizability
from verify.records import Final, Json, Violation
from verify.streams import check_streams

COMPONENTS: tuple[Component, ...] = ("worker", "gateway")
REST_S_MAX = 15.0
PASSIVATED_S = 0.08
"""How long a worker is waited for that may still die while it lets the context go."""
BURY_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Series:
    """One scenario with one process to die, over all of its points."""

    component: Component
    scenario: str
    when: When
    snapshots: str

    @property
    def name(self) -> str:
        """For a person."""
        files = ", files" if self.snapshots != "store" else ""
        return f"{self.component} / {self.scenario}{files} / {self.when}"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One death, or one and another in the recovery from it."""

    series: Series
    at: int
    second: tuple[int, When] | None = None


@dataclass(slots=True)
class SigkillReport:
    """What all crash points have shown."""

    kills: int = 0
    points: int = 0
    """Scenarios in which a process has died where it should."""
    operations: int = 0
    acknowledged: int = 0
    pairs: int = 0
    """Points in which the successor died as well."""
    series: int = 0
    """How many there are."""
    series_done: int = 0
    """Played until nobody died any more."""
    took_s: float = 0.0
    matrix: dict[tuple[str, str, str], Counter[str]] = field(
        default_factory=dict[tuple[str, str, str], Counter[str]]
    )
    """Outcomes by component, point and when."""
    violations: list[Violation] = field(default_factory=list[Violation])


class Bench:
    """A store, a gateway and a worker, of which one dies at each point."""

    def __init__(self, number: int, folder: Path, family: Family, *, snapshots: str) -> None:
        """Take a folder that benches share; nothing is started yet."""
        self.name = f"b{number}"
        self.data = folder / f"data-{number}"
        self.data.mkdir()
        self.snapshots = snapshots
        self._folder = folder
        self._family = family
        self._port = free_port()
        self._members: dict[Component, Member] = {}
        self._there: dict[Component, asyncio.Event] = {
            "worker": asyncio.Event(),
            "gateway": asyncio.Event(),
        }
        self._arm_next: dict[Component, tuple[int, When]] = {}
        self._serial = 0
        self._births = 0
        self._second_deaths = 0

    @property
    def url(self) -> str:
        """Of the store."""
        return f"unix://{self.data / 'store.sock'}"

    async def keep(self, component: Component, store: Store) -> None:
        """Have one process of a kind at all times, until cancelled."""
        while True:
            self._births += 1
            name = f"{self.name}-{component}-{self._births}"
            armed = self._arm_next.pop(component, None)
            config: dict[str, Json] = (
                {"worker_id": name, "linger_s": 0.02, "scripted_chunk_ms": 0, "drain_s": 0.05}
                if component == "worker"
                else {"port": self._port, "gateway_drain_s": 0.2, "auth": "off"}
            )
            member = self._family.fork(
                name,
                component,
                url=self.url,
                storage={"snapshots": self.snapshots},
                config=config,
                arm=armed,
            )
            await self._family.ready(member)
            if not member.ready.is_set() and member.died_at is None:
                raise BirthFailed(f"{name} ended with {member.code}: {member.error}")
            self._members[component] = member
            self._there[component].set()
            await member.ended.wait()
            self._there[component].clear()
            self._second_deaths += armed is not None and member.died_at is not None
            if component == "worker":
                await _bury(store, name)

    async def run(self, point: CrashPoint, report: SigkillReport) -> bool:
        """Play one point and judge it; False if nobody died: the series is over."""
        series = point.series
        scenarios = WORKER_SCENARIOS if series.component == "worker" else GATEWAY_SCENARIOS
        for there in self._there.values():
            await there.wait()
        member = self._members[series.component]
        self._serial += 1
        serial = f"{self.name}-{self._serial}"
        records, approvals = Records(), Approvals()
        draw = random.Random(serial)
        api = Api(
            f"http://127.0.0.1:{self._port}",
            serial,
            records,
            draw=draw,
            request_s_max=4.0,
            operation_s_max=REST_S_MAX,
            retry_pause_s_max=0.02,
        )
        try:
            context_id = await api.create(f"{serial}.create", {})
            if context_id is None:
                raise BirthFailed("a service without faults does not make a context")
            await self._family.arm(member, point.at, series.when)
            if point.second is not None:
                self._arm_next[series.component] = point.second
            stage = Stage(
                api,
                context_id,
                serial,
                approvals,
                lambda: self._family.signal(member, signal.SIGTERM),
                REST_S_MAX,
            )
            viewer = Viewer(
                f"http://127.0.0.1:{self._port}", serial, context_id, draw, hangs_up=False
            )
            seconds_before = self._second_deaths
            violations = await self._play(scenarios[series.scenario], stage, viewer, member)
            if member.died_at is None and not member.ended.is_set():
                await self._family.arm(member, 0, series.when)
            if point.second is not None:
                self._arm_next.pop(series.component, None)
                await self._there[series.component].wait()
                await self._family.arm(self._members[series.component], 0, series.when)
        finally:
            await api.close()
        acked = sum(1 for one in records.operations if one.returned_s is not None)
        report.operations += len(records.operations) + len(records.reads)
        report.acknowledged += acked + len(records.reads)
        if member.died_at is not None:
            report.points += 1
            report.pairs += self._second_deaths - seconds_before
            row = (series.component, *member.died_at)
            outcomes = report.matrix.setdefault(row, Counter())
            outcomes[_outcome(stage, viewer, violations)] += 1
        where = {"series": series.name, "at": point.at, "second": point.second}
        report.violations += [
            Violation(v.check, v.context_id, v.text, {**v.evidence, "crash_point": where})
            for v in (*violations, *_oddities(records))
        ]
        return member.died_at is not None

    async def _play(
        self, scenario: Scenario, stage: Stage, viewer: Viewer, member: Member
    ) -> list[Violation]:
        """Let the conversation happen, go on with it after the death, and judge all of it."""
        final: Json = None
        found: list[Violation] = []
        records = stage.api.records
        deletes = False
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(viewer.run(), name="viewer")
            try:
                await scenario(stage)
                deletes = any(one.kind == "delete" for one in records.operations)
                if not member.ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PASSIVATED_S):
                            await member.ended.wait()
                if member.ended.is_set() and not deletes:
                    # Whatever it died of, the next message is answered.
                    await stage.send("still there?", number=9)
                if not deletes:
                    final = await stage.rest()
                    await _caught_up(viewer, final["cursor"])
            except Stuck as stuck:
                evidence = {"state": str(stuck), "cursor": viewer.cursor}
                found.append(
                    Violation("stuck", stage.context_id, "it did not come to rest", evidence)
                )
            watching.cancel()
        finals = [Final.of(final)] if final else []
        if deletes:
            finals = [Final(context_id=stage.context_id, found=False)]
        recordings = [] if deletes else [viewer.recording()]
        found += check_history(records.operations, records.reads, finals)
        found += check_linearizability(
            records.operations, records.reads, finals, decided_once=False
        )
        found += check_streams(recordings, finals)
        states = [final] if final else []
        found += check_witness(
            self._folder / "traces", consented=stage.approvals.consented, states=states
        )
        return found


async def _caught_up(viewer: Viewer, cursor: str) -> None:
    due_s = time.monotonic() + REST_S_MAX
    while viewer.cursor != cursor:
        if time.monotonic() > due_s:
            raise Stuck(f"the stream is at {viewer.cursor}, the context at {cursor}")
        await asyncio.sleep(0.005)


async def _bury(store: Store, worker_id: str) -> None:
    """Free what a dead worker had, as its supervisor does."""
    while True:
        try:
            await store.sessions.bury(worker_id)
        except StoreUnavailable:
            await asyncio.sleep(BURY_AGAIN_S)
        else:
            return


def _outcome(stage: Stage, viewer: Viewer, violations: list[Violation]) -> str:
    """What a client saw of a death."""
    if violations:
        return "VIOLATION"
    if "person asked" in stage.seen:
        return "person asked"
    if any(frame.event == "reply-restarted" for frame in viewer.frames):
        return "reply restarted"
    if len(viewer.connections) > 1:
        return "stream resumed"
    return "unseen"


def _oddities(records: Records) -> list[Violation]:
    return [Violation(check, c, text, {}) for check, c, text in records.oddities]
