"""Judges a run once all faults are over: what the store holds and what was performed.

Invariant: the log is read entry by entry and folded here; nothing is believed because a
snapshot, a summary or a process says so.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import orjson
from pydantic_core import from_json, to_json

from fsm import (
    CallModel,
    ContextCreated,
    ContextState,
    MakeTitle,
    Message,
    Refusal,
    RunTool,
    StaleAnswer,
    ToolRestarted,
    decode_event,
    drafting,
    replay,
    rests,
    transition,
)
from storage import keys
from verify.finals import RESTING
from verify.records import Violation
from verify.simulation.world import World

RESTS_S_MAX: Final = 90.0
"""How long contexts may take to come to rest once nothing goes wrong any more."""
LOOK_S: Final = 0.1
SOON_MS: Final = 60_000
"""What is due later than that is a question to a person, who has a week for it."""
_RESTS: Final = "at rest with nothing to do, "


@dataclass(frozen=True, slots=True)
class _Issued:
    """The effects that the log has issued."""

    at: Mapping[tuple[str, int], int]
    """Version by effect id and attempt (0: of tools, the first)."""
    counts: Mapping[str, int]
    """How often each effect was issued."""
    call_of: Mapping[str, str]
    """Tool call by effect id."""
    unknown: Mapping[str, int]
    """How often the outcome of a tool call was unknown."""


async def come_to_rest(world: World, context_ids: Sequence[str]) -> list[Violation]:
    """Wait until every context rests and nobody has it; what does not, is stuck."""
    ends_s = world.loop.time() + RESTS_S_MAX
    stuck = list(context_ids)
    while (stuck or world.network.late) and world.loop.time() < ends_s:
        await asyncio.sleep(LOOK_S)
        stuck = [context_id for context_id in stuck if _unrest(world, context_id)]
    whys = [(context_id, _unrest(world, context_id)) for context_id in stuck]
    return [
        _violation(
            "never-passive" if why.startswith(_RESTS) else "stuck",
            context_id,
            f"It never came to rest: {why}",
        )
        for context_id, why in whys
    ]


def _unrest(world: World, context_id: str) -> str:
    """Why a context does not rest; "" if it rests."""
    meta, mail, ready, due = _looked_up(world, context_id)
    worker, summary = meta
    if summary is None:
        return ""
    status = orjson.loads(summary)["status"]
    if status not in RESTING:
        return f"{status}, owned by {worker!r}, {mail} mails, ready: {ready!r}"
    if mail or worker or ready is not None:
        rests_with = "" if mail or ready is not None else _RESTS
        return f"{rests_with}{status}, but owned by {worker!r}, {mail} mails, ready: {ready!r}"
    if due is not None and float(due) < world.now_ms() + SOON_MS:
        return f"{status}, and due at {due!r}"
    return ""


def _looked_up(
    world: World, context_id: str
) -> tuple[tuple[bytes | None, bytes | None], int, bytes | None, bytes | None]:
    (mail,) = keys.of_context(context_id, "mail")
    meta, count, ready, due = world.server.call_all(
        (
            ("HMGET", keys.meta(context_id), "worker", "summary"),
            ("XLEN", mail),
            ("ZSCORE", keys.READY, context_id),
            ("ZSCORE", keys.DUE, context_id),
        )
    )
    worker, summary = cast("list[bytes | None]", meta)
    waiting = cast("int", count)
    return (worker, summary), waiting, cast("bytes | None", ready), cast("bytes | None", due)


async def judge_store(
    world: World, context_id: str, events: Sequence[bytes]
) -> list[Violation]:
    """Hold everything that the store has of a context against its log.

    Args:
        world: Whose store.
        context_id: Of the context.
        events: All of its log, as it was before any of it was compacted.
    """
    found: list[Violation] = []

    def fault(check: str, text: str) -> None:
        found.append(_violation(check, context_id, text))

    names = ("meta", "log", "mail", "draft", "results", "snap", "msgs", "keys", "base")
    where = dict(zip(names, keys.of_context(context_id, *names), strict=True))
    reply = world.server.call_all(
        (
            ("HGETALL", where["meta"]),
            ("XRANGE", where["log"], "-", "+"),
            ("GET", where["draft"]),
            ("HKEYS", where["results"]),
            ("HMGET", where["snap"], "version", "head"),
            ("LRANGE", where["msgs"], 0, -1),
            ("HMGET", where["base"], "version", "state"),
        )
    )
    meta = cast("dict[bytes, bytes]", reply[0])
    log = cast("list[tuple[bytes, list[bytes]]]", reply[1])
    base = cast("list[bytes | None]", reply[6])
    if not meta:
        left = [name for name in names if world.server.call("EXISTS", where[name])]
        if left:
            fault("left-over", f"It is deleted, and there still is {', '.join(left)}.")
        return found
    version = int(meta[b"version"])
    ids = [entry_id.decode() for entry_id, _ in log]
    first = int(meta.get(b"first", b"1"))
    if ids != [f"{number}-0" for number in range(first, version + 1)] or len(events) != version:
        fault("log-not-contiguous", f"version {version}, log {ids}, {len(events)} events")
        return found
    states: list[ContextState] = []
    for raw in events:
        try:
            states.append(replay([decode_event(raw)], states[-1] if states else None))
        except (Refusal, StaleAnswer, ValueError) as error:
            fault("log-does-not-replay", f"Version {len(states) + 1} cannot follow: {error!r}")
            return found
    found += _judge_base(context_id, states, first, base)
    state = states[-1]
    if drafting(state) is None and (reply[2] is not None or meta[b"n"] != b"0"):
        fault("draft-left", f"There is a draft of {meta[b'n']!r} characters and no reply.")
    found += _judge_snapshot(
        context_id, states, cast("list[bytes | None]", reply[4]), cast("list[bytes]", reply[5])
    )
    if world.settings.json_snapshots:
        found += _judge_files(world, context_id, states)
    mail_seq = int(meta[b"mail_seq"])
    known = {int(seq) for seq in cast("list[bytes]", reply[3])}
    kept = range(max(1, mail_seq - world.settings.storage().results_max + 1), mail_seq + 1)
    if missing := [seq for seq in kept if seq not in known]:
        fault("result-missing", f"Of the actions {missing} nobody knows what has become.")
    assert world.store is not None
    reading = await world.store.read(context_id, state.owner)
    if reading.view is None or reading.view.state != state:
        fault("read-is-not-replay", "A reader's state is not the fold of the log.")
    if not rests(state):
        fault("stuck", f"It does not rest: {state.phase.value}.")
    found += _judge_performed(world, context_id, [decode_event(raw) for raw in events])
    return found


def _judge_base(
    context_id: str, states: Sequence[ContextState], first: int, base: Sequence[bytes | None]
) -> list[Violation]:
    version, raw = base
    if version is None or raw is None:
        if first == 1:
            return []
        text = f"The log begins with version {first}, and nothing stands for what is gone."
        return [_violation("base-missing", context_id, text)]
    at = int(version)
    if not first - 1 <= at <= len(states):
        text = f"The base is of version {at}, the log begins with {first}."
        return [_violation("base-missing", context_id, text)]
    if ContextState.model_validate_json(raw) != states[at - 1]:
        text = f"The base of version {at} is not the fold of the log."
        return [_violation("base-differs", context_id, text)]
    return []


def _judge_snapshot(
    context_id: str,
    states: Sequence[ContextState],
    snap: Sequence[bytes | None],
    messages: Sequence[bytes],
) -> list[Violation]:
    version, head = snap
    if version is None or head is None:
        return []
    at = int(version)
    if at > len(states):
        text = f"The snapshot is at version {at}, the log at {len(states)}."
        return [_violation("snapshot-leads", context_id, text)]
    state = ContextState.model_validate_json(head)
    decoded = tuple(Message.model_validate_json(raw) for raw in messages)
    if state.model_copy(update={"messages": decoded}) != states[at - 1]:
        text = f"The snapshot at version {at} is not the fold of the log."
        return [_violation("snapshot-differs", context_id, text)]
    return []


def _judge_files(
    world: World, context_id: str, states: Sequence[ContextState]
) -> list[Violation]:
    found: list[Violation] = []
    for path in sorted(Path(str(world.folder)).glob("*/*")):
        name, raw = path.name, path.read_bytes()
        if name.endswith((".new", ".unseen")) or context_id.encode() not in raw:
            continue
        try:
            envelope = from_json(raw)
        except ValueError:
            found.append(_violation("snapshot-torn", context_id, f"{name} is not whole."))
            continue
        if envelope["context_id"] != context_id or envelope["epoch"] != _epoch(world):
            continue
        at = envelope["generation"]
        if at > len(states):
            text = f"{name} is at version {at}, the log at {len(states)}."
            found.append(_violation("snapshot-leads", context_id, text))
        elif ContextState.model_validate_json(to_json(envelope["state"])) != states[at - 1]:
            text = f"{name} at version {at} is not the fold of the log."
            found.append(_violation("snapshot-differs", context_id, text))
    return found


def _epoch(world: World) -> str:
    assert world.store is not None
    return world.store.epoch


def _judge_performed(
    world: World, context_id: str, events: Sequence[object]
) -> list[Violation]:
    """Nothing is performed but what was committed before, and no oftener than that."""
    if world.network.set_back:
        return []  # what was asked for may be in the part of the log that is gone
    issued = _issued(events)
    found: list[Violation] = []
    counts: Counter[str] = Counter()
    charges: Counter[str] = Counter()
    for performed in world.performances.performed:
        if performed.context_id != context_id:
            continue
        effect_id = performed.effect_id
        counts[effect_id] += 1
        if performed.beside:
            text = (
                f"{performed.process} called the model for {effect_id} while "
                f"{performed.beside} was waiting for a reply of it."
            )
            found.append(_violation("model-calls-overlap", context_id, text))
        at = issued.at.get((effect_id, performed.attempt))
        if at is None:
            text = (
                f"{performed.process} performed {performed.kind} {effect_id}, never asked for."
            )
            found.append(_violation("performed-uncommitted", context_id, text))
        elif performed.version < at:
            text = (
                f"{performed.process} performed {performed.kind} {effect_id} while the log was "
                f"at {performed.version}; it was asked for by {at}."
            )
            found.append(_violation("performed-uncommitted", context_id, text))
        elif performed.kind == "charge":
            charges[issued.call_of[effect_id]] += 1
            if counts[effect_id] > 1:
                text = f"charge ran {counts[effect_id]} times as {effect_id}."
                found.append(_violation("once-ran-twice", context_id, text))
    for effect_id, count in counts.items():
        if count > issued.counts.get(effect_id, count):
            text = f"{effect_id} was performed {count} times."
            found.append(_violation("performed-too-often", context_id, text))
    for call_id, count in charges.items():
        if count > 1 + issued.unknown.get(call_id, 0):
            text = f"charge ran {count} times for the call {call_id}."
            found.append(_violation("once-ran-twice", context_id, text))
    return found


def _issued(events: Sequence[object]) -> _Issued:
    at: dict[tuple[str, int], int] = {}
    counts: Counter[str] = Counter()
    call_of: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    state: ContextState | None = None
    for event in events:
        if isinstance(event, ContextCreated) or state is None:
            state = replay([cast("ContextCreated", event)])
            continue
        if isinstance(event, ToolRestarted):
            unknown[call_of[event.effect_id]] += 1
        step = transition(state, event)  # type: ignore[arg-type]  # what decode_event gives
        state = step.state
        for effect in step.effects:
            if isinstance(effect, CallModel):
                at.setdefault((effect.effect_id, effect.attempt), state.version)
                counts[effect.effect_id] += 1
            elif isinstance(effect, RunTool):
                at.setdefault((effect.effect_id, 0), state.version)
                call_of[effect.effect_id] = effect.call_id
                counts[effect.effect_id] += 1
            elif isinstance(effect, MakeTitle):
                # Nobody is told whether it was made: a new owner just makes it again.
                at.setdefault((effect.effect_id, 1), state.version)
    return _Issued(at, counts, call_of, unknown)


async def judge_world(world: World) -> list[Violation]:
    """Processes that ended as they should not, and what dead workers have left for good.

    One that was slow may have taken a context after all had rested, and died of being slow.
    """
    ends_s = world.loop.time() + RESTS_S_MAX
    left = _left_over(world)
    while left and world.loop.time() < ends_s:
        await asyncio.sleep(LOOK_S)
        left = _left_over(world)
    crashed = [_violation("crashed", "", crash) for crash in world.crashes]
    texts = [f"{worker_id} is dead and has contexts." for worker_id in left]
    return [*crashed, *(_violation("left-over", "", text) for text in texts)]


def _left_over(world: World) -> list[str]:
    """Ids of dead workers that have contexts."""
    kept = cast("list[bytes]", world.server.call("KEYS", "worker:*:contexts"))
    # A living worker that has been given one late looks for it from time to time.
    return [
        worker_id
        for worker_id in (key.decode().split(":")[1] for key in kept)
        if not world.server.call("EXISTS", keys.session(worker_id))
    ]


def _violation(check: str, context_id: str, text: str) -> Violation:
    return Violation(check, context_id, text, {})
