"""The client's values are those of the server: what one room adds, the other has to know."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

import contextd_client.views as client_views
import gateway.bodies as bodies
import gateway.views as gateway_views
from contextd_client import (
    Bye,
    Hello,
    NotUnderstood,
    ReplyDelta,
    Reset,
    Snapshot,
    UnknownEvent,
)
from contextd_client.bodies import (
    Denial,
    FileReference,
    NewMessage,
    RecordedMessage,
    TextAttachment,
)
from contextd_client.events import COMMITTED, decode
from contextd_client.sse import Frame
from contextd_client.views import AT_REST
from fsm import EVENT_TYPES, RESTING

GOLDEN = Path(__file__).parents[1] / "fsm" / "golden"
VIEWS = (
    *("MessageView", "DraftView", "QueueEntryView", "PendingToolCallView", "QuestionView"),
    *("ErrorView", "BranchView", "ContextView", "ActionView", "ActionProblem"),
    *("ActionStatus", "ContextList"),
)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_fields_that_the_gateway_answers(name: str) -> None:
    ours: type[BaseModel] = getattr(client_views, name)
    theirs: type[BaseModel] = getattr(gateway_views, name)
    assert ours.model_fields.keys() == theirs.model_fields.keys()


def test_every_event_of_the_log_is_known_with_its_fields() -> None:
    assert COMMITTED.keys() == EVENT_TYPES.keys()
    for kind, event in EVENT_TYPES.items():
        ours = COMMITTED[kind].model_fields.keys() - {"id"}
        assert ours == event.model_fields.keys() - {"effect_id"}, kind


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_what_the_log_keeps_is_shown_whole(golden: Path) -> None:
    for line in golden.read_text().splitlines():
        kind = json.loads(line)["kind"]
        kept = EVENT_TYPES[kind].model_validate_json(line).model_dump(mode="json")
        kept.pop("effect_id", None)
        event = decode(Frame(kind, json.dumps(kept), "1.2.3"))
        assert type(event) is COMMITTED[kind]
        assert event.model_dump(mode="json") == {"id": "1.2.3", **kept}


def test_what_may_be_left_out_in_the_log_may_be_left_out_here() -> None:
    for kind, event in EVENT_TYPES.items():
        ours = COMMITTED[kind].model_fields
        theirs = event.model_fields
        for name in ours.keys() & theirs.keys():
            assert ours[name].is_required() == theirs[name].is_required(), (kind, name)


def test_the_statuses_at_rest_are_those_of_the_machine() -> None:
    assert {phase.value for phase in RESTING} == AT_REST


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (Denial, bodies.Deny),
        (RecordedMessage, bodies.Recorded),
        (TextAttachment, bodies.Attachment),
        (FileReference, bodies.Attachment),
        (NewMessage, bodies.SendMessage),
    ],
)
def test_what_is_sent_has_only_fields_that_the_gateway_takes(
    sent: type, taken: type[BaseModel]
) -> None:
    assert sent.__annotations__.keys() <= taken.model_fields.keys()


def test_a_kind_that_is_not_known_is_carried() -> None:
    event = decode(Frame("x-new", '{"at_ms":1,"deep":{"a":[1,null]}}', "1.2.3"))
    assert event == UnknownEvent(
        id="1.2.3", kind="x-new", data={"at_ms": 1, "deep": {"a": [1, None]}}
    )


def test_fields_of_an_event_that_are_not_known_are_ignored() -> None:
    event = decode(Frame("reply-delta", '{"message_id":"m","n":2,"text":"hi","mood":1}', "1"))
    assert event == ReplyDelta(id="1", message_id="m", n=2, text="hi")


def test_the_streams_own_events_are_told_apart() -> None:
    hello = decode(Frame("hello", '{"epoch":"1","cursor":"1.2.0","resumed":true}', ""))
    assert hello == Hello(epoch="1", cursor="1.2.0", resumed=True)
    data = '{"id":"c1","status":"idle","version":1,"cursor":"1.1.0"}'
    snapshot = decode(Frame("snapshot", data, "1.1.0"))
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.id, snapshot.context.id) == ("1.1.0", "c1")


def test_a_reset_has_the_whole_state_and_a_farewell_when_to_come_back() -> None:
    context = '{"id":"c1","status":"idle","version":1,"cursor":"2.1.0"}'
    reset = decode(Frame("reset", f'{{"reason":"epoch","context":{context}}}', "2.1.0"))
    assert isinstance(reset, Reset)
    assert (reset.id, reset.reason, reset.context.cursor) == ("2.1.0", "epoch", "2.1.0")
    bye = decode(Frame("bye", '{"reason":"drain","retry_ms":250}', ""))
    assert bye == Bye(id="", reason="drain", retry_ms=250)


def test_the_cursor_is_the_streams_whatever_the_data_says() -> None:
    event = decode(Frame("reply-delta", '{"id":"9","message_id":"m","n":1,"text":"a"}', "1"))
    assert event.id == "1"


@pytest.mark.parametrize("data", ["", "[]", "{", '{"message_id":1}', '{"n":"x"}'])
def test_an_event_that_is_not_as_it_should_be_is_said_to_be(data: str) -> None:
    with pytest.raises(NotUnderstood, match="reply-delta"):
        decode(Frame("reply-delta", data, ""))
