"""Judges what clients have recorded; every function returns the faults that it found.

Nothing in here asks the service: a history is right or wrong by what was sent, what was
acknowledged and what was shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.support.http_client import Json, Recording, StreamFrame


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that a client has sent, perhaps several times under one key."""

    content: str
    """Unique in the history."""
    began_s: float
    """When it was first sent."""
    acked_s: float | None
    """When the first 2xx came; None: never, so it may be there or not."""


def history_faults(sent: Sequence[Sent], kept: Sequence[str]) -> list[str]:
    """Faults of the messages that a context has kept, against what was sent.

    Args:
        sent: All messages that clients have sent.
        kept: Contents of the user messages, in the order of the context.
    """
    faults: list[str] = []
    times = Counter(kept)
    known = {one.content for one in sent}
    faults += [f"lost: {one.content}" for one in sent if one.acked_s and not times[one.content]]
    faults += [f"duplicated: {content}" for content, count in times.items() if count > 1]
    faults += [f"phantom: {content}" for content in times if content not in known]
    place = {content: number for number, content in enumerate(kept)}
    present = [one for one in sent if one.content in place]
    faults += [
        f"reordered: {later.content} before {earlier.content}"
        for earlier in present
        for later in present
        if earlier.acked_s is not None
        and earlier.acked_s < later.began_s
        and place[later.content] < place[earlier.content]
    ]
    return faults


def contents(context: Json, role: str = "user") -> list[str]:
    """What one role has said in a context, in order."""
    return [m["content"] for m in context["messages"] if m["role"] == role]


def everything_said(context: Json) -> list[str]:
    """What the user has said in a context, with what still waits in its queue."""
    return [*contents(context), *(waiting["content"] for waiting in context["queue"])]


def answer_faults(context: Json) -> list[str]:
    """Each user message must be followed by exactly one whole answer to it."""
    faults: list[str] = []
    shown = [m for m in context["messages"] if m["role"] in {"user", "assistant"}]
    for said, answer in pairwise([*shown, {"role": "user"}]):
        if said["role"] == "user" and answer["role"] != "assistant":
            faults.append(f"unanswered: {said['content']}")
        if said["role"] == "assistant" and answer["role"] == "assistant":
            faults.append(f"answered twice: {answer['content'][:80]}")
        if said["role"] == "assistant" and said["status"] != "complete":
            faults.append(f"not whole: {said['content'][:80]}")
    return faults


def poll_faults(polls: Sequence[Json], final: Json) -> list[str]:
    """Contexts as one poller saw them: each a prefix of the next, and of the final one."""
    faults: list[str] = []
    for earlier, later in pairwise([*polls, final]):
        before = [message["id"] for message in earlier["messages"]]
        after = [message["id"] for message in later["messages"]]
        if after[: len(before)] != before:
            faults.append(f"history changed between {earlier['cursor']} and {later['cursor']}")
        if earlier["version"] > later["version"]:
            faults.append(f"went back from {earlier['cursor']} to {later['cursor']}")
    return faults


def stream_faults(frames: Sequence[StreamFrame]) -> list[str]:
    """One stream, over all of its connections: no gap, no duplicate, no lost text.

    A `reset` begins anew. Whatever else has no id (`hello`, `bye`) has no place in it.
    """
    faults: list[str] = []
    at: tuple[str, int, int] | None = None
    for frame in frames:
        if not frame.id:
            continue
        epoch, version, n = _cursor(frame.id)
        if frame.event in {"snapshot", "reset"}:
            if frame.event == "snapshot" and at is not None:
                faults.append(f"a second snapshot at {frame.id}")
        elif at is None:
            # Resumed from elsewhere: the first frame says where.
            pass
        elif epoch != at[0]:
            faults.append(f"another epoch without a reset: {at} then {frame.id}")
        elif frame.event == "reply-delta":
            if version != at[1] or n != at[2] + len(frame.data["text"]):
                faults.append(f"text is missing or doubled: {at} then {frame.id}")
            if n != frame.data["n"]:
                faults.append(f"cursor and n differ at {frame.id}")
        elif version != at[1] + 1:
            faults.append(f"an event is missing or doubled: {at} then {frame.id}")
        elif frame.event == "reply-ended" and at[2] != len(frame.data["text"]):
            faults.append(f"the end of the text is missing: {at} then {frame.id}")
        at = (epoch, version, n)
    return faults


def events_of(recording: Recording) -> list[tuple[int, str]]:
    """Committed events as a stream has shown them: version and kind."""
    return [
        (_cursor(frame.id)[1], frame.event)
        for frame in recording.frames
        if frame.id and frame.event not in {"snapshot", "reset", "reply-delta"}
    ]


def streamed_texts(frames: Sequence[StreamFrame]) -> Mapping[str, str]:
    """Replies by message id, put together from the deltas alone, as a frontend would.

    A `snapshot` or `reset` brings the draft so far; a `reply-restarted` throws it away.
    """
    texts: dict[str, str] = {}
    drafting: str | None = None
    for frame in frames:
        match frame.event:
            case "snapshot" | "reset":
                context = frame.data["context"] if frame.event == "reset" else frame.data
                draft = context["draft"]
                drafting = draft and draft["message_id"]
                if draft:
                    texts[draft["message_id"]] = draft["text"]
            case "reply-delta":
                message_id: str = frame.data["message_id"]
                texts[message_id] = texts.get(message_id, "") + frame.data["text"]
                drafting = message_id
            case "reply-restarted" | "reply-failed":
                if drafting is not None:
                    texts.pop(drafting, None)
                drafting = None
            case _:
                pass
    return texts


def text_faults(frames: Sequence[StreamFrame], context: Json) -> list[str]:
    """The replies put together from a stream against those that were committed."""
    texts = streamed_texts(frames)
    replies = {m["id"]: m["content"] for m in context["messages"] if m["role"] == "assistant"}
    return [
        f"{message_id}: streamed {text!r:.200}, committed {replies.get(message_id)!r:.200}"
        for message_id, text in texts.items()
        if replies.get(message_id) != text
    ]


def _cursor(text: str) -> tuple[str, int, int]:
    epoch, version, n = text.split(".")
    return epoch, int(version), int(n)
