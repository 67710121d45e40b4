"""What travels on a context's channel, from the scripts to every gateway.

Two kinds of frame, told apart by their first byte, one field a line (JSON has no raw
newlines):

    c <epoch> <version before> <number of events> <draft n> <1 if the context rests> <phase>
    {"<seq>": <result>, ...}
    <text of the draft that this commit begins, as a JSON string, or nothing>
    <event as JSON>
    ...

Results, draft, events and text are sealed, each by itself, where contents are.

    d <epoch> <version> <n before> <n after> <id of the reply>
    <text as it is, to the end>

The epoch is that of the token under which it was committed: a frame that the store has lost
may still be on its way when the store counts versions again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from storage.codec import read_events
from storage.contract import RESULT, Result
from storage.sealing import Sealer


@dataclass(frozen=True, slots=True)
class CommitFrame:
    """A commit that has just become durable."""

    epoch: str
    base: int
    """Version before the first event."""
    events: Sequence[bytes]
    n: int
    """Characters of the draft after it."""
    draft: str
    """Text of the draft that it begins, or ""."""
    rests: bool
    phase: str
    results: Mapping[int, Result]


@dataclass(frozen=True, slots=True)
class DraftFrame:
    """Some more of the reply that is arriving."""

    epoch: str
    version: int
    n_before: int
    n: int
    message_id: str
    """Of the reply: the one before it may have had as many characters."""
    text: str


def commit_header(
    sealer: Sealer,
    context_id: str,
    *,
    epoch: str,
    base: int,
    count: int,
    n: int,
    draft: str,
    rests: bool,
    phase: str,
    results: Mapping[int, Result],
) -> bytes:
    """The lines of a commit frame that stand before its events; the script adds those."""
    shown = b",".join(
        b'"%d":%s' % (seq, result.to_json(exclude_defaults=True))
        for seq, result in results.items()
    )
    told = sealer.seal("result", context_id, b"{%s}" % shown) if shown else b"{}"
    begun = sealer.seal("draft", context_id, orjson.dumps(draft) if draft else b"")
    numbers = (epoch.encode(), base, count, n, rests, phase.encode(), told, begun)
    return b"c %s %d %d %d %d %s\n%s\n%s" % numbers


def draft_frame(
    *, epoch: str, version: int, n_before: int, n: int, message_id: str, text: str | bytes
) -> bytes:
    """A draft frame; `text` is sealed already."""
    numbers = (epoch.encode(), version, n_before, n, message_id.encode())
    head = b"d %s %d %d %d %s" % numbers
    return head + b"\n" + (text.encode() if isinstance(text, str) else text)


def decode_frame(sealer: Sealer, context_id: str, raw: bytes) -> CommitFrame | DraftFrame:
    """Read a frame of a context.

    Raises:
        CannotOpen: It is no frame of this context's.
    """
    head, _, rest = raw.partition(b"\n")
    if head.startswith(b"d"):
        _, epoch, version, n_before, n, message_id = head.split(b" ")
        return DraftFrame(
            epoch=epoch.decode(),
            version=int(version),
            n_before=int(n_before),
            n=int(n),
            message_id=message_id.decode(),
            text=sealer.open("draft", context_id, rest).decode(),
        )
    _, epoch, base, count, n, rests, phase = head.split(b" ")
    shown, begun, *events = rest.split(b"\n")
    results = (
        {
            int(seq): RESULT.validate_python(result)
            for seq, result in orjson.loads(sealer.open("result", context_id, shown)).items()
        }
        if shown != b"{}"
        else {}
    )
    assert len(events) == int(count)
    draft = orjson.loads(sealer.open("draft", context_id, begun)) if begun else ""
    return CommitFrame(
        epoch=epoch.decode(),
        base=int(base),
        events=read_events(sealer, context_id, events),
        n=int(n),
        draft=draft,
        rests=rests == b"1",
        phase=phase.decode(),
        results=results,
    )
