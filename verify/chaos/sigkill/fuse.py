"""Kills this process at its n-th store command or file operation: before, in or after it.

Installed in a forked child only. What is killed is the process itself, by the kernel: no
handler runs, no buffer is written, the socket is cut as it is.
"""

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import storage.link
import storage.scripts
from storage.link import Argument, Link, Reply

When = Literal["before", "lost", "sent", "after"]
WHENS: tuple[When, ...] = ("before", "lost", "sent", "after")
"""`before`: the store has not seen it. `lost`: nor does it ever, while the process goes on for
a moment: what it does without waiting for the answer has happened. `sent`: it is on its way,
or done, and unanswered. `after`: it was answered, and nobody in the process has heard of it.
"""
UNCOUNTED = frozenset({"renew", "claim", "PING", "SCRIPT"})
"""Commands sent by the clock: their place among the others differs from run to run."""
LOST_S = 0.02
"""How long a process lives whose command was lost."""
SENT_TURNS = 3
"""Turns of the loop after which the writer's task has written."""


@dataclass(slots=True)
class Fuse:
    """Counts down with every point; at zero the process dies."""

    tell: Callable[[dict[str, object]], None]
    """Called with what kills it, just before."""
    left: int = 0
    """Points left until the process dies; 0: disarmed."""
    when: When = "before"

    def arm(self, left: int, when: When) -> None:
        """Die at the `left`-th point from now on; 0 disarms."""
        self.left, self.when = left, when

    def burn(self) -> bool:
        """Count one point; returns whether it is the last."""
        if self.left == 0:
            return False
        self.left -= 1
        return self.left == 0

    def blow(self, name: str) -> None:
        """Die, now."""
        self.tell({"event": "dies", "point": name, "when": self.when})
        os.kill(os.getpid(), signal.SIGKILL)


def install(fuse: Fuse) -> None:
    """Have every store command and file operation of this process burn the fuse."""
    _watch_link(fuse)
    _watch_files(fuse)


def _watch_link(fuse: Fuse) -> None:
    names = _script_names()
    send = Link.call

    def call(self: Link, *command: Argument) -> asyncio.Future[Reply]:
        name = _name(command, names)
        if name in UNCOUNTED or not fuse.burn():
            return send(self, *command)
        if fuse.when == "before":
            fuse.blow(name)
        if fuse.when == "lost":
            loop = asyncio.get_running_loop()
            loop.call_later(LOST_S, fuse.blow, name)
            return loop.create_future()
        answer = send(self, *command)
        if fuse.when == "after":
            # The first callback of all: whoever awaits the answer is woken after it.
            answer.add_done_callback(lambda _: fuse.blow(name))
        else:
            _in_turns(SENT_TURNS, lambda: fuse.blow(name))
        return answer

    setattr(storage.link.Link, "call", call)  # noqa: B010 - a method of a class is replaced


def _in_turns(turns: int, then: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if turns == 0:
        then()
    else:
        loop.call_soon(_in_turns, turns - 1, then)


def _watch_files(fuse: Fuse) -> None:
    """Snapshots in files are written with these two; all but `before` is after them."""
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        _around(fuse, "file fsync", lambda: fsync(descriptor))

    def watched_replace(source: Path, target: Path) -> None:
        _around(fuse, "file replace", lambda: replace(source, target))

    for name, function in (("fsync", watched_fsync), ("replace", watched_replace)):
        setattr(os, name, function)


def _around(fuse: Fuse, name: str, operation: Callable[[], None]) -> None:
    dies = fuse.burn()
    if dies and fuse.when == "before":
        fuse.blow(name)
    operation()
    if dies:
        fuse.blow(name)


def _script_names() -> dict[bytes, str]:
    return {
        hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest().encode(): name
        for name, body in storage.scripts.script_bodies().items()
    }


def _name(command: tuple[Argument, ...], names: dict[bytes, str]) -> str:
    if command[0] == "EVALSHA" and isinstance(command[1], bytes):
        return names.get(command[1], "unknown script")
    return str(command[0])
