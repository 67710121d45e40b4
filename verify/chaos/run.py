"""A run of chaos: rounds on each form of the service, judged by what clients wrote down."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from verify.chaos.model import ModelServer, open_model
from verify.chaos.rounds import Round, run_round
from verify.chaos.service import NotReady, Service, open_service
from verify.chaos.settings import ChaosSettings, Form
from verify.history import check_history
from verify.logs import check_logs
from verify.model_calls import check_model_calls
from verify.records import Outcome, Violation
from verify.streams import check_streams

KILLS = frozenset({"kill-worker", "kill-gateway", "kill-store", "kill-supervisor"})
ROUND_REST_S = 12.0
"""What the rest and the judgement of a round take, about; for the plan only."""
ROUND_S_MIN = 5.0


@dataclass(slots=True)
class ChaosReport:
    """What a run has done, and what is wrong."""

    seed: int
    rounds: int = 0
    took_s: float = 0.0
    acts: Counter[str] = field(default_factory=Counter[str])
    wire_faults: Counter[str] = field(default_factory=Counter[str])
    """What the proxy did to connections and commands."""
    operations: int = 0
    acknowledged: int = 0
    """Actions answered 2xx or 4xx, and reads answered."""
    unknown: int = 0
    """Actions without an answer until their time was over."""
    tries: Counter[str] = field(default_factory=Counter[str])
    frames: int = 0
    connections: int = 0
    """Of streams."""
    contexts: int = 0
    model_calls: int = 0
    rested_in_s: list[float] = field(default_factory=list[float])
    violations: list[Violation] = field(default_factory=list[Violation])

    @property
    def kills(self) -> int:
        """Processes that were ended by kill -9."""
        return sum(count for kind, count in self.acts.items() if kind in KILLS)

    @property
    def pauses(self) -> int:
        """Processes that were frozen."""
        return sum(count for kind, count in self.acts.items() if "pause" in kind)

    def add(self, done: Round) -> None:
        """Count a round in."""
        self.rounds += 1
        self.acts.update(act.kind for act in done.acts)
        self.operations += len(done.operations) + len(done.reads)
        unknown = sum(1 for one in done.operations if one.outcome is Outcome.UNKNOWN)
        self.unknown += unknown
        self.acknowledged += len(done.operations) + len(done.reads) - unknown
        self.tries.update(done.tries)
        self.frames += sum(len(one.frames) for one in done.recordings)
        self.connections += sum(len(one.connections) for one in done.recordings)
        self.contexts += len(done.contexts)
        self.model_calls += len(done.model_calls)
        self.rested_in_s.append(done.rested_in_s)
        self.violations += judge(done)


def judge(done: Round) -> list[Violation]:
    """Everything that is wrong with a round."""
    return [
        *done.violations,
        *check_history(done.operations, done.reads, done.finals),
        *check_streams(done.recordings, done.finals),
        *check_logs(done.operations, done.reads, done.recordings, done.finals, done.logs),
        *check_model_calls(done.model_calls, done.logs),
    ]


async def run_chaos(
    server_path: Path,
    folder: Path,
    settings: ChaosSettings,
    *,
    seconds: float,
    forms: Sequence[Form] = ("proxied", "embedded"),
    progress: Callable[[str], None] = lambda _: None,
) -> ChaosReport:
    """Give each form of the service its share of the time.

    Args:
        server_path: The store's program.
        folder: An empty one; it may be thrown away afterwards.
        settings: Of every round; `form` is set here.
        seconds: How long about; a round that has begun is brought to its end.
        forms: Which, in order.
        progress: Told after each round how far it is.
    """
    report = ChaosReport(settings.seed)
    began_s = time.monotonic()
    for number, form in enumerate(forms):
        due_s = began_s + seconds * (number + 1) / len(forms)
        place = folder / form
        place.mkdir()
        try:
            async with open_model(settings.seed) as model:
                asking = {**settings.environment, "CONTEXTD_MODEL_BASE_URL": model.url}
                shaped = replace(settings, form=form, environment=asking)
                async with open_service(shaped, place, server_path) as service:
                    await _rounds(service, model, report, due_s, progress)
                    report.violations += await stopped(service)
        except* NotReady as failed:
            report.violations += not_ready(form, failed)
    report.took_s = time.monotonic() - began_s
    return report


def not_ready(what: str, failed: ExceptionGroup[NotReady]) -> list[Violation]:
    """A service that was not there in time, as findings."""
    return [
        Violation(
            "not-ready", "", f"{what}: {str(error).partition(':')[0]}", {"error": str(error)}
        )
        for error in _leaves(failed)
    ]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    else:
        yield error


async def _rounds(
    service: Service,
    model: ModelServer,
    report: ChaosReport,
    due_s: float,
    progress: Callable[[str], None],
) -> None:
    settings = service.settings
    while True:
        left_s = due_s - time.monotonic()
        if report.rounds and left_s < ROUND_S_MIN + ROUND_REST_S and settings.round_s > left_s:
            return
        round_s = max(ROUND_S_MIN, min(settings.round_s, left_s - ROUND_REST_S))
        service.settings = replace(settings, round_s=round_s)
        report.add(await run_round(service, report.rounds, model))
        if service.proxy is not None:
            report.wire_faults.update(service.proxy.counts)
            service.proxy.counts.clear()
        progress(
            f"{settings.form} round {report.rounds}: {report.kills} kills, "
            f"{report.acknowledged} operations acknowledged, "
            f"{len(report.violations)} violations"
        )


async def stopped(service: Service) -> list[Violation]:
    """Stop a service; what does not go as it should."""
    return [
        Violation("stop", "", text, {"log": service.up.tail()}) for text in await service.stop()
    ]
