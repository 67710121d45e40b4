"""`contextd import`: makes contexts of conversations from other programs, and can undo it.

A conversation is imported whole or not at all: it is made into an export and sent to
`POST /api/contexts/import`, where the machine replays it before anything is kept. The report
is written after each one, so an import that was killed goes on where it was, and can be
taken back. Exit codes: 0 done, 1 something is wrong; `undo` included.
"""

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from contextd_client import Contextd, ContextdError, NotFound
from fsm import ContextCreated, MessagesRecorded, RecordedMessage
from runtime.histories import OldConversation, OldMessage, Unreadable, read_history
from storage import unix_ms

MESSAGES_AT_ONCE: Final = 1_000
"""Messages in one event of the log that is made."""
PROBLEMS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command line has said."""

    url: str
    key: str | None
    report: Path
    skip_broken: bool = False


class Imported(BaseModel):
    """A conversation that is a context now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_id: str
    title: str
    messages: int
    context_id: str


class ImportReport(BaseModel):
    """What was imported, and from what; enough to go on and to take it back."""

    model_config = ConfigDict(extra="forbid")

    file: str
    sha256: str
    url: str
    at_ms: int
    """When it began, or was last taken back: what has no time of its own is from then."""
    conversations: list[Imported] = []
    skipped: dict[str, list[str]] = {}
    """Problems of the conversations that were left out."""

    def save(self, path: Path) -> None:
        """Write it so that there is always a whole one."""
        beside = path.with_name(f".{path.name}.new")
        with beside.open("wb") as file:
            file.write(self.model_dump_json(indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def check_history(path: Path) -> int:
    """The dry run: say what is in a file and what is wrong with it; the exit code."""
    try:
        found = read_history(path)
    except (Unreadable, OSError) as error:
        return _fail(str(error))
    for one in found:
        times = [message.at_ms for message in one.messages if message.at_ms is not None]
        dated = f", {len(times)} of them dated" if one.messages else ""
        _say(f"{one.title or one.source_id}: {len(one.messages)} messages{dated}")
    return _tell_problems(found)


def run_import(path: Path, options: ImportOptions) -> int:
    """Import a file; the exit code."""
    try:
        found = read_history(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        report = _report_to_go_on_with(options, path, digest)
    except (Unreadable, OSError) as error:
        return _fail(str(error))
    if _tell_problems(found) and not options.skip_broken:
        return _fail("Nothing was imported. --skip-broken imports the others.")
    try:
        return asyncio.run(_import_all(found, report, options))
    except ContextdError as error:
        return _fail(f"{error}. Run it again: it goes on where it was.")


def undo_import(options: ImportOptions) -> int:
    """Delete what a report says was imported; the exit code."""
    try:
        report = ImportReport.model_validate_json(options.report.read_bytes())
    except (OSError, ValidationError) as error:
        return _fail(f"{options.report} is no report of an import: {error}")
    try:
        return asyncio.run(_undo(report, options))
    except ContextdError as error:
        return _fail(f"{error}. Run it again: it goes on where it was.")


def _report_to_go_on_with(options: ImportOptions, path: Path, digest: str) -> ImportReport:
    """The report of an import of the same file that was cut short, or a new one.

    Raises:
        Unreadable: There is a report, and it is of something else.
    """
    if not options.report.exists():
        at_ms = unix_ms()
        fresh = ImportReport(file=path.name, sha256=digest, url=options.url, at_ms=at_ms)
        fresh.save(options.report)  # before anything is sent: the same again is the same bytes
        return fresh
    try:
        before = ImportReport.model_validate_json(options.report.read_bytes())
    except ValidationError:
        raise Unreadable(f"{options.report} exists and is no report of an import.") from None
    if (before.sha256, before.url) != (digest, options.url):
        detail = f"{options.report} is the report of another import; name another one."
        raise Unreadable(detail)
    return before


async def _import_all(
    found: Sequence[OldConversation], report: ImportReport, options: ImportOptions
) -> int:
    done = {one.source_id for one in report.conversations}
    messages = sum(one.messages for one in report.conversations)
    everything = sum(len(one.messages) for one in found)
    async with Contextd(options.url, key=options.key) as client:
        for number, one in enumerate(found, start=1):
            if one.problems or not one.messages:
                report.skipped[one.source_id] = one.problems or ["it has no messages"]
            elif one.source_id not in done:
                key = _key_of(report, one)
                made = await client.import_context(
                    export_of(one, key, at_ms=report.at_ms), idempotency_key=key
                )
                messages += len(one.messages)
                report.conversations.append(
                    Imported(
                        source_id=one.source_id,
                        title=one.title,
                        messages=len(one.messages),
                        context_id=made.id,
                    )
                )
            report.save(options.report)
            counted = f"{messages:,} of {everything:,} messages"
            _say(f"{number} of {len(found)} conversations, {counted}")
    left_out = len(report.skipped)
    _say(f"Imported {len(report.conversations)}, left out {left_out}. Report: {options.report}")
    return 1 if left_out else 0


def _key_of(report: ImportReport, one: OldConversation) -> str:
    named = f"{report.sha256}\n{report.at_ms}\n{one.source_id}"
    return hashlib.sha256(named.encode()).hexdigest()


async def _undo(report: ImportReport, options: ImportOptions) -> int:
    report.at_ms = unix_ms()  # whoever imports again is not to be answered with what is gone
    async with Contextd(options.url, key=options.key) as client:
        while report.conversations:
            one = report.conversations[-1]
            with contextlib.suppress(NotFound):  # somebody has deleted it already
                await client.context(one.context_id).delete()
            report.conversations.pop()
            report.save(options.report)
            _say(f"Deleted {one.title or one.source_id}; {len(report.conversations)} to go")
    options.report.unlink()
    return 0


def export_of(one: OldConversation, name: str, *, at_ms: int) -> bytes:
    """A conversation as an export: always the same for the same conversation.

    Args:
        one: What was kept.
        name: Hex digits that no other conversation has; its ids are made of them.
        at_ms: When it is from, where none of its messages says so.
    """
    first_ms = next((m.at_ms for m in one.messages if m.at_ms is not None), at_ms)
    created = ContextCreated(
        at_ms=first_ms,
        context_id=f"{name[:8]}-{name[8:12]}-8{name[12:15]}-8{name[15:18]}-{name[18:30]}",
        owner="import",
        title=one.title,
    )
    events = [orjson.Fragment(created.model_dump_json())]
    last_ms = first_ms
    for start in range(0, len(one.messages), MESSAGES_AT_ONCE):
        batch = one.messages[start : start + MESSAGES_AT_ONCE]
        last_ms = max([last_ms, *(m.at_ms for m in batch if m.at_ms is not None)])
        recorded = MessagesRecorded(at_ms=last_ms, messages=tuple(map(_recorded, batch)))
        events.append(orjson.Fragment(recorded.model_dump_json()))
    return orjson.dumps({"format": "contextd-export/1", "events": events})


def _recorded(message: OldMessage) -> RecordedMessage:
    return RecordedMessage(
        role=message.role,
        content=message.content,
        parts=message.parts,
        created_at_ms=message.at_ms,
        client_message_id=message.id,
        metadata={"imported": True},
    )


def _tell_problems(found: Sequence[OldConversation]) -> int:
    problems = [problem for one in found for problem in one.problems]
    for problem in problems[:PROBLEMS_SHOWN]:
        sys.stderr.write(f"{problem}\n")
    if len(problems) > PROBLEMS_SHOWN:
        sys.stderr.write(f"... and {len(problems) - PROBLEMS_SHOWN} more\n")
    messages = sum(len(one.messages) for one in found)
    _say(f"{len(found)} conversations, {messages:,} messages, {len(problems)} problems")
    return 1 if problems else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(text: str) -> int:
    sys.stderr.write(f"contextd: {text}\n")
    return 1
