"""Random runs by seed: another configuration, other clients and other faults each time.

A seed decides everything: how many workers and gateways there are, how they are set up, what
clients do, what the network does to each command, who dies or freezes when, whether the store
is restarted, loses its scripts or is set back. Fixed configurations hide bugs.

Invariant: the same seed gives the same history in any process.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from verify.records import Violation
from verify.simulation.chances import RandomPlan
from verify.simulation.clients import Client
from verify.simulation.clock import VirtualTimeLoop
from verify.simulation.configuration import Configuration, Family, configuration
from verify.simulation.run import (
    FORGET_EVERY,
    VIOLATIONS_MAX,
    Ran,
    Scene,
    forget_the_dead,
    run,
    silent,
)
from verify.simulation.scenarios import see_through
from verify.simulation.server import Server, open_server
from verify.simulation.trees import TREE_ACTIONS, act_on_tree
from verify.simulation.world import script_names

STOPPED_S_MAX: Final = 0.5
"""How long the store is away."""


async def _tell(scene: Scene, configured: Configuration) -> None:
    context_ids = [await scene.create(configured.config) for _ in range(configured.contexts)]
    for number in range(configured.viewers):
        context_id = context_ids[number % len(context_ids)]
        leaves_after_s = scene.rng(f"leaving {number}").choice((0.0, 0.05, 0.5))
        scene.watch(f"v{number}", context_id, leaves_after_s=leaves_after_s)
    async with asyncio.TaskGroup() as group:
        acting = [
            group.create_task(_use(scene, configured, f"c{number}", context_ids))
            for number in range(configured.clients)
        ]
        troubling = group.create_task(_trouble(scene, configured))
        await asyncio.wait(acting)
        troubling.cancel()
    scene.world.thaw_all()
    scene.calm()
    await asyncio.sleep(STOPPED_S_MAX)
    judge = scene.client("person")
    for context_id in context_ids:
        context = await see_through(judge, context_id)
        if context is not None and context["status"] == "paused":
            await judge.act(context_id, "resume", {})
            await see_through(judge, context_id)


async def _use(
    scene: Scene, configured: Configuration, name: str, context_ids: Sequence[str]
) -> None:
    client, rng = scene.client(name), scene.rng(f"{name} acts")
    client.send_policy = str(configured.config.get("send_policy", client.send_policy))
    for number in range(configured.actions):
        context_id = rng.choice(context_ids)
        doing = rng.choices(configured.repertoire, configured.weights)[0]
        act = act_on_tree if doing in TREE_ACTIONS else _act
        await act(client, rng, context_id, doing, f"{name}-{number}")
        await asyncio.sleep(rng.random() * 2 * configured.think_s)


async def _act(
    client: Client, rng: random.Random, context_id: str, doing: str, content: str
) -> None:
    match doing:
        case "send":
            script = rng.choice(
                (
                    "/chunks 1 0",
                    "/chunks 5 10",
                    "/chunks 20 3",
                    "/tool charge {}",
                    '/tool look {"pause_ms": 40}\n/tool charge {"pause_ms": 20}',
                    "/fail overloaded 1",
                    "/fail stream_cut 1\n/chunks 8 5",
                )
            )
            await client.act(context_id, "send_message", {"content": f"{content}\n{script}"})
        case "read":
            await client.read(context_id)
        case "pause":
            await client.act(context_id, "pause", {})
            await asyncio.sleep(rng.random() * 0.1)
            await client.act(context_id, "resume", {})
        case "rename":
            await client.act(context_id, "rename", {"title": content})
        case "see through":
            await see_through(client, context_id)
        case _:
            await client.act(context_id, doing, {})


async def _trouble(scene: Scene, configured: Configuration) -> None:
    """What happens to whole processes, and to the store."""
    world, rng = scene.world, scene.rng("trouble")
    doing = [
        *("freeze",) * configured.freezes,
        *("restart",) * configured.restarts,
        *("lose",) * configured.losses,
        *("flush",) * configured.flushes,
        *("drain",) * configured.drains,
    ]
    rng.shuffle(doing)
    for what in doing:
        await asyncio.sleep(rng.random() * 4 * (configured.think_s + 0.05))
        living = [*world.workers.values(), *world.gateways.values()]
        one = rng.choice(living) if living else None
        match what:
            case "freeze" if one is not None:
                frozen_s = rng.choice((0.05, 0.5, 2.0, 6.0)) * rng.random()
                world.note(f"{one.process.name} is frozen for {frozen_s:.3f} s")
                one.process.freeze()
                world.network.at(world.loop.time() + frozen_s, one.process.thaw)
            case "drain" if one is not None:
                world.note(f"{one.process.name} is drained")
                one.stop.set()
            case "flush":
                world.note("SCRIPT FLUSH")
                world.network.forget_scripts()
            case "restart":
                _restart(scene, rng, None)
            case "lose":
                saved = world.network.save()
                await asyncio.sleep(rng.random() * 0.3)
                _restart(scene, rng, saved)
            case _:
                pass


def _restart(
    scene: Scene, rng: random.Random, saved: Sequence[tuple[bytes, bytes]] | None
) -> None:
    world = scene.world
    world.note("the store stops" if saved is None else "the store stops and is set back")
    scene.losses_s.append(world.loop.time())
    world.network.stop()
    if saved is not None:
        world.network.restore(saved)
    world.network.at(world.loop.time() + rng.random() * STOPPED_S_MAX, world.network.start)


@dataclass(frozen=True, slots=True)
class SeedViolation:
    """A seed whose run broke a promise."""

    family: str
    """`histories`, `trees` or `races/POLICY`."""
    seed: int
    violation: Violation

    @property
    def command(self) -> str:
        """What replays it."""
        return f"contextd verify --replay {self.family}/{self.seed}"


@dataclass(slots=True)
class ExploreReport:
    """What became of all seeds."""

    histories: int = 0
    violated: int = 0
    """Histories with a violation."""
    violations: list[SeedViolation] = field(default_factory=list[SeedViolation])
    """The first few."""
    operations: int = 0
    """What clients did."""
    acknowledged: int = 0
    """Of those: what has become of it was answered."""
    frames: int = 0
    """What viewers saw."""
    commands: int = 0
    """What the store executed."""
    deaths: int = 0
    virtual_s: float = 0.0
    elapsed_s: float = 0.0

    def add(self, other: "ExploreReport") -> None:
        """Take another part's counts in."""
        self.histories += other.histories
        self.violated += other.violated
        self.violations = [*self.violations, *other.violations][:VIOLATIONS_MAX]
        self.operations += other.operations
        self.acknowledged += other.acknowledged
        self.frames += other.frames
        self.commands += other.commands
        self.deaths += other.deaths
        self.virtual_s += other.virtual_s
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)

    def count(self, family: str, seed: int, ran: Ran) -> None:
        """Take the run of a seed in."""
        self.histories += 1
        self.violated += bool(ran.violations)
        for violation in ran.violations:
            if len(self.violations) < VIOLATIONS_MAX:
                self.violations.append(SeedViolation(family, seed, violation))
        self.operations += ran.records.count
        self.acknowledged += ran.records.acknowledged
        self.frames += sum(len(stream.frames) for stream in ran.records.streams)
        self.commands += sum(ran.commands.values())
        self.deaths += ran.deaths
        self.virtual_s += ran.virtual_s


