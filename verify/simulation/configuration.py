"""What a seed stands for: how a run is set up, what its clients do, and what goes wrong.

There are two families. In `histories` messages stand where they were sent, so that what clients
saw can be judged by itself; in `trees` clients do everything there is, and the log is judged,
too: there the store is never set back.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from verify.records import Json
from verify.simulation.settings import Settings
from verify.simulation.trees import POLICIES, TREE_ACTIONS


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a seed stands for, besides the order of things."""

    settings: Settings
    contexts: int
    clients: int
    actions: int
    """Of each client."""
    viewers: int
    config: Mapping[str, Json]
    """Of the contexts."""
    think_s: float
    """Pause of a client between two actions, about."""
    trouble: float
    """Part of the commands that something happens to."""
    slowness_s: float
    """Most that a command is delayed without trouble."""
    deafness: float
    """Part of the publications that are lost, with their connection."""
    death: float
    """Part of the points that are died at."""
    freezes: int
    restarts: int
    """Of the store."""
    losses: int
    """How often the store is set back; only where durability is `standard`."""
    flushes: int
    """SCRIPT FLUSH."""
    drains: int
    kinds: tuple[str, ...]
    """What happens to commands in trouble."""
    repertoire: tuple[str, ...]
    """What clients do."""
    weights: tuple[int, ...]
    """Of the repertoire."""


Family: TypeAlias = Literal["histories", "trees"]
FAMILIES: Final[tuple[Family, ...]] = ("histories", "trees")

ACTIONS: Final = ("send", "read", "cancel", "pause", "rename", "see through", "delete")
KINDS: Final = ("lost", "unanswered", "late", "twice", "noscript", "refused", "silent")


def configuration(seed: int, family: Family = "histories") -> Configuration:
    """What a seed stands for."""
    if family == "histories":
        return _straight(random.Random(f"configuration {seed}"))
    rng = random.Random(f"configuration of trees {seed}")
    straight = _straight(rng)
    weights = [rng.choice((0, 1, 2)) for _ in TREE_ACTIONS]
    compacting = random.Random(f"logs of {seed}")
    log_events_max = compacting.choice((0, 0, 3, 12))
    return replace(
        straight,
        settings=replace(straight.settings, log_events_max=log_events_max),
        clients=rng.choice((1, 2, 3, 5)),
        actions=rng.choice((4, 8, 12)),
        config={
            **straight.config,
            "send_policy": rng.choice(("enqueue", *POLICIES)),
            "system_prompt": random.Random(f"prompt of {seed}").choice(("", "Be kind.")),
        },
        losses=0,
        repertoire=(*ACTIONS, *TREE_ACTIONS),
        weights=(*(1, 2), *straight.weights[2:], *(4, *weights[1:])),
    )


def _straight(rng: random.Random) -> Configuration:
    standard = rng.random() < 0.3
    workers = rng.choice((1, 1, 2, 2, 3))
    settings = Settings(
        workers=workers,
        gateways=rng.choice((1, 2)),
        supervised=rng.random() < 0.6,
        json_snapshots=rng.random() < 0.3,
        standard=standard,
        session_s=rng.choice((1.5, 3.0, 4.0)),
        heartbeat_s=rng.choice((0.3, 1.0)),
        overdue_ms=rng.choice((50, 500)),
        linger_s=rng.choice((0.0, 0.0, 0.02, 0.3, 3.0)),
        draft_ms=rng.choice((0.0, 5.0, 20.0)),
        chunk_ms=rng.choice((0, 5)),
        snapshot_events=rng.choice((1, 2, 5, 64)),
        commit_events_max=rng.choice((1, 2, 64)),
        inbox_max=rng.choice((1, 2, 1_024)),
        mailbox_max=rng.choice((2, 4, 256, 256)),
        results_max=rng.choice((256, 1_000)),
        call_s_max=rng.choice((0.5, 1.0, 5.0)),
        drain_s=rng.choice((0.0, 0.1, 2.0)),
        linger_feed_s=rng.choice((0.0, 0.2, 10.0)),
        feed_check_s=rng.choice((0.5, 5.0)),
        mirrors_max=rng.choice((1, 4_096)),
    )
    limits = {"attempts_max": 20, "backoff_ms_base": rng.choice((1, 100))}
    mode = rng.choice(("manual", "auto_loop", "auto_loop", "auto"))
    return Configuration(
        settings=settings,
        contexts=rng.choice((1, 1, 2)),
        clients=rng.choice((1, 2, 3)),
        actions=rng.choice((3, 5, 8)),
        viewers=rng.choice((0, 1, 2)),
        config={
            "tool_policy": {"mode": mode},
            "limits": limits,
            "on_takeover": rng.choice(("restart", "keep")),
        },
        think_s=rng.choice((0.005, 0.05, 0.3)),
        trouble=rng.choice((0.0, 0.01, 0.03, 0.08)),
        slowness_s=rng.choice((0.0, 0.002, 0.02, 0.1)),
        deafness=rng.choice((0.0, 0.0, 0.02)),
        death=rng.choice((0.0, 0.0, 0.005, 0.02)),
        freezes=rng.choice((0, 0, 1, 2)),
        restarts=rng.choice((0, 0, 0, 1)),
        losses=rng.choice((0, 1)) if standard else 0,
        flushes=rng.choice((0, 0, 1)),
        drains=rng.choice((0, 0, 1)),
        kinds=tuple(rng.sample(KINDS, rng.randint(1, len(KINDS)))),
        repertoire=ACTIONS,
        weights=(
            *(8, 4),
            *(rng.choice((0, 2)), rng.choice((0, 1)), rng.choice((0, 2))),
            *(2, rng.choice((0, 0, 1))),
        ),
    )
