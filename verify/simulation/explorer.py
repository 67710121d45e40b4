"""Random runs by seed: another configuration, other clients and other faults each time.

A seed decides everything: how many workers and gateways there are, how they are set up, what
clients do, what the network does to each command, who dies or freezes when, whether the store
is restarted, loses its scripts or is set back. Fixed configurations hide bugs.

There are two families. In `histories` messages stand where they were sent, so that what clients
saw can be judged by itself; in `trees` clients do everything there is, and the log is judged,
too: there the store is never set back.

Invariant: the same seed gives the same history in any process.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from verify.records import Json, Violation
from verify.simulation.clients import Client
from verify.simulation.clock import Process, VirtualTimeLoop
from verify.simulation.network import QUICK, Fate
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
from verify.simulation.trees import POLICIES, TREE_ACTIONS, act_on_tree
from verify.simulation.world import Settings, script_names

LATE_S_MAX: Final = 4.0
"""How much later a given-up command may be executed."""
STOPPED_S_MAX: Final = 0.5
"""How long the store is away."""
DEATHS_MAX: Final = 6
"""Of one run: a context whose worker dies again and again fails its turn, which is right."""


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


class RandomPlan:
    """Faults by chance, each process with chances of its own."""

    def __init__(
        self, seed: int, configured: Configuration, note: Callable[[str], None]
    ) -> None:
        self.deaths: Counter[str] = Counter()
        """Points that were died at."""
        self._seed = seed
        self._configured = configured
        self._note = note
        self._chances: dict[str, random.Random] = {}
        self._armed = True

    def fate(self, process: Process, name: str) -> Fate:
        """What becomes of a command."""
        configured = self._configured
        rng = self._rng(process)
        if not self._armed or process.name == "supervisor":
            return Fate()
        delay_s = QUICK + rng.random() * configured.slowness_s
        answer_s = QUICK + rng.random() * configured.slowness_s
        if rng.random() >= configured.trouble or name in {"PING", "BLMOVE"}:
            return Fate(delay_s, answer_s)
        how = rng.choice(configured.kinds)
        again_s = rng.random() ** 2 * LATE_S_MAX
        self._note(f"{process.name} {name} {how} {again_s:.3f}")
        if how == "silent":
            return Fate(configured.settings.call_s_max + again_s, answer_s)
        if how in {"noscript", "refused"} and not name.islower():
            how = "lost"
        return Fate(delay_s, answer_s, how, again_s)

    def hearing_s(self, process: Process) -> float:
        """How long a publication takes to a process; negative: it is lost."""
        if not self._armed or process.name == "supervisor":
            return QUICK
        rng = self._rng(process)
        if rng.random() < self._configured.deafness:
            self._note(f"{process.name} becomes deaf")
            return -1.0
        return QUICK + rng.random() * self._configured.slowness_s

    def reach(self, process: Process, point: str) -> bool:
        """Die now and then."""
        if not process.alive:
            return False
        if not self._armed or process.name == "supervisor" or not self._configured.death:
            return True
        if self._rng(process).random() >= self._configured.death:
            return True
        if self.deaths.total() >= DEATHS_MAX:
            return True
        self.deaths[point] += 1
        self._note(f"{process.name} dies {point}")
        process.kill()
        return False

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._armed = False

    def _rng(self, process: Process) -> random.Random:
        rng = self._chances.get(process.name)
        if rng is None:
            rng = random.Random(f"{self._seed}/{process.name}")
            self._chances[process.name] = rng
        return rng


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
