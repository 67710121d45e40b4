"""The orchestrator's side of a nursery: has it fork and arm processes, and hears of deaths."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from verify.chaos.processes import SUPERVISOR_PID, python_environment
from verify.chaos.sigkill.fuse import When
from verify.records import Json

LOAD_S_MAX = 60.0
READY_S_MAX = 15.0


class BirthFailed(Exception):
    """A forked process did not become ready."""


@dataclass(slots=True, eq=False)
class Member:
    """One forked process, as it is known here."""

    name: str
    role: str
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    armed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: int | None = None
    died_at: tuple[str, str] | None = None
    """The point, and whether before, in or after it."""
    error: str = ""


class Family:
    """Processes of one nursery. Made by `open_family`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._members: dict[str, Member] = {}
        self.kills = 0
        """Deaths by SIGKILL so far."""
        self.loaded = asyncio.Event()

    def fork(
        self,
        name: str,
        role: str,
        *,
        url: str,
        storage: Mapping[str, Json],
        config: Mapping[str, Json],
        arm: tuple[int, When] | None = None,
    ) -> Member:
        """Fork a process; it is not ready yet."""
        member = self._members[name] = Member(name, role)
        at, when = arm or (0, "before")
        self._say(
            op="fork",
            name=name,
            role=role,
            url=url,
            storage=dict(storage),
            config=dict(config),
            arm={"at": at, "when": when} if arm else None,
        )
        return member

    async def ready(self, member: Member) -> None:
        """Wait until it serves, or has ended.

        Raises:
            BirthFailed: It does neither in time.
        """
        try:
            async with asyncio.timeout(READY_S_MAX):
                await _first(member.ready, member.ended)
        except TimeoutError:
            raise BirthFailed(f"{member.name} is not ready: {member.error}") from None

    async def arm(self, member: Member, at: int, when: When) -> None:
        """Have it die at its `at`-th point from now; returns once it knows, or is dead."""
        member.armed.clear()
        self._say(op="arm", name=member.name, at=at, when=when)
        async with asyncio.timeout(READY_S_MAX):
            await _first(member.armed, member.ended)

    def signal(self, member: Member, number: signal.Signals) -> None:
        """Signal it; harmless when it is gone."""
        self._say(op="signal", name=member.name, number=int(number))

    def _say(self, **message: Json) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(message) + b"\n")

    async def listen(self) -> None:
        """Hear what the processes say until they are all gone."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = orjson.loads(line)
            if told["event"] == "nursery":
                self.loaded.set()
                continue
            member = self._members[told["name"]]
            match told["event"]:
                case "ready":
                    member.ready.set()
                case "armed":
                    member.armed.set()
                case "dies":
                    member.died_at = (told["point"], told["when"])
                case "failed":
                    member.error = told["error"]
                case _:
                    member.code = told["code"]
                    self.kills += member.code == -signal.SIGKILL
                    member.ended.set()
                    del self._members[member.name]


async def _first(*events: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def open_family(
    folder: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Family, None]:
    """A nursery for the length of a block; its children end with it."""
    variables = python_environment(environment, paths=[folder / "packages"])
    with (folder / "nursery.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "verify.chaos.sigkill.nursery"),
            env={**variables, SUPERVISOR_PID: str(os.getpid())},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    family = Family(process)
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(family.listen(), name="nursery")
        try:
            async with asyncio.timeout(LOAD_S_MAX):
                await family.loaded.wait()
            yield family
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
            listening.cancel()
