"""One run from beginning to end: a story is told, faults stop, everything rests and is judged.

Invariant: the same server program, plan, settings and story give the same history, line by
line, in any process.
"""

import asyncio
import contextlib
import gc
import logging
import random
import re
import sys
import traceback
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from aiohttp import web_app
from pydantic_core import from_json

from fsm import Config
from verify.finals import check_rest
from verify.history import check_history
from verify.linearizability import Undecided, check_linearizability
from verify.logs import check_logs
from verify.model_calls import check_model_calls
from verify.records import Final as FinalState, Log, Losses, Violation
from verify.simulation.clients import Client, Records, Viewer
from verify.simulation.clock import NothingHappens, VirtualTimeLoop
from verify.simulation.fates import Plan
from verify.simulation.folder import snapshot_folder
from verify.simulation.judging import come_to_rest, judge_store, judge_world
from verify.simulation.server import Server
from verify.simulation.settings import Settings
from verify.simulation.watching import Watch
from verify.simulation.world import World, innermost
from verify.streams import check_streams

ENDS_S: Final = 1_200.0
"""Virtual seconds that a run may take."""
LINEARIZED_MAX: Final = 24
"""Operations on one context up to which its history is searched for a linear order."""
READ_S_MAX: Final = 5.0
"""How long the last reading of a context may take."""
TRACE_CHARS_MAX: Final = 3_000
SETTLES_S: Final = 1.0
"""How long viewers are given at least to see the last of it, and what should not come."""
LOOK_S: Final = 0.1
FORGET_EVERY: Final = 25
"""Runs of one process after which `forget_the_dead` is called."""
VIOLATIONS_MAX: Final = 20
"""Violations that a report of many runs keeps; more are counted."""


def forget_the_dead() -> None:
    """Free the memory that the runs before have left behind."""
    # aiohttp keeps its last thousand handlers, each with its application: here, a whole world.
    handlers = vars(web_app).get("_cached_build_middleware")
    if handlers is not None:
        handlers.cache_clear()
    gc.collect()


class FaultPlan(Plan, Protocol):
    """A plan whose faults end."""

    def calm(self) -> None:
        """Nothing goes wrong from now on."""
        ...


@dataclass(slots=True, eq=False)
class Scene:
    """What a story has at hand."""

    world: World
    records: Records
    seed: str
    calm: Callable[[], None]
    """Has everything go well from then on."""
    context_ids: list[str] = field(default_factory=list[str])
    viewers: list[Viewer] = field(default_factory=list[Viewer])
    losses_s: list[float] = field(default_factory=list[float])
    """When the store was set back or replaced."""
    linearized_max: int = LINEARIZED_MAX
    """More operations on one context are not searched for a linear order: the log has one."""

    def rng(self, name: str) -> random.Random:
        """Chances of one part of the story, the same whatever the others do."""
        return random.Random(f"{self.seed}/{name}")

    async def create(self, config: Mapping[str, object] | None = None) -> str:
        """Make a context."""
        context_id = f"01932c5e-7a10-7c3b-9d2e-{len(self.context_ids) + 1:012x}"
        await self.world.create(context_id, Config.model_validate(config or {}))
        self.context_ids.append(context_id)
        return context_id

    def client(self, name: str) -> Client:
        """Somebody who acts."""
        return Client(name, self.world, self.records, self.rng(name))

    def watch(self, name: str, context_id: str, *, leaves_after_s: float = 0.0) -> Viewer:
        """Have somebody watch a context until the end."""
        viewer = Viewer(name, context_id, self.world, self.rng(name), leaves_after_s)
        self.viewers.append(viewer)
        self.world.group.create_task(viewer.watch(), name=name)
        return viewer


