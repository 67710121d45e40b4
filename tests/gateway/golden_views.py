"""Golden histories as the streams show them, and the view after each frame.

`python -m tests.gateway.golden_views` writes them to `frontend/client/tests/golden`, where the
client's reducer is held to them. They are made of the golden histories of the machine, each
reply arriving in pieces, and of some that only views make difficult.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import orjson

from fsm import decode_event, drafting, replay
from gateway.mirror import Mirror
from gateway.stream import Frame, Position, delta_frame, event_frames
from storage import View
from tests.fsm.goldens import GOLDEN, log_lines
from tests.support.playbook import STARTED, Playbook, cancel, edit, replied, say
from tests.support.service import Json

WRITTEN: Final = Path(__file__).parents[2] / "frontend" / "client" / "tests" / "golden"
EPOCH: Final = "1763750000000"
PIECE: Final = 3
"""Characters of a reply that arrive at once."""


def histories() -> dict[str, str]:
    """Logs by name, one event a line."""
    logs = {path.stem: path.read_text() for path in sorted(GOLDEN.glob("*.jsonl"))}
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    words = f"a\u0301 {family}{family} \U0001f1e8\U0001f1ed \x1c \x85 \ufeff  \U0001f44b end"
    emoji = Playbook().given(say(words * 3), STARTED, replied(words))
    emoji.given(
        say("More."), STARTED, cancel(f"{family}"), say("\u3000 "), STARTED, replied("")
    )
    logs["emoji"] = log_lines(emoji)
    edited = Playbook().given(say("One."), STARTED, replied("1"))
    edited.given(edit(edited.state.messages[0].id, "Two."), STARTED, replied("2"))
    edited.given(say("Three."), STARTED, replied("3"))
    logs["after-an-edit"] = log_lines(edited)
    return logs


def views(log: str) -> Json:
    """The first view, then each frame with the fields of the view that it changes."""
    lines = [line.encode() for line in log.split("\n") if line]
    texts = {
        event["message_id"]: event.get("text") or event.get("partial", "")
        for event in map(orjson.loads, lines)
        if event.get("message_id") and event["kind"] != "reply-started"
    }
    first = replay([decode_event(lines[0])])
    mirror = Mirror(View(first, 0, ""), EPOCH)
    shown: Json = orjson.loads(mirror.context_json())
    steps: list[Json] = []
    before = shown

    def step(frame: Frame) -> None:
        nonlocal before
        after = orjson.loads(mirror.context_json())
        changed = {key: value for key, value in after.items() if before[key] != value}
        data = orjson.loads(frame.data)
        steps.append({"frame": {"id": frame.id, "event": frame.event, "data": data}})
        steps[-1]["changed"] = changed
        before = after

    for line in lines[1:]:
        at = Position(mirror.version, mirror.view.n)
        for frame, _ in event_frames(EPOCH, at, [line]):
            if frame.event == "reply-delta":
                mirror.append_draft(orjson.loads(frame.data)["text"])
            else:
                mirror.apply([line], "")
            step(frame)
        for frame in _pieces(mirror, texts):
            step(frame)
    return {"view": shown, "steps": steps}


def _pieces(mirror: Mirror, texts: Mapping[str, str]) -> Iterator[Frame]:
    """The beginning of the reply that is being streamed, in pieces; its end comes with it."""
    message_id = drafting(mirror.view.state)
    if message_id is None or mirror.view.n > 0:
        return
    text = texts.get(message_id, "")
    for at in count(0, PIECE):
        piece = text[at : min(at + PIECE, len(text) * 2 // 3)]
        if not piece:
            return
        mirror.append_draft(piece)
        n = mirror.view.n
        yield delta_frame(EPOCH, mirror.version, n, message_id=message_id, text=piece)


def written(log: str) -> str:
    """The file of one history: a step a line."""
    made = views(log)
    lines = [json.dumps(made["view"]), *(json.dumps(one) for one in made["steps"])]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    WRITTEN.mkdir(parents=True, exist_ok=True)
    for name, log in histories().items():
        (WRITTEN / f"{name}.jsonl").write_text(written(log))
