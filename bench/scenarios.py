"""What is measured, how hard, and what the issues ask for."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bench.report import Reading
from bench.rig import (
    Rig,
    Scenario,
    at_least,
    at_most,
    cpu_note,
    exactly,
    faults,
    per_1000,
    spread,
)
from bench.saves import FileSaves, StoreSaves
from bench.server import System, counters, create_bare
from bench.spec import Dashboards, FirstToken, Idle, Polls, Sends, Streams, Turns, Viewers

_LOOK_S = 0.5
_REST_S_MAX = 30.0
"""How long idle contexts may take until they are passivated and memory stands still."""
_REST_LOOKS = 6
_REST_BYTES = 100_000
"""Memory stands still when so many looks in a row differ by no more than so many bytes."""
_LINGER = "CONTEXTD_LINGER_S"


def sends(rig: Rig, system: System) -> list[Reading]:
    """Send until applied: as fast as turns rest (saturated), and at a steady rate."""
    watched = rig.watched(system)
    run_s = 3.0 if rig.quick else 10.0
    full = rig.run(
        f"send-saturated-{system.name}",
        Sends(
            target=system.target, watched=watched, contexts=64, run_s=run_s, sends_per_s=None
        ),
    )
    paced = rig.run(
        f"send-paced-{system.name}",
        Sends(target=system.target, watched=watched, contexts=64, run_s=run_s, sends_per_s=320),
    )
    return [
        *spread(full, "applied", "applied, saturated", note=f"{full.per_s:,.0f} sends/s"),
        *spread(paced, "applied", "applied, 5/s each", note=f"{paced.per_s:,.0f} sends/s"),
    ]


def first_token(rig: Rig, system: System) -> list[Reading]:
    """One at a time, alternating with direct calls."""
    outcome = rig.run(
        f"first-token-{system.name}",
        FirstToken(
            target=system.target,
            watched=rig.watched(system),
            mock=rig.mock,
            pairs=100 if rig.quick else 400,
        ),
    )
    errors = faults(outcome)
    if not outcome.spreads:
        return [Reading(measure="added p50", value=0, unit="ms", errors=errors)]
    through, straight = outcome.spreads["through"], outcome.spreads["straight"]
    values = {
        "through p50": through.p50_ms,
        "through p95": through.p95_ms,
        "direct p50": straight.p50_ms,
        "direct p95": straight.p95_ms,
        "added p50": through.p50_ms - straight.p50_ms,
        "added p95": through.p95_ms - straight.p95_ms,
    }
    return [
        Reading(measure=measure, value=round(value, 3), unit="ms", errors=errors)
        for measure, value in values.items()
    ]


def turns(rig: Rig, system: System) -> list[Reading]:
    """Turns from POST to reply in hand, zero-delay model."""
    readings: list[Reading] = []
    for lanes, amount, run_s in ((1, 6_000, 8.0), (64, 25_600, 15.0)):
        outcome = rig.run(
            f"turns-{lanes}-{system.name}",
            Turns(
                target=system.target,
                watched=rig.watched(system),
                lanes=lanes,
                turns=amount // 4 if rig.quick else amount,
                run_s=run_s / 3 if rig.quick else run_s,
            ),
        )
        turn = outcome.spreads.get("turn")
        note = f"turn p50 {turn.p50_ms:.1f} p95 {turn.p95_ms:.1f} ms" if turn else ""
        name = "1 context" if lanes == 1 else f"{lanes} contexts"
        readings += [
            Reading(
                measure=f"turns/s, {name}",
                value=outcome.per_s,
                unit="1/s",
                errors=faults(outcome),
                note=note,
            ),
            per_1000(outcome, f"CPU per 1,000 turns, {name}"),
        ]
    return readings


def polls(rig: Rig, system: System) -> list[Reading]:
    """GET state of 20 contexts with 50 messages over 64 connections."""
    readings: list[Reading] = []
    for conditional in (False, True):
        name = "304" if conditional else "200"
        outcome = rig.run(
            f"polls-{name}-{system.name}",
            Polls(
                target=system.target,
                watched=rig.watched(system),
                conditional=conditional,
                run_s=2.5 if rig.quick else 6.0,
            ),
        )
        size = f"{outcome.numbers.get('body_bytes', 0):,.0f} bytes each"
        readings += [
            Reading(
                measure=f"polls/s ({name})",
                value=outcome.per_s,
                unit="1/s",
                errors=faults(outcome),
                note=f"{size}; {cpu_note(outcome)}",
            ),
            *spread(outcome, "request", f"poll ({name})")[:2],
        ]
    return readings


def viewers(rig: Rig, system: System) -> list[Reading]:
    """One stream, 500 viewers: each chunk's way from the mock to each viewer."""
    outcome = rig.run(
        f"viewers-{system.name}",
        Viewers(
            target=system.target,
            watched=rig.watched(system),
            viewers=500,
            chunks=40 if rig.quick else 100,
            gap_ms=100,
        ),
    )
    return spread(outcome, "lag", "lag", note=cpu_note(outcome))


