"""A subscriber that folds what it is shown, as a client would that keeps nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from fsm import ContextState, decode_event, drafting, replay
from gateway.mirror import Mirror
from storage import View
from tests.support.service import Json


@dataclass
class Fold:
    """A context as of what was shown of it, from its first event on."""

    states: list[ContextState] = field(default_factory=list[ContextState])
    """By version, from 1 on."""
    events: list[Json] = field(default_factory=list[Json])
    draft: str = ""
    cursor: str = ""
    texts: dict[str, str] = field(default_factory=dict[str, str])
    """The longest text that each reply has had as a draft, by its id."""

    @property
    def state(self) -> ContextState:
        return self.states[-1]

    def take(self, frame_id: str, event: str, data: Json) -> None:
        """One frame of a stream, a socket or a page of events."""
        if event in {"hello", "action-result"}:
            return
        if event == "reply-delta":
            assert drafting(self.state) == data["message_id"], (frame_id, data)
            self.draft += data["text"]
            assert len(self.draft) == data["n"], (frame_id, data, self.draft)
        else:
            assert data["kind"] == event
            before = drafting(self.state) if self.states else None
            self.events.append(data)
            decoded = decode_event(orjson.dumps(data))
            self.states.append(replay([decoded], self.states[-1] if self.states else None))
            assert self.state.version == len(self.states)
            if drafting(self.state) is None or drafting(self.state) != before:
                self.draft = ""
        epoch, _, _ = frame_id.partition(".")
        self.cursor = f"{epoch}.{len(self.states)}.{len(self.draft)}"
        assert frame_id == self.cursor, (event, data)
        if (reply_id := drafting(self.state)) is not None:
            self.texts[reply_id] = max(self.texts.get(reply_id, ""), self.draft, key=len)

    def view_at(self, cursor: str) -> Json:
        """What the wire shows of a state at a cursor that may lie before."""
        epoch, version, n = cursor.split(".")
        state = self.states[int(version) - 1]
        text = self.texts.get(drafting(state) or "", "")[: int(n)]
        assert len(text) == int(n), (cursor, text)
        return view_of(state, epoch, text)


def view_of(state: ContextState, epoch: str, draft: str = "") -> Json:
    """The wire form of a state."""
    return orjson.loads(Mirror(View(state, len(draft), draft), epoch).context_json())


def fold(frames: Sequence[tuple[str, str, Json]]) -> Fold:
    """The fold of whole frames: id, event, data."""
    made = Fold()
    for frame_id, event, data in frames:
        made.take(frame_id, event, data)
    return made
