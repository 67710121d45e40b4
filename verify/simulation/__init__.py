"""The product's own code in virtual time, over a real store: crash points and interleavings."""

from verify.simulation.configuration import FAMILIES, Configuration, Family, configuration
from verify.simulation.crashes import (
    CrashReport,
    CrashViolation,
    Point,
    count_points,
    crash_points,
    replay_crash,
    run_crash_points,
)
from verify.simulation.explorer import (
    ExploreReport,
    SeedViolation,
    explore,
    replay_seed,
)
from verify.simulation.races import race, replay_race
from verify.simulation.run import Ran
from verify.simulation.scenarios import SCENARIOS, Scenario
from verify.simulation.server import ServerLost

__all__ = [
    "FAMILIES",
    "SCENARIOS",
    "Configuration",
    "CrashReport",
    "CrashViolation",
    "ExploreReport",
    "Family",
    "Point",
    "Ran",
    "Scenario",
    "SeedViolation",
    "ServerLost",
    "configuration",
    "count_points",
    "crash_points",
    "explore",
    "race",
    "replay_crash",
    "replay_race",
    "replay_seed",
    "run_crash_points",
]