def dashboards(rig: Rig, system: System) -> list[Reading]:
    """1,000 dashboards: each is shown every announcement of the turns of others."""
    count = 1_000
    rig.run(f"dashboards-warmup-{system.name}", Idle(target=system.target, contexts=20))
    before = system.pss_bytes("gateway")
    peak = before

    def sample() -> None:
        nonlocal peak
        peak = max(peak, system.pss_bytes("gateway"))

    outcome = rig.run(
        f"dashboards-{system.name}",
        Dashboards(
            target=system.target,
            watched=rig.watched(system),
            dashboards=count,
            sends_per_s=2,
            run_s=6.0 if rig.quick else 20.0,
        ),
        sample=sample,
    )
    errors = faults(outcome)
    return [
        Reading(
            measure="shown all, in order",
            value=outcome.done,
            errors=errors,
            note=f"{outcome.numbers.get('announcements', 0):.0f} announcements each",
        ),
        *spread(outcome, "lag", "lag", note=cpu_note(outcome)),
        *spread(outcome, "applied", "applied meanwhile"),
        Reading(
            measure="memory per dashboard, gateway",
            value=(peak - before) / count / 1000,
            unit="KB",
            errors=errors,
        ),
    ]


def streams(rig: Rig, system: System) -> list[Reading]:
    """1,000 contexts at once, first with the sends spread, then (full run) in one burst."""
    contexts, chunks = 1_000, 40 if rig.quick else 100
    # What the first turns allocate once is not memory per context.
    warmup = rig.run(
        f"streams-warmup-{system.name}", Idle(target=system.target, contexts=20, lanes=4)
    )
    before = {role: system.pss_bytes(role) for role in system.roles}
    peak = dict(before)

    def sample() -> None:
        for role in system.roles:
            peak[role] = max(peak[role], system.pss_bytes(role))

    readings: list[Reading] = []
    for name, start_s in (("spread", 2.0), ("burst", 0.0)):
        if rig.quick and name == "burst":
            continue
        outcome = rig.run(
            f"streams-{name}-{system.name}",
            Streams(
                target=system.target,
                watched=rig.watched(system),
                contexts=contexts,
                chunks=chunks,
                gap_ms=100,
                start_s=start_s,
            ),
            sample=sample,
        )
        errors = {**faults(warmup), **faults(outcome)}
        mock_late_ms = rig.mock_counts[f"streams-{name}-{system.name}"].late_ms_max
        frames = outcome.numbers.get("delta_frames", 0)
        readings += [
            Reading(measure=f"finished, {name}", value=outcome.done, errors=errors),
            Reading(
                measure=f"the mock itself late, {name} max",
                value=mock_late_ms / 1000,
                unit="s",
                errors=errors,
            ),
            *(
                reading.model_copy(update={"value": reading.value / 1000, "unit": "s"})
                for reading in spread(outcome, "late", f"late, {name}", note=cpu_note(outcome))
            ),
            Reading(
                measure=f"delta frames per reply, {name}",
                value=frames / contexts,
                errors=errors,
                note=f"of {chunks} chunks",
            ),
        ]
        if name == "spread":
            readings += [
                Reading(
                    measure=f"memory per active context, {role}",
                    value=(peak[role] - before[role]) / contexts / 1000,
                    unit="KB",
                    errors=errors,
                    note=f"PSS {before[role] / 1e6:.0f} -> {peak[role] / 1e6:.0f} MB",
                )
                for role in ("worker", "gateway", "store")
            ]
    return readings


def autosave(rig: Rig, system: System) -> list[Reading]:
    """Turns on 64 contexts, then the writes of 20 streamed replies, counted from outside."""
    outcome = rig.run(
        f"autosave-{system.snapshots or 'store'}",
        Turns(
            target=system.target,
            watched=rig.watched(system),
            lanes=64,
            turns=3_200 if rig.quick else 12_800,
            run_s=4.0 if rig.quick else 10.0,
        ),
    )
    readings = [
        Reading(measure="turns/s", value=outcome.per_s, unit="1/s", errors=faults(outcome)),
        per_1000(outcome, "CPU per 1,000 turns"),
    ]
    watch = _saves(system)
    if watch is None:
        return readings
    contexts, chunks = 20, 50
    with watch:
        _settle(watch)  # JSON files of the turns before are still being written
        before = watch.count
        create_bare(system, contexts)
        _settle(watch)
        created = watch.count - before
        own = counters(system)
        replies = rig.run(
            f"autosave-writes-{system.snapshots or 'store'}",
            Streams(
                target=system.target, contexts=contexts, chunks=chunks, gap_ms=20, start_s=0
            ),
        )
        _settle(watch)
        # The load creates as many contexts again.
        written = watch.count - before - 2 * created
    told = {name: value - own.get(name, 0) for name, value in counters(system).items()}
    note = f"{written} writes for {contexts} replies of {chunks} chunks, {created} for creating"
    readings.append(
        Reading(
            measure="snapshot writes per reply",
            value=written / contexts,
            errors=faults(replies),
            note=f"{note}; own counters {told}" if told else note,
        )
    )
    return readings


