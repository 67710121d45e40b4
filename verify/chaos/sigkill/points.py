"""Which crash points there are, and the order in which benches play them.

Every series is played once from its first point until nobody dies any more; what time is left
goes to pairs: a death, and another one in the recovery from it.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from storage import connect
from storage.config import StorageConfig
from verify.chaos import witness
from verify.chaos.sigkill.bench import COMPONENTS, Bench, CrashPoint, Series, SigkillReport
from verify.chaos.sigkill.family import Family, open_family
from verify.chaos.sigkill.fuse import WHENS
from verify.chaos.sigkill.scenarios import GATEWAY_SCENARIOS, WORKER_SCENARIOS
from verify.chaos.store import OwnStore

POINTS_MAX = 80
"""Of one series: more commands than any scenario needs."""
LATEST_SECOND = 12
"""At which of its points the successor dies at the latest, where two are to die."""


def all_series(snapshots: str) -> list[Series]:
    """Every series that a bench with such snapshots plays."""
    found = [
        Series("worker", name, when, snapshots) for when in WHENS for name in WORKER_SCENARIOS
    ]
    if snapshots == "store":
        found += [
            Series("gateway", name, when, snapshots)
            for when in WHENS
            for name in GATEWAY_SCENARIOS
        ]
    return found


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the benches are to do, and where."""

    server_path: Path
    folder: Path
    seed: int
    waiting: dict[str, deque[Series]]
    """Series not begun, by where snapshots go."""
    lengths: dict[Series, int]
    """Points of each series that was played to its end: pairs are drawn from these."""
    over: Callable[[], bool]
    """Whether it is enough."""


async def run_sigkill(
    server_path: Path,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    benches: int = 2,
    kills_max: int = 1_000_000,
    chosen: Callable[[Series], bool] = lambda _: True,
    progress: Callable[[str], None] = lambda _: None,
) -> SigkillReport:
    """Enumerate all crash points once, then pairs by chance, while there is time.

    Args:
        server_path: The store's program.
        folder: An empty one; it may be thrown away afterwards.
        seconds: How long at most.
        seed: Of the order and of the pairs.
        benches: How many side by side; the first keeps its snapshots in files.
        kills_max: Deaths that are enough.
        chosen: Which series are played.
        progress: Told after each point how far it is.
    """
    report = SigkillReport()
    began_s = time.monotonic()
    witness.install(folder / "packages")
    files = f"json:{folder / 'snapshots'}"
    waiting: dict[str, deque[Series]] = {}
    for snapshots in ("store", files):
        series = list(filter(chosen, all_series(snapshots)))
        # Shuffled: a run that has not the time for all has some of everything.
        random.Random(seed).shuffle(series)
        waiting[snapshots] = deque(series)
    report.series = sum(map(len, waiting.values()))
    environment = {witness.TRACES: str(folder / "traces")}
    async with open_family(folder, environment) as family:
        plan = _Plan(
            server_path,
            folder,
            seed,
            waiting,
            {},
            lambda: time.monotonic() - began_s > seconds or family.kills >= kills_max,
        )
        async with asyncio.TaskGroup() as group:
            for number in range(benches):
                bench = Bench(
                    number, folder, family, snapshots=files if number == 0 else "store"
                )
                group.create_task(
                    _run_bench(bench, plan, family, report, progress), name=f"bench {number}"
                )
        report.kills = family.kills
    report.took_s = time.monotonic() - began_s
    return report


async def _run_bench(
    bench: Bench,
    plan: _Plan,
    family: Family,
    report: SigkillReport,
    progress: Callable[[str], None],
) -> None:
    own_store = OwnStore(plan.server_path, bench.data)
    await own_store.start()
    try:
        async with connect(bench.url, StorageConfig()) as store, asyncio.TaskGroup() as group:
            keepers = [
                group.create_task(bench.keep(component, store), name=f"keep {component}")
                for component in COMPONENTS
            ]
            async for _ in _play_all(bench, plan, report):
                progress(f"{report.points} crash points, {family.kills} kills")
            for keeper in keepers:
                keeper.cancel()
    finally:
        own_store.kill()


async def _play_all(
    bench: Bench, plan: _Plan, report: SigkillReport
) -> AsyncGenerator[bool, None]:
    """Each series from its first point on until nobody dies any more; then pairs."""
    waiting = plan.waiting[bench.snapshots]
    draw = random.Random(f"{plan.seed}/{bench.name}")
    while waiting and not plan.over():
        series = waiting.popleft()
        for at in range(1, POINTS_MAX):
            if plan.over():
                return
            died = await bench.run(CrashPoint(series, at), report)
            yield died
            if not died:
                plan.lengths[series] = at - 1
                report.series_done += 1
                break
    played = [
        s for s, length in plan.lengths.items() if length and s.snapshots == bench.snapshots
    ]
    while played and not plan.over():
        series = draw.choice(played)
        second = (draw.randint(1, LATEST_SECOND), draw.choice(WHENS))
        at = draw.randint(1, plan.lengths[series])
        yield await bench.run(CrashPoint(series, at, second), report)
