"""Streams for tests of their checker: what a faultless service shows of one made-up log.

A subscriber may be cut after any frame and resume later: then what it lacks of a reply comes
as one delta, and what it lacks of a reply that was dropped meanwhile does not come at all.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.verify.histories import CONTEXT, EPOCH
from verify.records import (
    Connection,
    Cursor,
    Final,
    Json,
    Message,
    StreamFrame,
    StreamRecording,
)


class Shown(NamedTuple):
    """A frame as everybody is shown it."""

    at: Cursor
    event: str
    data: Json


@dataclass(slots=True)
class Log:
    """A context's log, with all that is streamed of it."""

    epoch: str = EPOCH
    version: int = 1
    n: int = 0
    message_id: str = ""
    text: str = ""
    shown: list[Shown] = field(default_factory=list[Shown])
    messages: list[Message] = field(default_factory=list[Message])

    def event(self, kind: str, **data: Json) -> None:
        """One more event."""
        self.version += 1
        self._show(kind, {"kind": kind, **data})

    def begin(self, message_id: str) -> None:
        """A reply begins."""
        self.message_id, self.text, self.n = message_id, "", 0
        self.event("reply-started", message_id=message_id)

    def grow(self, text: str) -> None:
        """Some of the reply arrives."""
        self.text += text
        self.n += len(text)
        data = {"message_id": self.message_id, "n": self.n, "text": text}
        self._show("reply-delta", data)

    def restart(self) -> None:
        """What has arrived is dropped."""
        self.n = 0
        self.event("reply-restarted", partial=self.text)

    def end(self) -> None:
        """The reply is whole."""
        self.n = 0
        self.event("reply-ended", message_id=self.message_id, text=self.text)
        made = Message(id=self.message_id, role="assistant", content=self.text)
        self.messages.append(made)

    def cancel(self) -> None:
        """The reply is stopped, and what there is of it kept."""
        self.n = 0
        self.event("cancel-requested", partial=self.text)
        self._keep()

    def interrupt(self) -> None:
        """A message stops the reply, and what there is of it is kept."""
        self.n = 0
        self.event("message-received", policy="interrupt", partial=self.text)
        self._keep()

    def roll_back(self) -> None:
        """A message stops the reply, and nothing is kept of it."""
        self.n = 0
        self.event("message-received", policy="rollback", partial="")

    def _keep(self) -> None:
        made = Message(
            id=self.message_id, role="assistant", content=self.text, status="cancelled"
        )
        self.messages.append(made)

    def _show(self, event: str, data: Json) -> None:
        self.shown.append(Shown(Cursor(self.epoch, self.version, self.n), event, data))

    def at_rest(self) -> Final:
        """The context at the end."""
        return Final(
            context_id=CONTEXT,
            epoch=self.epoch,
            version=self.version,
            status="idle",
            messages=tuple(self.messages),
        )


def cursor_text(at: Cursor) -> str:
    """As on the wire."""
    return f"{at.epoch}.{at.version}.{at.n}"


def state_at(log: Log, place: int) -> Json:
    """The state view behind so many frames, as far as the checker reads it."""
    at = log.shown[place - 1].at if place else Cursor(log.epoch, 1, 0)
    draft: Json = None
    text = ""
    for shown in log.shown[:place]:
        if shown.event == "reply-started":
            text = ""
        elif shown.event == "reply-delta":
            text += shown.data["text"]
        draft = shown.data["message_id"] if shown.event == "reply-delta" else draft
    if at.n:
        draft = {"message_id": draft, "n": at.n, "text": text}
    shown_draft = draft if at.n else None
    return {"cursor": cursor_text(at), "version": at.version, "draft": shown_draft}


def watch(
    log: Log, cuts: Sequence[tuple[int, int]] = (), *, begins: int = 0, name: str = "viewer"
) -> StreamRecording:
    """A subscriber who begins with a snapshot, and what it is shown.

    Args:
        log: Of the context.
        cuts: Each with how many frames the log had when it happened and when it was over.
        begins: How many frames the log had when it subscribed.
        name: Of the subscriber.
    """
    frames: list[StreamFrame] = []
    connections: list[Connection] = []

    def show(event: str, data: Json, at: Cursor | None, moment: float) -> None:
        text = cursor_text(at) if at else ""
        frames.append(StreamFrame(text, event, data, moment, len(connections) - 1))

    at = log.shown[begins - 1].at if begins else Cursor(log.epoch, 1, 0)
    place, resumed_from = begins, None
    for cut, over in [*cuts, (len(log.shown), -1)]:
        connections.append(Connection(opened_s=place, last_event_id=resumed_from))
        here = log.shown[place - 1].at if place else at
        hello = {
            "epoch": here.epoch,
            "cursor": cursor_text(here),
            "resumed": resumed_from is not None,
        }
        show("hello", hello, None, place)
        if resumed_from is None:
            show("snapshot", state_at(log, place), at, place)
        else:
            missed = [one for one in log.shown[:place] if one.at > at]
            for one in merged(missed):
                show(one.event, one.data, one.at, place)
                at = one.at
        for number, one in enumerate(log.shown[place:cut], start=place + 1):
            show(one.event, one.data, one.at, number)
            at = one.at
        if over >= 0:
            connections[-1] = replace(connections[-1], closed_s=cut)
            place, resumed_from = over, cursor_text(at)
    return StreamRecording(
        subscriber=name, context_id=CONTEXT, frames=frames, connections=connections
    )


def merged(missed: Sequence[Shown]) -> list[Shown]:
    """What is shown of what was missed."""
    result: list[Shown] = []
    for one in missed:
        dropped = one.event == "reply-restarted" or one.data.get("policy") == "rollback"
        if dropped and result and result[-1].event == "reply-delta":
            result.pop()
        if one.event == "reply-delta" and result and result[-1].event == "reply-delta":
            text = result.pop().data["text"] + one.data["text"]
            result.append(one._replace(data={**one.data, "text": text}))
        else:
            result.append(one)
    return result


def random_log(rng: random.Random, *, turns: int) -> Log:
    """A log of some turns, some of them with restarts, or cut short."""
    log = Log()
    for turn in range(turns):
        log.event("message-received", content=f"question {turn}")
        attempts = rng.choice((1, 1, 1, 2, 3))
        for attempt in range(attempts):
            log.begin(f"m{turn}.{attempt}")
            for _ in range(rng.randint(0, 5)):
                log.grow(rng.choice(("Hello", " ", "wörld", "🙂")))
            if rng.random() < 0.2:
                log.event("context-renamed", title=f"title {turn}")
            if attempt < attempts - 1:
                log.restart()
            elif log.text and rng.random() < 0.4:
                rng.choice((log.cancel, log.interrupt, log.roll_back))()
            else:
                log.end()
    return log


def random_cuts(rng: random.Random, log: Log, begins: int) -> list[tuple[int, int]]:
    """Cuts at random places."""
    ends = sorted(rng.randint(begins, len(log.shown)) for _ in range(2 * rng.randint(0, 4)))
    return list(zip(ends[::2], ends[1::2], strict=True))