def run_seed(server: Server, scripts: Mapping[bytes, str], seed: int, family: Family) -> Ran:
    """The run that a seed stands for."""
    configured = configuration(seed, family)

    def plan(_loop: VirtualTimeLoop, note: Callable[[str], None]) -> RandomPlan:
        return RandomPlan(seed, configured, note)

    async def story(scene: Scene) -> None:
        await _tell(scene, configured)

    return run(
        server,
        scripts,
        plan=plan,
        settings=configured.settings,
        story=story,
        seed=str(seed),
    )


def replay_seed(server_path: Path, seed: int, family: Family = "histories") -> Ran:
    """The run of one seed, on a server of its own.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    with silent(), open_server(server_path) as server:
        return run_seed(server, script_names(server), seed, family)


def explore(
    server_path: Path, seeds: Iterable[int], *, family: Family = "histories"
) -> ExploreReport:
    """Run every seed and judge it. Several processes may share the seeds.

    Args:
        server_path: A Redis or Valkey server, started for this and stopped again.
        seeds: Which.
        family: Which runs they stand for.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    report = ExploreReport()
    began_s = time.monotonic()
    with silent(), open_server(server_path) as server:
        scripts = script_names(server)
        for seed in seeds:
            report.count(family, seed, run_seed(server, scripts, seed, family))
            if report.histories % FORGET_EVERY == 0:
                forget_the_dead()
    report.elapsed_s = time.monotonic() - began_s
    return report
