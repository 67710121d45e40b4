"""Records for tests of the checkers: by hand, or whole histories of a serial service.

A generated history is right by construction: every operation takes effect at one moment
between its call and its return, and every read shows the state of one moment.
"""

import random
from dataclasses import dataclass, replace
from itertools import count

from verify.records import Final, Json, Message, Operation, Outcome, Read

CONTEXT = "c1"
EPOCH = "100"


def send(
    content: str,
    called_s: float,
    returned_s: float | None,
    version: int | None = None,
    **changes: Json,
) -> Operation:
    """A message: applied if it has a version, accepted if it only returned, else unknown."""
    outcome = Outcome.UNKNOWN
    if returned_s is not None:
        outcome = Outcome.ACCEPTED if version is None else Outcome.APPLIED
    made = Operation(
        client="ann",
        context_id=CONTEXT,
        kind="send_message",
        content=content,
        called_s=called_s,
        returned_s=returned_s,
        outcome=outcome,
        version=version,
        epoch=EPOCH if returned_s is not None else None,
    )
    return replace(made, **changes)


def act(
    kind: str, called_s: float, returned_s: float | None, version: int | None, **changes: Json
) -> Operation:
    """Another action, with the outcome that `send` would have."""
    made = send("", called_s, returned_s, version)
    return replace(made, kind=kind, content=None, **changes)


def read(
    said: tuple[str, ...], called_s: float, returned_s: float, version: int, **changes: Json
) -> Read:
    """A poll that showed these messages."""
    made = Read(
        client="bob",
        context_id=CONTEXT,
        called_s=called_s,
        returned_s=returned_s,
        epoch=EPOCH,
        version=version,
        messages=said,
        status="idle",
    )
    return replace(made, **changes)


def final(said: tuple[str, ...], version: int, **changes: Json) -> Final:
    """A context at rest, with an answer to each message."""
    messages: list[Message] = []
    for content in said:
        messages.append(Message(id=f"u-{content}", role="user", content=content))
        messages.append(Message(id=f"a-{content}", role="assistant", content=f"re {content}"))
    made = Final(
        context_id=CONTEXT,
        epoch=EPOCH,
        version=version,
        status="idle",
        messages=tuple(messages),
    )
    return replace(made, **changes)


@dataclass(frozen=True, slots=True)
class History:
    """What the clients of a service wrote down."""

    operations: tuple[Operation, ...]
    reads: tuple[Read, ...]
    finals: tuple[Final, ...]


def serial_history(
    rng: random.Random, *, operations: int, contexts: int = 1, overlap_s: float = 3.0
) -> History:
    """A history of a service that does one thing a second.

    Args:
        rng: Decides everything.
        operations: Reads and actions, those that never took effect left out.
        contexts: Over which they are spread.
        overlap_s: By how much a call and a return may part from the moment of the effect.
    """
    serial = [_Serial(f"c{index}") for index in range(contexts)]
    for moment in range(operations):
        context = rng.choice(serial)
        called_s = moment - rng.random() * overlap_s
        returned_s = moment + rng.random() * overlap_s
        context.take(rng, called_s, returned_s)
    return History(
        tuple(one for context in serial for one in context.operations),
        tuple(one for context in serial for one in context.reads),
        tuple(context.at_rest() for context in serial),
    )


class _Serial:
    """One context that does one thing after the other."""

    def __init__(self, context_id: str) -> None:
        self.context_id = context_id
        self.operations: list[Operation] = []
        self.reads: list[Read] = []
        self._said: tuple[str, ...] = ()
        self._version = 1
        self._numbers = count()

    def take(self, rng: random.Random, called_s: float, returned_s: float) -> None:
        """One thing, and some that nobody asked for."""
        self._version += rng.choice((0, 0, 1, 2))
        what = rng.random()
        if what < 0.45:
            seen = read(self._said, called_s, returned_s, self._version)
            self.reads.append(replace(seen, context_id=self.context_id))
            return
        content = f"{self.context_id}-{next(self._numbers)}"
        if what < 0.55:
            # It never happens, whatever its client thinks.
            outcome = rng.choice((Outcome.UNKNOWN, Outcome.REFUSED))
            made = send(content, called_s, None, outcome=outcome)
        else:
            self._version += 1
            self._said = (*self._said, content)
            if what < 0.65:
                made = send(content, called_s, None)
            elif what < 0.70:
                made = send(content, called_s, returned_s)
            else:
                shown = self._version if rng.random() < 0.5 else None
                made = send(content, called_s, returned_s, self._version, seen_version=shown)
        self.operations.append(replace(made, context_id=self.context_id))

    def at_rest(self) -> Final:
        """The context once all is over."""
        return replace(final(self._said, self._version + 1), context_id=self.context_id)
