"""Contexts whose activation has crashed: what has crashed it, and when it is tried again.

Each crash in a row doubles the pause before the next try, from a heartbeat on, up to
`crash_pause_s_max`. What was taken over, or waits for the store, is tried at once.
"""

from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pydantic import ValidationError

from storage import ContextMissing, Fenced, WorkerBuried
from workers.config import WorkerConfig

_DOUBLINGS_MAX: Final = 10


@dataclass(slots=True)
class _Crashed:
    """One context."""

    count: int = 0
    """Crashes in a row."""
    due_s: float = 0.0
    """Loop time of the next try."""
    cause: str = ""
    """Of the last crash."""


class Crashes:
    """The contexts of one host that are to be tried again. Times are those of the loop."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._crashed: dict[str, _Crashed] = {}

    def __len__(self) -> int:
        return len(self._crashed)

    def __contains__(self, context_id: str) -> bool:
        return context_id in self._crashed

    def __iter__(self) -> Iterator[str]:
        return iter(self._crashed)

    def due(self, now_s: float) -> Sequence[str]:
        """The contexts whose next try is due."""
        return [each for each, crashed in self._crashed.items() if crashed.due_s <= now_s]

    def cause_of(self, context_id: str) -> str:
        """What the last crash of a context was; empty where there was none."""
        crashed = self._crashed.get(context_id)
        return crashed.cause if crashed else ""

    def count(self, context_id: str, cause: str, *, now_s: float) -> tuple[int, float]:
        """Count one more crash; how many in a row that makes, and the pause in seconds."""
        crashed = self._crashed.setdefault(context_id, _Crashed())
        pause_s = self._config.worker_heartbeat_s * 2.0 ** min(crashed.count, _DOUBLINGS_MAX)
        pause_s = min(self._config.crash_pause_s_max, pause_s)
        crashed.count += 1
        crashed.cause = cause
        crashed.due_s = now_s + pause_s
        return crashed.count, pause_s

    def wait(self, context_id: str) -> None:
        """Have a context tried again that the store kept from being activated."""
        self._crashed.setdefault(context_id, _Crashed())

    def begin_anew(self, context_id: str, *, now_s: float) -> None:
        """Have a context tried at once, and what crashed it before forgotten."""
        self._crashed[context_id] = _Crashed(due_s=now_s)

    def forget(self, context_id: str) -> None:
        """Be done with a context: it has run to its end, or is another's."""
        self._crashed.pop(context_id, None)


async def outcome(work: Awaitable[None]) -> Exception | None:
    """The error that some work has raised, for its caller to log; WorkerBuried is passed on."""
    try:
        await work
    except WorkerBuried:
        raise
    except Exception as crash:  # noqa: BLE001 - the room's one place: its callers log it
        return crash
    return None


def first_cause(crash: Exception) -> str:
    """The first of the exceptions that an activation's groups hold."""
    while isinstance(crash, ExceptionGroup):
        crash = cast("ExceptionGroup[Exception]", crash).exceptions[0]
    if isinstance(crash, ValidationError):  # its own text shows what was said
        found = crash.errors(include_input=False, include_context=False, include_url=False)
        return "; ".join(f"{each['loc']}: {each['type']}" for each in found)
    return f"{type(crash).__name__}: {crash}"


def was_taken_over(crash: Exception) -> bool:
    """Whether the store has told an activation that the context is not its own any more."""
    if not isinstance(crash, ExceptionGroup):
        return isinstance(crash, Fenced)
    raised = cast("ExceptionGroup[Exception]", crash)
    return raised.subgroup((Fenced, ContextMissing)) is not None
