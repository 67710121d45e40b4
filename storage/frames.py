"""What travels on a context's channel, from the scripts to every gateway.

Two kinds of frame, told apart by their first byte, one field a line (JSON has no raw
newlines):

    c <version before> <number of events> <draft n> <1 if the context rests> <phase>
    {"<seq>": <result>, ...}
    <text of the draft that this commit begins, as a JSON string, or nothing>
    <event as JSON>
    ...

    d <version> <n before> <n after> <id of the reply>
    <text as it is, to the end>
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from storage.contract import RESULT, Result


@dataclass(frozen=True, slots=True)
class CommitFrame:
    """A commit that has just become durable."""

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

    version: int
    n_before: int
    n: int
    message_id: str
    """Of the reply: the one before it may have had as many characters."""
    text: str


def commit_header(
    *,
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
        b'"%d":%s' % (seq, result.model_dump_json(exclude_defaults=True).encode())
        for seq, result in results.items()
    )
    begun = orjson.dumps(draft) if draft else b""
    return b"c %d %d %d %d %s\n{%s}\n%s" % (base, count, n, rests, phase.encode(), shown, begun)


def draft_frame(*, version: int, n_before: int, n: int, message_id: str, text: str) -> bytes:
    """A draft frame."""
    head = b"d %d %d %d %s" % (version, n_before, n, message_id.encode())
    return head + b"\n" + text.encode()


def decode_frame(raw: bytes) -> CommitFrame | DraftFrame:
    """Read a frame."""
    head, _, rest = raw.partition(b"\n")
    if head.startswith(b"d"):
        _, version, n_before, n, message_id = head.split(b" ")
        return DraftFrame(
            int(version), int(n_before), int(n), message_id.decode(), rest.decode()
        )
    _, base, count, n, rests, phase = head.split(b" ")
    shown, begun, *events = rest.split(b"\n")
    results = (
        {
            int(seq): RESULT.validate_python(result)
            for seq, result in orjson.loads(shown).items()
        }
        if shown != b"{}"
        else {}
    )
    assert len(events) == int(count)
    draft = orjson.loads(begun) if begun else ""
    return CommitFrame(int(base), events, int(n), draft, rests == b"1", phase.decode(), results)
