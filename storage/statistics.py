"""What there is in the store and what there has been, all processes together."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from ddsketch import DDSketch

import storage.keys as keys
from storage.link import Link
from storage.meters import ACCURACY, MAPPING, SLOT_S, SLOTS, Process
from storage.scripts import Scripts

PERCENTILES: Final = (0.5, 0.95, 0.99)

_Flat: TypeAlias = list[bytes]
_Surveyed: TypeAlias = tuple[
    int, _Flat, _Flat, int, int, _Flat, list[_Flat], _Flat, list[tuple[bytes, object]]
]
"""What survey.lua returns."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one kind of thing took."""

    count: int
    percentiles_ms: tuple[float, ...]
    """Of PERCENTILES; 0 where nothing was timed."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """One look at all of it."""

    at_ms: int
    """By the store's clock."""
    totals: Mapping[str, int]
    """By name; `since` is when they began (Unix time in ms)."""
    processes: Sequence[Process]
    contexts: int
    dead_letters: int
    oldest_mail_ms: int | None
    """Since when the oldest mail of a context waits that nobody has taken."""
    latencies: Mapping[str, Latency]
    """Of the last `window_s` seconds, by kind."""
    window_s: float
    actions_s: float
    """Actions applied in a second, in that window."""
    turns_s: float
    """Turns begun."""
    announced: int
    """Number of the newest announcement."""
    since_ever: Mapping[str, Mapping[float, int]]
    """By kind: how often something took about so many ms; empty unless asked for."""
    memory_bytes: int
    memory_bytes_max: int | None


async def survey(link: Link, scripts: Scripts, *, since_ever: bool = False) -> Statistics:
    """Look at everything that is counted, at one moment.

    Args:
        link: To the store.
        scripts: What is run there.
        since_ever: Whether latencies from the beginning on are wanted.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    where = [keys.TOTALS, keys.PROCESSES, keys.CONTEXTS, keys.DEAD, keys.READY]
    where += [keys.LATENCIES, keys.ANNOUNCEMENTS]
    asked = link.call("INFO", "memory")
    reply = await scripts.run(link, "survey", where, SLOT_S, SLOTS, int(since_ever))
    now_ms, raw_totals, rows, contexts, dead, oldest, raw_slots, ever, newest = cast(
        "_Surveyed",
        tuple(cast("list[object]", reply)),
    )
    totals = {name: int(number) for name, number in _pairs(raw_totals)}
    slots = [dict(_pairs(slot)) for slot in raw_slots if slot]
    began = slots[0] if slots else {}
    window_s = (now_ms - int(began["at"])) / 1_000 if began else 0.0
    memory = _memory(cast("bytes", await asked))
    return Statistics(
        at_ms=now_ms,
        totals=totals,
        processes=[Process.model_validate_json(row) for row in rows],
        contexts=contexts,
        dead_letters=dead,
        oldest_mail_ms=int(float(oldest[1])) if oldest else None,
        latencies=_latencies(slots),
        window_s=window_s,
        actions_s=_per_s(totals, "actions:applied", began.get("actions"), window_s),
        turns_s=_per_s(totals, "turns:started", began.get("turns"), window_s),
        announced=int(newest[0][0].split(b"-")[0]) if newest else 0,
        since_ever=_histograms(ever),
        memory_bytes=memory["used_memory"],
        memory_bytes_max=memory["maxmemory"] or None,
    )


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    return zip((name.decode() for name in flat[::2]), flat[1::2], strict=True)


def _per_s(
    totals: Mapping[str, int], name: str, before: bytes | None, window_s: float
) -> float:
    if before is None or window_s < 1:
        return 0.0
    return round((totals.get(name, 0) - int(before)) / window_s, 3)


def _latencies(slots: Sequence[Mapping[str, bytes]]) -> Mapping[str, Latency]:
    bins: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for slot in slots:
        for name, number in slot.items():
            kind, separator, key = name.partition(":")
            if separator:
                bins[kind][int(key)] += int(number)
    return {kind: _latency(counted) for kind, counted in bins.items()}


def _latency(bins: Mapping[int, int]) -> Latency:
    sketch = DDSketch(ACCURACY)
    for key, number in bins.items():
        sketch.add(MAPPING.value(key), number)
    found = (sketch.get_quantile_value(percentile) for percentile in PERCENTILES)
    return Latency(sum(bins.values()), tuple(round(value or 0.0, 3) for value in found))


def _histograms(flat: Sequence[bytes]) -> Mapping[str, Mapping[float, int]]:
    found: defaultdict[str, dict[float, int]] = defaultdict(dict)
    for name, number in _pairs(flat):
        kind, _, key = name.partition(":")
        found[kind][MAPPING.value(int(key))] = int(number)
    return found


def _memory(info: bytes) -> Mapping[str, int]:
    found: dict[str, int] = {"used_memory": 0, "maxmemory": 0}
    for line in info.decode().splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value)
    return found
