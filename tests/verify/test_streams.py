"""The stream checker accepts every stream that was cut and resumed, and no other."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from fsm import EVENT_TYPES, ends_draft
from tests.verify.shows import Log, random_cuts, random_log, state_at, watch
from verify.records import (
    NO_LOSSES,
    Connection,
    Final,
    Json,
    Losses,
    Message,
    StreamFrame,
    StreamRecording,
)
from verify.streams import CUTS_IN, ENDS_DRAFT, check_streams

RNG = st.randoms(use_true_random=False)


def sample_log() -> Log:
    """One reply that is dropped half-way, and its second attempt."""
    log = Log()
    log.event("message-received", content="a")  # frame 1
    log.begin("m1")
    log.grow("Hel")
    log.grow("lo")
    log.restart()  # frame 5
    log.begin("m2")
    log.grow("Hello ")
    log.grow("world")
    log.event("context-renamed", title="b")
    log.grow("!")  # frame 10
    log.end()
    return log


def checks(
    *recordings: StreamRecording, end: Final | None = None, losses: Losses = NO_LOSSES
) -> set[str]:
    """Names of the checks that refuse some recordings of one context."""
    found = check_streams(recordings, [end] if end else [], losses=losses)
    return {violation.check for violation in found}


def test_an_uncut_stream_is_accepted() -> None:
    log = sample_log()
    assert checks(watch(log), end=log.at_rest()) == set()


def test_a_stream_cut_anywhere_and_resumed_anywhere_is_accepted() -> None:
    log = sample_log()
    length = len(log.shown)
    for cut in range(length + 1):
        for over in range(cut, length + 1):
            assert checks(watch(log, [(cut, over)]), end=log.at_rest()) == set()


def test_a_stream_that_begins_anywhere_is_accepted() -> None:
    log = sample_log()
    for begins in range(len(log.shown) + 1):
        recording = watch(log, begins=begins)
        assert checks(recording, watch(log), end=log.at_rest()) == set()


def test_a_stream_that_begins_with_a_cursor_from_elsewhere_is_accepted() -> None:
    log = sample_log()
    whole = watch(log, [(8, 11)])
    frames = [replace(frame, connection=0) for frame in whole.frames if frame.connection == 1]
    recording = replace(whole, frames=frames, connections=whole.connections[1:])
    assert checks(recording, end=log.at_rest()) == set()


@given(rng=RNG, turns=st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_whatever_a_faultless_service_shows_is_accepted(rng: random.Random, turns: int) -> None:
    log = random_log(rng, turns=turns)
    recordings: list[StreamRecording] = []
    for number in range(3):
        begins = rng.randint(0, len(log.shown))
        cuts = random_cuts(rng, log, begins)
        recordings.append(watch(log, cuts, begins=begins, name=f"viewer {number}"))
    assert checks(*recordings, end=log.at_rest()) == set()


def _without(frames: list[StreamFrame], at: int) -> None:
    del frames[at]


def _twice(frames: list[StreamFrame], at: int) -> None:
    frames.insert(at, frames[at])


def _exchanged(frames: list[StreamFrame], at: int) -> None:
    frames[at], frames[at + 1] = frames[at + 1], frames[at]


def _other_text(frames: list[StreamFrame], at: int) -> None:
    text = frames[at].data.get("text", "")
    data = {**frames[at].data, "text": text[::-1], "content": "changed"}
    frames[at] = replace(frames[at], data=data)


def drops(frame: StreamFrame) -> bool:
    """Whether an event drops the text of a reply."""
    return frame.event == "reply-restarted" or frame.data.get("policy") == "rollback"


@pytest.mark.parametrize("mutate", [_without, _twice, _exchanged, _other_text])
@given(rng=RNG)
@settings(max_examples=100, deadline=None)
def test_one_fault_anywhere_is_refused(
    mutate: Callable[[list[StreamFrame], int], None], rng: random.Random
) -> None:
    log = random_log(rng, turns=3)
    log.event("context-renamed", title="the end")
    cuts = random_cuts(rng, log, 0)
    broken = watch(log, cuts, name="broken")
    frames = list(broken.frames)
    places = [
        place
        for place, frame in enumerate(frames[:-1])
        if frame.event not in {"hello", "snapshot", "context-renamed", "reply-restarted"}
        and frame.connection == frames[place + 1].connection
        and not any(map(drops, frames[place + 1 :]))  # what is dropped need not come
        and frame.data.get("text", "ab") != frame.data.get("text", "ab")[::-1]
    ]
    if not places:
        return
    mutate(frames, rng.choice(places))
    assert checks(watch(log), replace(broken, frames=frames), end=log.at_rest())


# By hand. Frames of the sample: 0 hello, 1 snapshot, then as the log has them.

Mutation = Callable[[list[StreamFrame]], object]


def _put(place: int, **changes: Json) -> Mutation:
    def put(frames: list[StreamFrame]) -> None:
        frames[place] = replace(frames[place], **changes)

    return put


def _data(place: int, **changes: Json) -> Mutation:
    def put(frames: list[StreamFrame]) -> None:
        frames[place] = replace(frames[place], data={**frames[place].data, **changes})

    return put


def _insert(place: int, id_: str, event: str, data: Json) -> Mutation:
    return lambda frames: frames.insert(place, StreamFrame(id_, event, data, 1.0, 0))


def _anew(epoch: str, version: int) -> Json:
    state = {"cursor": f"{epoch}.{version}.0", "version": version, "draft": None}
    return {"reason": "because", "context": state}


WRONG: dict[str, tuple[str, Mutation]] = {
    "an event is missing": ("gap", lambda frames: frames.pop(2)),
    "an event comes twice": ("event-twice", lambda frames: frames.insert(3, frames[2])),
    "text is missing": ("text-gap", lambda frames: frames.pop(8)),
    "text comes twice": ("text-twice", lambda frames: frames.insert(9, frames[8])),
    "the end of the text is missing": ("text-differs", lambda frames: frames.pop(11)),
    "a letter is wrong": ("text-differs", _data(8, text="Hallo ")),
    "dropped text is not what was streamed": ("text-differs", _data(4, text="Hal")),
    "the reply is another one": ("text-differs", _data(12, message_id="m9")),
    "the reply changes its id": ("text-differs", _data(9, message_id="m9")),
    "text is shown after the restart that dropped it": (
        "stray-text",
        lambda frames: frames.insert(7, replace(frames[4], id="100.4.3")),
    ),
    "n and the cursor disagree": ("bad-cursor", _put(8, id="100.5.7")),
    "an event resets the draft that does not": ("bad-cursor", _put(10, id="100.6.0")),
    "a cursor is none": ("bad-cursor", _put(2, id="100.2")),
    "the epoch changes without a reset": ("epoch-without-reset", _put(2, id="101.2.0")),
    "the stream begins anew in the same epoch": (
        "reset-without-loss",
        _insert(3, "100.2.0", "reset", _anew("100", 2)),
    ),
    "the stream begins anew under an epoch that nothing explains": (
        "epoch-without-loss",
        _insert(13, "101.7.0", "reset", _anew("101", 7)),
    ),
    "the stream begins anew and nothing was resumed": (
        "reset-without-loss",
        _put(1, event="reset", data=_anew("100", 1)),
    ),
    "a snapshot comes in the middle": (
        "unasked-snapshot",
        lambda frames: frames.insert(3, replace(frames[1], id="100.2.0")),
    ),
    "there is no snapshot": ("no-snapshot", lambda frames: frames.pop(1)),
    "a snapshot is of another version": ("torn-snapshot", _data(1, version=2)),
    "there is no hello": ("no-hello", lambda frames: frames.pop(0)),
    "there are two": ("no-hello", lambda frames: frames.insert(1, frames[0])),
    "hello says that it resumed": ("false-hello", _data(0, resumed=True)),
    "a frame comes after the bye": ("after-bye", _insert(4, "", "bye", {"reason": "x"})),
    "a frame comes after the deletion": (
        "after-deletion",
        _put(2, event="context-deleted", data={"kind": "context-deleted"}),
    ),
    "a frame is named after another event": ("torn-event", _put(2, event="context-renamed")),
    "others are shown another event": ("disagree", _data(2, content="b")),
    "the last event does not come": ("behind", lambda frames: frames.pop()),
    "frames are of no connection": ("bad-recording", _put(12, connection=7)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_stream_is_refused_for_its_reason(name: str) -> None:
    check, mutate = WRONG[name]
    log = sample_log()
    frames = list(watch(log).frames)
    mutate(frames)
    broken = replace(watch(log, name="broken"), frames=frames)
    assert check in checks(watch(log), broken, end=log.at_rest())


def _without_text(frames: list[StreamFrame]) -> None:
    del frames[11]


@pytest.mark.parametrize(
    "mutate",
    [
        _without_text,
        _data(8, text="Hallo "),
        _data(12, message_id="m9"),
        _data(6, partial="Help!"),
    ],
)
def test_an_event_that_ends_a_reply_tells_what_was_streamed_of_it(mutate: Mutation) -> None:
    # Given one subscriber alone, and nobody who knows the end
    frames = list(watch(sample_log()).frames)
    assert checks(watch(sample_log())) == set()
    mutate(frames)
    assert checks(replace(watch(sample_log()), frames=frames)) == {"text-differs"}


def test_the_text_of_a_reply_is_that_of_its_message() -> None:
    log = sample_log()
    changed = (Message(id="m2", role="assistant", content="Hello world?"),)
    end = replace(log.at_rest(), messages=changed)
    assert checks(watch(log), end=end) == {"text-differs"}


def test_a_kept_part_of_a_reply_is_that_of_its_message() -> None:
    log = Log()
    log.begin("m1")
    log.grow("some")
    log.grow(" more")
    log.cancel()
    frames = list(watch(log).frames)
    assert checks(watch(log), end=log.at_rest()) == set()
    del frames[-2]
    assert checks(replace(watch(log), frames=frames), end=log.at_rest()) == {"text-differs"}


@pytest.mark.parametrize("policy", sorted(CUTS_IN))
def test_a_message_that_cuts_in_ends_the_draft(policy: str) -> None:
    log = Log()
    log.begin("m1")
    log.grow("some")
    if policy == "interrupt":
        log.interrupt()
    else:
        log.roll_back()
    log.begin("m2")
    log.grow("else")
    log.end()
    assert checks(watch(log), end=log.at_rest()) == set()
    # Not so if it counts as sent only later, or does not cut in
    frames = list(watch(log).frames)
    cutting = next(place for place, frame in enumerate(frames) if "policy" in frame.data)
    for changes in ({"policy": "enqueue"}, {"at_ms": 1, "not_before_ms": 2}):
        broken = [*frames]
        broken[cutting] = replace(frames[cutting], data={**frames[cutting].data, **changes})
        assert "bad-cursor" in checks(replace(watch(log), frames=broken))


def test_what_a_message_keeps_of_a_reply_is_what_was_streamed() -> None:
    log = Log()
    log.begin("m1")
    log.grow("some")
    log.interrupt()
    frames = list(watch(log).frames)
    frames[-1] = replace(frames[-1], data={**frames[-1].data, "partial": "same"})
    assert checks(replace(watch(log), frames=frames)) == {"text-differs"}


def test_a_resumption_that_skips_text_is_refused() -> None:
    # Given a stream cut in the middle of a reply, and resumed after its end
    log = sample_log()
    recording = watch(log, [(7, 11)])
    frames = list(recording.frames)
    resumed = next(place for place, frame in enumerate(frames) if frame.connection == 1)
    delta = frames[resumed + 1]
    assert delta.event == "reply-delta"
    # When the resumed part lacks a character
    text = delta.data["text"][1:]
    frames[resumed + 1] = replace(delta, data={**delta.data, "text": text})
    # Then it is refused
    assert "text-gap" in checks(replace(recording, frames=frames), end=log.at_rest())


def test_a_resumption_from_elsewhere_is_told() -> None:
    log = sample_log()
    recording = watch(log, [(7, 11)])
    elsewhere = replace(recording.connections[1], last_event_id="100.4.0")
    broken = replace(recording, connections=[recording.connections[0], elsewhere])
    assert "bad-recording" in checks(broken, end=log.at_rest())


def _set_back(version: int, *, resumed: bool = False) -> tuple[StreamRecording, Final]:
    """A stream that begins anew under epoch 101, and the context at rest there."""
    before = sample_log()
    recording = watch(before, [(11, 11)])
    after = Log(epoch="101", version=version)
    frames = [frame for frame in recording.frames if frame.connection == 0]
    hello = {"epoch": "101", "cursor": f"101.{version}.0", "resumed": resumed}
    frames.append(StreamFrame("", "hello", hello, 20, 1))
    frames.append(StreamFrame(f"101.{version}.0", "reset", _anew("101", version), 21, 1))
    connections = [recording.connections[0], Connection(opened_s=20, last_event_id="100.7.0")]
    kept = before.at_rest().messages
    end = replace(after.at_rest(), messages=kept if version >= 7 else ())
    return replace(recording, frames=frames, connections=connections), end


@pytest.mark.parametrize(
    ("version", "losses", "refused_for"),
    [
        (3, Losses(at_s=(15,), data_lost=True), set[str]()),
        (7, Losses(at_s=(15,)), set[str]()),
        (3, Losses(at_s=(15,)), {"went-back"}),
        (7, NO_LOSSES, {"epoch-without-loss"}),
        (7, Losses(at_s=(30,)), {"epoch-without-loss"}),
    ],
)
def test_a_stream_begins_anew_only_after_a_loss(
    version: int, losses: Losses, refused_for: set[str]
) -> None:
    recording, end = _set_back(version)
    assert checks(recording, end=end, losses=losses) == refused_for


def test_an_open_stream_that_was_not_set_back_is_behind() -> None:
    recording, end = _set_back(7)
    frames = [frame for frame in recording.frames if frame.event != "reset"]
    broken = replace(recording, frames=frames)
    assert checks(broken, end=end, losses=Losses(at_s=(15,))) == {"behind"}


def test_a_closed_stream_may_be_behind() -> None:
    log = sample_log()
    recording = watch(log)
    closed = [replace(recording.connections[0], closed_s=9.0)]
    assert (
        checks(
            replace(recording, frames=recording.frames[:6], connections=closed),
            end=log.at_rest(),
        )
        == set()
    )


@pytest.mark.parametrize(
    ("losses", "refused_for"),
    [
        (Losses(at_s=(15,), data_lost=True), set[str]()),
        (Losses(at_s=(15,)), {"text-differs"}),
    ],
)
def test_a_reply_that_a_loss_set_back_may_be_kept_otherwise(
    losses: Losses, refused_for: set[str]
) -> None:
    # Given a stream that was closed before the store lost its last events
    recording = replace(watch(sample_log()), connections=[Connection(opened_s=0, closed_s=14)])
    # When the reply that it saw goes on from the part that the store still had
    kept = (Message(id="m2", role="assistant", content="Hello "),)
    end = replace(Log(epoch="101", version=5).at_rest(), messages=kept)
    # Then it is refused only where nothing can be lost
    assert checks(recording, end=end, losses=losses) == refused_for


def test_a_deletion_ends_a_stream() -> None:
    log = sample_log()
    log.event("context-deleted")
    assert checks(watch(log), end=replace(log.at_rest(), found=False)) == set()


def test_a_state_in_the_middle_of_a_reply_holds_its_draft() -> None:
    draft = state_at(sample_log(), 8)["draft"]
    assert draft == {"message_id": "m2", "n": 11, "text": "Hello world"}


def test_the_checker_knows_which_events_end_a_draft() -> None:
    assert {kind for kind, event in EVENT_TYPES.items() if ends_draft(event)} == ENDS_DRAFT