def _settle(watch: StoreSaves | FileSaves) -> None:
    """Wait until nothing has been written for a while."""
    seen = -1
    while watch.count != seen:
        seen = watch.count
        time.sleep(_LOOK_S)


def _saves(system: System) -> StoreSaves | FileSaves | None:
    if system.snapshots is not None:
        return FileSaves(Path(system.snapshots))
    return StoreSaves(system.store_socket) if system.store_socket is not None else None


def idle(rig: Rig, system: System) -> list[Reading]:
    """What 2-message contexts cost once nobody speaks to them."""
    contexts = 500 if rig.quick else 2_000
    warmup = rig.run(f"idle-warmup-{system.name}", Idle(target=system.target, contexts=64))
    before = _at_rest(system)
    outcome = rig.run(f"idle-{system.name}", Idle(target=system.target, contexts=contexts))
    after = _at_rest(system)
    return [
        Reading(
            measure=f"memory per idle context, {role}",
            value=(after[role] - before[role]) / contexts / 1000,
            unit="KB",
            errors={**faults(warmup), **faults(outcome)},
            note=f"{before[role] / 1e6:.1f} -> {after[role] / 1e6:.1f} MB",
        )
        for role in ("store", "worker", "gateway")
    ]


def _at_rest(system: System) -> dict[str, int]:
    """Wait until the store's memory stands still, then read all."""
    looks: list[int] = []
    deadline = time.perf_counter() + _REST_S_MAX
    while time.perf_counter() < deadline:
        time.sleep(_LOOK_S)
        looks = [*looks[1 - _REST_LOOKS :], system.store_used_bytes()]
        if len(looks) == _REST_LOOKS and max(looks) - min(looks) < _REST_BYTES:
            break
    return {
        "store": system.store_used_bytes(),
        "worker": system.pss_bytes("worker"),
        "gateway": system.pss_bytes("gateway"),
    }


_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

SCENARIOS = (
    Scenario(
        "send",
        sends,
        {"applied, saturated p95": at_most(25), "applied, 5/s each p95": at_most(25)},
        awaits_disk=True,
    ),
    Scenario("first-token", first_token, {"added p50": at_most(2)}, awaits_disk=True),
    Scenario(
        "turns",
        turns,
        {
            "turns/s, 1 context": at_least(400),
            "turns/s, 64 contexts": at_least(1_000),
            "CPU per 1,000 turns, 1 context": at_most(1.2),
            "CPU per 1,000 turns, 64 contexts": at_most(1.2),
        },
        awaits_disk=True,
    ),
    Scenario(
        "polls",
        polls,
        {
            "polls/s (200)": at_least(5_000),
            "polls/s (304)": at_least(10_000),
            "poll (200) p95": at_most(20),
            "poll (304) p95": at_most(20),
        },
    ),
    Scenario("viewers", viewers, {"lag p95": at_most(20)}),
    Scenario(
        "streams",
        streams,
        {
            "finished, spread": exactly(1_000),
            "finished, burst": exactly(1_000),
            "late, spread max": at_most(0.3),
            "late, burst max": at_most(0.3),
            "memory per active context, worker": at_most(60),
        },
        fresh=True,
    ),
    Scenario(
        "dashboards",
        dashboards,
        {"shown all, in order": exactly(1_000)},
        fresh=True,
        has_floor=False,
        variants={"": {"CONTEXTD_DASHBOARDS_PER_ADDRESS_MAX": "1000"}},
    ),
    Scenario(
        "autosave",
        autosave,
        {
            "store: snapshot writes per reply": exactly(1),
            "json: snapshot writes per reply": exactly(1),
        },
        fresh=True,
        has_floor=False,
        variants={"store": _NO_SETTINGS, "json": {"CONTEXTD_SNAPSHOTS": "json:@"}},
    ),
    Scenario("idle", idle, {}, fresh=True, variants={"": {_LINGER: "1"}}),
)
