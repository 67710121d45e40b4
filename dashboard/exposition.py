"""Statistics for Prometheus: of the whole service, whichever gateway is asked.

Counters and histograms are those of the store, so they go on over restarts of processes; what
a single process has is labelled with it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from storage import KINDS, Memory, Statistics

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0),
)
"""Upper bounds of the histograms' buckets."""

_COUNTERS: Final[Mapping[str, tuple[str, str]]] = {
    "contexts:created": ("contexts_created", "Contexts created."),
    "contexts:deleted": ("contexts_deleted", "Contexts deleted."),
    "actions:delivered": ("actions_delivered", "Actions put into mailboxes."),
    "turns:started": ("turns_started", "Turns begun; a retry of a failed one begins again."),
    "saves": ("commits", "Commits of events."),
    "saves:clean": ("saves_skipped", "Occasions to save a context that had not changed."),
    "saves:snapshots": ("snapshots", "Snapshots written to the store."),
    "saves:bytes": ("event_bytes", "Bytes of committed events."),
    "announcements:throttled": ("announcements_throttled", "Announcements not made."),
    "announcements:dropped": ("announcements_dropped", "Announcements not kept."),
    "announcements:skipped": (
        "announcements_skipped",
        "Announcements not sent.",
    ),
}
_LABELLED: Final[Mapping[str, tuple[str, str, str]]] = {
    "actions": ("actions_ended", "outcome", "Actions taken out of mailboxes."),
    "turns": ("turns_ended", "outcome", "Turns ended."),
    "errors": ("errors", "type", "Refusals by problem type, and failures in workers."),
}
_NOT_AN_END: Final = frozenset({"actions:delivered", "turns:started"})


def exposition(found: Statistics, memory: Memory) -> bytes:
    """Statistics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(found, memory))
    return generate_latest(registry)


class _Found(Collector):
    """One look at the statistics, as a source of metrics."""

    def __init__(self, found: Statistics, memory: Memory) -> None:
        self._found = found
        self._memory = memory

    @override
    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        found = self._found
        yield from self._gauges()
        for name, (metric, text) in _COUNTERS.items():
            yield CounterMetricFamily(
                f"contextd_{metric}", text, value=found.totals.get(name, 0)
            )
        for family, (metric, label, text) in _LABELLED.items():
            counter = CounterMetricFamily(f"contextd_{metric}", text, labels=[label])
            for name, number in found.totals.items():
                if name.startswith(f"{family}:") and name not in _NOT_AN_END:
                    counter.add_metric([name.partition(":")[2]], number)
            yield counter
        for kind in KINDS:
            yield _histogram(kind, found.since_ever.get(kind, {}))
        yield from self._of_processes()

    def _gauges(self) -> Iterator[Metric]:
        found = self._found
        phases = GaugeMetricFamily(
            "contextd_contexts", "Contexts by their phase.", labels=["phase"]
        )
        for phase, number in found.by_phase.items():
            phases.add_metric([phase], number)
        yield phases
        oldest_ms = found.oldest_mail_ms
        waits_s = 0.0 if oldest_ms is None else max(0, found.at_ms - oldest_ms) / 1_000
        for name, text, value in (
            ("mailbox_waiting", "Actions that wait in mailboxes.", found.mail_waiting),
            ("mailbox_oldest_seconds", "How long the oldest of them waits.", waits_s),
            (
                *("contexts_active", "Contexts that workers have in memory."),
                sum(process.load.get("active", 0) for process in found.processes),
            ),
            ("dead_letters", "What was given up.", found.dead_letters),
            ("store_memory_bytes", "Memory of the store.", self._memory.used_bytes),
        ):
            yield GaugeMetricFamily(f"contextd_{name}", text, value=value)

    def _of_processes(self) -> Iterator[Metric]:
        labels = ["process", "role"]
        up = GaugeMetricFamily("contextd_process_up", "It has reported lately.", labels=labels)
        memory = GaugeMetricFamily(
            "contextd_process_memory_bytes", "Resident memory, at most so far.", labels=labels
        )
        cpu = GaugeMetricFamily(
            "contextd_process_cpu_ratio", "Seconds of processor time per second.", labels=labels
        )
        lag = GaugeMetricFamily(
            "contextd_process_loop_lag_seconds", "How late its loop is.", labels=labels
        )
        load = GaugeMetricFamily(
            "contextd_process_load", "What it has at work.", labels=[*labels, "what"]
        )
        for process in self._found.processes:
            named = [process.id, process.role]
            up.add_metric(named, 1)
            memory.add_metric(named, process.memory_bytes)
            cpu.add_metric(named, process.cpu)
            lag.add_metric(named, process.lag_ms / 1_000)
            for what, number in process.load.items():
                load.add_metric([*named, what], number)
        yield from (up, memory, cpu, lag, load)


def _histogram(kind: str, bins: Mapping[float, int]) -> HistogramMetricFamily:
    """Histogram buckets from a sketch's bins, each counted at its middle: exact within 1 %."""
    bars = [
        (str(bound), float(sum(n for ms, n in bins.items() if ms <= bound * 1_000)))
        for bound in BOUNDS_S
    ]
    count = float(sum(bins.values()))
    return HistogramMetricFamily(
        f"contextd_{kind}_seconds",
        f"How long it took: {kind.replace('_', ' ')}.",
        buckets=[*bars, ("+Inf", count)],
        sum_value=sum(ms * n for ms, n in bins.items()) / 1_000,
    )
