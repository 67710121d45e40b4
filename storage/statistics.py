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
MAILBOXES_MAX: Final = 1_000
"""Contexts that wait for a worker, and whose oldest mail is looked at: a millisecond or two."""

_PHASE: Final = "phase:"

_Flat: TypeAlias = list[bytes]
_Surveyed: TypeAlias = tuple[
    int, _Flat, _Flat, int, int, list[int], list[_Flat], _Flat, list[tuple[bytes, object]]
]
"""What survey.lua returns."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one kind of thing took."""

    count: int
    percentiles_ms: tuple[float, ...]
    """One for each of PERCENTILES; 0 where nothing was timed."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """One look at all of it."""

    at_ms: int
    """Time of the look, by the store's clock."""
    totals: Mapping[str, int]
    """Totals by name; `since` is when they began (Unix time in ms)."""
    by_phase: Mapping[str, int]
    """How many contexts are in each phase: the idle one, and all that there ever were."""
    mail_waiting: int
    """Actions that nobody has taken yet."""
    processes: Sequence[Process]
    contexts: int
    dead_letters: int
    oldest_mail_ms: int | None
    """When the oldest mail came that nobody has taken; of MAILBOXES_MAX contexts, those that
    workers were not offered for the longest time."""
    latencies: Mapping[str, Latency]
    """Latencies of the last `window_s` seconds, by kind."""
    window_s: float
    actions_s: float
    """Actions applied in a second, in that window."""
    turns_s: float
    """Turns begun."""
    announced: int
    """Number of the newest announcement."""
    since_ever: Mapping[str, Mapping[float, int]]
    """By kind: how often something took about so many ms; empty unless asked for."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How much memory the store uses."""

    used_bytes: int
    bytes_max: int | None
    """None: as much as there is."""


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
    reply = await scripts.run(
        link, "survey", where, SLOT_S, SLOTS, int(since_ever), MAILBOXES_MAX
    )
    now_ms, raw_totals, rows, contexts, dead, oldest, raw_slots, ever, newest = cast(
        "_Surveyed",
        tuple(cast("list[object]", reply)),
    )
    totals = _totals(raw_totals)
    slots = [dict(_pairs(slot)) for slot in raw_slots if slot]
    began = slots[0] if slots else {}
    window_s = (now_ms - int(began["at"])) / 1_000 if began else 0.0
    return Statistics(
        at_ms=now_ms,
        totals=totals,
        by_phase=_by_phase(totals, contexts),
        mail_waiting=_mail_waiting(totals),
        processes=[Process.model_validate_json(row) for row in rows],
        contexts=contexts,
        dead_letters=dead,
        oldest_mail_ms=oldest[0] if oldest else None,
        latencies=_latencies(slots),
        window_s=window_s,
        actions_s=_per_s(totals, "actions:applied", began.get("actions"), window_s),
        turns_s=_per_s(totals, "turns:started", began.get("turns"), window_s),
        announced=int(newest[0][0].split(b"-")[0]) if newest else 0,
        since_ever=_histograms(ever),
    )


async def memory_of(link: Link) -> Memory:
    """How much memory the store uses.

    Raises:
        StoreUnavailable: It does not answer.
    """
    info = cast("bytes", await link.call("INFO", "memory")).decode()
    told = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return Memory(int(told["used_memory"]), int(told["maxmemory"]) or None)


def _totals(flat: Sequence[bytes]) -> Mapping[str, int]:
    """A field names all that is added to at once; a name behind "-" is taken from."""
    totals: Counter[str] = Counter()
    for names, number in _pairs(flat):
        for name in names.split():
            totals[name.removeprefix("-")] += -int(number) if name[0] == "-" else int(number)
    return totals


def _by_phase(totals: Mapping[str, int], contexts: int) -> Mapping[str, int]:
    """Contexts are counted where they are not idle; the others are."""
    phases = {
        name.removeprefix(_PHASE): number
        for name, number in sorted(totals.items())
        if name.startswith(_PHASE)
    }
    return {"idle": max(0, contexts - sum(phases.values())), **phases}


def _mail_waiting(totals: Mapping[str, int]) -> int:
    """What was delivered and came to no end; a store may be older than its totals."""
    ends = sum(totals.get(f"actions:{end}", 0) for end in ("applied", "refused", "dropped"))
    return max(0, totals.get("actions:delivered", 0) - ends)


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
