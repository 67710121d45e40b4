"""How much of each part a verification does: by minutes, or by counts."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

PartName: TypeAlias = Literal["crash-points", "histories", "kills", "chaos", "measures"]
PARTS: Final[tuple[PartName, ...]] = get_args(PartName)

SHARES: Final[dict[PartName, float]] = {
    "crash-points": 0.08,
    "histories": 0.34,
    "kills": 0.32,
    "chaos": 0.15,
    "measures": 0.11,
}
"""Of the minutes; chaos and measures need some for starting and for coming to rest."""
SHORT_S: Final[dict[PartName, float]] = {
    "crash-points": 275.0,
    "histories": 290.0,
    "kills": 75.0,
    "chaos": 40.0,
    "measures": 15.0,
}
"""The most that each part takes where counts are asked for."""
_MANY: Final = 1_000_000_000
ROUND_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Each part ends when its count is reached or its time is over."""

    seconds: dict[PartName, float]
    """Parts that are not in here are left out."""
    crash_points: int = _MANY
    histories: int = _MANY
    kills: int = _MANY
    round_s: float = ROUND_S_MAX
    """Of one round of chaos."""


def plan_for(*, minutes: float, only: frozenset[PartName]) -> Plan:
    """Divide minutes over the parts that are wanted."""
    whole = sum(share for name, share in SHARES.items() if name in only)
    seconds: dict[PartName, float] = {
        name: minutes * 60 * share / whole for name, share in SHARES.items() if name in only
    }
    return Plan(seconds, round_s=min(ROUND_S_MAX, max(8.0, seconds.get("chaos", 0.0) / 5)))


def short_plan(*, minutes: float | None, only: frozenset[PartName]) -> Plan:
    """What CI runs: 10,000 crash points, 5,000 histories, 600 kills; `minutes` at the most."""
    seconds: dict[PartName, float] = {
        name: most_s for name, most_s in SHORT_S.items() if name in only
    }
    if minutes is not None:
        share = min(1.0, minutes * 60 / sum(seconds.values()))
        seconds = {name: most_s * share for name, most_s in seconds.items()}
    return Plan(
        seconds,
        crash_points=10_000,
        histories=5_000,
        kills=600,
        round_s=12.0,
    )
