"""Random runs by seed: the same in any process, and right.

`contextd verify` runs thousands; this is its short form.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from verify.simulation import Family, configuration, explore, replay_seed

SEEDS = range(40)
TREE_SEEDS = range(40)
KEPT = {
    1795270700: "mail that a store had lost, committed from the memory of a worker",
    1795270875: "a frame behind the farewell of a stream",
    1795272407: "a cancellation that a task group lost: a worker that never ended",
    1795273094: "a reader that moved the mirror of a feed: a gap in a stream",
    1795280049: "a commit of a buried worker: its context was never looked for again",
    1795285953: "an action that was applied, and then deleted with its context: a 404",
    1795295047: "a state that was behind, in a 202, and did not say so",
    1795286847: "a frame of what the store had lost, shown as what came after",
    1795302923: "an owner that was fenced while it was under suspicion",
    1795478199: "an owner that rested when the store was set back, and took its heir's place",
}
"""Seeds that have found a bug, each of which was planted again to see them find it."""
KEPT_TREES = {
    44: "a context that was due, given back by a worker that keeps nothing before it was told",
    1158: "events that came while a stream was told of a compaction, shown twice",
    2132: "the same of a reply's text",
    1795318243: "a paused context whose next action ended three workers, so that it failed",
    1795292391: "a stream that was judged while its gateway's last reading went unanswered",
}
"""The same, of trees."""
REPLAY = """
import sys
from pathlib import Path
from verify.simulation import replay_seed
ran = replay_seed(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
print(*ran.history, sep="\\n")
"""


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise(server_path: Path) -> None:
    seeds = [*SEEDS, *KEPT]
    report = explore(server_path, seeds)
    shown = "\n".join(
        f"{v.command}: {v.violation.check} {v.violation}" for v in report.violations
    )
    assert report.violated == 0, shown
    assert report.histories == len(seeds)
    assert report.operations > len(seeds)


@pytest.mark.timeout(300)
def test_no_seed_of_a_tree_breaks_a_promise(server_path: Path) -> None:
    seeds = {*TREE_SEEDS, *KEPT_TREES}
    report = explore(server_path, sorted(seeds), family="trees")
    shown = "\n".join(
        f"{v.command}: {v.violation.check} {v.violation}" for v in report.violations
    )
    assert report.violated == 0, shown
    assert report.operations > 10 * len(seeds)


@pytest.mark.parametrize(
    ("family", "seed"), [("histories", 3), ("histories", 29), ("trees", 7)]
)
def test_the_same_seed_gives_the_same_history_in_any_process(
    family: Family, seed: int, server_path: Path
) -> None:
    histories = [
        subprocess.run(
            [sys.executable, "-c", REPLAY, str(server_path), str(seed), family],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert histories[0] == histories[1]
    assert len(histories[0].splitlines()) > 10


def test_two_seeds_give_two_histories(server_path: Path) -> None:
    assert replay_seed(server_path, 1).history != replay_seed(server_path, 2).history


def test_configurations_differ_in_everything_that_may_hide_a_bug() -> None:
    drawn = [configuration(seed) for seed in range(200)]
    for name in ("contexts", "clients", "viewers", "trouble", "death", "freezes", "restarts"):
        assert len(Counter(getattr(one, name) for one in drawn)) > 1, name
    for name in ("workers", "gateways", "standard", "json_snapshots", "linger_s", "inbox_max"):
        assert len(Counter(getattr(one.settings, name) for one in drawn)) > 1, name