Story = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a run."""

    violations: Sequence[Violation]
    history: Sequence[str]
    """Lines, in order; the same for the same run."""
    records: Records
    commands: Mapping[str, int]
    """How many of each name the store has executed."""
    deaths: int
    virtual_s: float


def run(
    server: Server,
    scripts: Mapping[bytes, str],
    *,
    plan: Callable[[VirtualTimeLoop, Callable[[str], None]], FaultPlan],
    settings: Settings,
    story: Story,
    seed: str,
) -> Ran:
    """Run a story once.

    Args:
        server: Emptied before; used by nobody else.
        scripts: Names by digest (`script_names`).
        plan: Makes what goes wrong, on this loop.
        settings: How everything is set up.
        story: What clients do.
        seed: Of the clients' chances.

    Raises:
        ServerLost: The server has gone; the run says nothing.
    """
    loop = VirtualTimeLoop(ends_s=ENDS_S)
    loop.set_exception_handler(lambda _loop, _context: None)  # what the dead have left behind
    history = _History(loop)
    made = plan(loop, history.note)
    server.call("FLUSHALL")
    server.take_published()
    _logged.clear()
    records = Records()
    collected = gc.isenabled()
    gc.disable()  # a collection in the middle would close the generators of the dead
    asyncio.set_event_loop(loop)
    try:
        told = loop.run_until_complete(
            _told(server, scripts, loop, made, settings, story, seed, history.note, records)
        )
    except NothingHappens as nothing:
        told = _Told([Violation("stuck", "", str(nothing), {})], {}, 0)
    except Exception as error:  # noqa: BLE001 - what ends a story is a finding, with its seed
        trace = "".join(traceback.format_exception(error))[-TRACE_CHARS_MAX:]
        told = _Told([Violation("run-broke", "", repr(error), {"trace": trace})], {}, 0)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        if collected:
            gc.enable()
    return Ran(
        tuple(told.violations),
        tuple(history.lines),
        records,
        told.commands,
        told.deaths,
        loop.time(),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    violations: list[Violation]
    commands: Mapping[str, int]
    deaths: int


class _History:
    """Lines of what has happened, without what no run can repeat: random ids."""

    _ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.lines: list[str] = []
        self._loop = loop

    def note(self, text: str) -> None:
        self.lines.append(f"{self._loop.time():10.4f} {self._ID.sub('<id>', text)}")


async def _told(
    server: Server,
    scripts: Mapping[bytes, str],
    loop: VirtualTimeLoop,
    plan: FaultPlan,
    settings: Settings,
    story: Story,
    seed: str,
    note: Callable[[str], None],
    records: Records,
) -> _Told:
    told: _Told | None = None
    try:
        watch = Watch()
        with snapshot_folder(plan.reach, watch.renamed) as folder:
            async with asyncio.TaskGroup() as group:
                world = World(server, loop, plan, settings, group, scripts, folder, note)
                watch.network = world.network
                world.network.on_executing = watch.executing
                world.network.on_executed = watch.executed
                scene = Scene(world, records, seed, plan.calm)
                try:
                    await world.open()
                    await story(scene)
                    plan.calm()
                    violations = [*await _judged(scene, watch), *watch.violations]
                    violations += [Violation("bug-logged", "", bug, {}) for bug in _logged]
                finally:
                    world.close()
                told = _Told(violations, world.network.executed, world.deaths)
    except BaseExceptionGroup:
        if told is None:
            raise
    assert told is not None
    return told


async def _judged(scene: Scene, watch: Watch) -> list[Violation]:
    world, records = scene.world, scene.records
    violations = await come_to_rest(world, scene.context_ids)
    await _catch_up(scene)
    judge = scene.client("judge")
    for context_id in scene.context_ids:
        context = await judge.until(context_id, _ANY, within_s=READ_S_MAX)
        if context is not None:
            records.finals.append(FinalState.of(context))
            log = await judge.export(context_id, within_s=READ_S_MAX)
            if log is None:
                text = "Its log cannot be read."
                violations.append(Violation("unreadable", context_id, text, {}))
            else:
                earlier = watch.log_of(context_id)[: log.after]
                events = (*(from_json(event) for event in earlier), *log.events)
                records.logs.append(Log(context_id=context_id, events=events))
        elif world.network.version_of(context_id):
            violations.append(Violation("unreadable", context_id, "It cannot be read.", {}))
        else:
            records.finals.append(FinalState(context_id=context_id, found=False))
    records.streams += [viewer.recording() for viewer in scene.viewers]
    for context_id in scene.context_ids:
        violations += await judge_store(world, context_id, watch.log_of(context_id))
    violations += await judge_world(world)
    losses = Losses(
        at_s=tuple(scene.losses_s),
        data_lost=world.network.set_back,
        compacts=world.settings.log_events_max > 0,
    )
    violations += check_rest(records.finals)
    violations += check_history(
        records.operations,
        records.reads,
        records.finals,
        losses=losses,
        accepted_may_be_refused=True,
    )
    violations += check_streams(records.streams, records.finals, losses=losses)
    if not losses.at_s:
        violations += _linearized(scene, watch)
    if not losses.data_lost:
        violations += check_logs(
            records.operations,
            records.reads,
            records.streams,
            records.finals,
            records.logs,
            accepted_may_be_refused=True,
        )
        violations += check_model_calls(world.performances.model_calls, records.logs)
    return violations


async def _catch_up(scene: Scene) -> None:
    """Give viewers the time that a gateway may take whose last reading went unanswered."""
    world = scene.world
    await asyncio.sleep(SETTLES_S)
    given_s = world.settings.call_s_max + world.settings.feed_check_s
    for _ in range(round(given_s / LOOK_S)):
        if all(
            one.version >= world.network.version_of(one.context_id) for one in scene.viewers
        ):
            return
        await asyncio.sleep(LOOK_S)


def _linearized(scene: Scene, watch: Watch) -> Sequence[Violation]:
    records = scene.records
    violations: list[Violation] = []
    for context_id in scene.context_ids:
        operations = [o for o in records.operations if o.context_id == context_id]
        if len(operations) > scene.linearized_max:
            continue
        with contextlib.suppress(Undecided):
            violations += check_linearizability(
                operations,
                [read for read in records.reads if read.context_id == context_id],
                [final for final in records.finals if final.context_id == context_id],
                accepted_may_be_refused=True,
                decided_once=scene.world.deaths == 0,
                pauses_hold=not _was_given_up(watch.log_of(context_id)),
            )
    return violations


def _was_given_up(log: Sequence[bytes]) -> bool:
    return any(from_json(event)["kind"] == "work-abandoned" for event in log)


_ANY: Final = (
    "idle",
    "awaiting_tool_approval",
    "awaiting_answer",
    "failed",
    "paused",
)


_BUGS: Final = frozenset({"activation crashed", "feed crashed", "request failed"})
"""What is logged where something has happened that nobody foresaw."""
_logged: Final[list[str]] = []
"""Of the present run."""


def _collect(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    if event["event"] in _BUGS:
        error = event.get("exc_info")
        if not isinstance(error, BaseException):
            error = sys.exception()
        why = repr(innermost(error)) if error is not None else "?"
        if not any(why.startswith(name) for name in _EXPLAINED):
            _logged.append(f"{event['event']}: {why}")
    raise structlog.DropEvent


_EXPLAINED: Final = (
    "VersionConflict",
    "DraftConflict",
    "StoreUnavailable",
    "StoreRefusedWrite",
)
"""Errors that an activation or a request may end by when the store fails or is set back."""


@contextlib.contextmanager
def silent() -> Generator[None, None, None]:
    """Log nothing, but keep what a run is judged by."""
    before = structlog.get_config()
    others = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        processors=[_collect],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(others)
