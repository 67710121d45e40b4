"""A context that was made for a time is deleted when that is over, unless it is pinned."""

from fsm import (
    ContextCreated,
    ContextDeleted,
    ContextPinned,
    ContextState,
    ContextUnpinned,
    MessageReceived,
    Phase,
    TimePassed,
    copy_log,
    event_due,
    replay,
    wakes_at_ms,
)
from tests.fsm.test_lineage import COPY_ID
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, Playbook

EXPIRES_MS = BEGAN_MS + 60_000
MADE = ContextCreated(at_ms=BEGAN_MS, context_id=CONTEXT_ID, owner="ada", expires_ms=EXPIRES_MS)
LATER = MessageReceived(at_ms=BEGAN_MS, content="later", not_before_ms=EXPIRES_MS - 1)


def due(state: ContextState, at_ms: int) -> type[TimePassed | ContextDeleted]:
    """What happens then."""
    return type(event_due(state, at_ms))


def test_a_context_is_deleted_at_its_time_and_not_before() -> None:
    state = replay([MADE])
    assert wakes_at_ms(state) == EXPIRES_MS
    assert due(state, EXPIRES_MS) is ContextDeleted
    assert replay([event_due(state, EXPIRES_MS)], state).phase is Phase.DELETED


def test_what_is_due_before_happens_first() -> None:
    state = replay([MADE, LATER])
    assert wakes_at_ms(state) == EXPIRES_MS - 1
    assert due(state, EXPIRES_MS - 1) is TimePassed
    assert due(state, EXPIRES_MS) is ContextDeleted


def test_a_pinned_context_stays_for_as_long_as_it_is_pinned() -> None:
    pinned = replay([MADE, ContextPinned(at_ms=BEGAN_MS)])
    assert wakes_at_ms(pinned) is None
    assert due(replay([LATER], pinned), EXPIRES_MS + 1) is TimePassed
    assert wakes_at_ms(replay([ContextUnpinned(at_ms=BEGAN_MS)], pinned)) == EXPIRES_MS


def test_other_contexts_stay() -> None:
    assert wakes_at_ms(Playbook().state) is None


def test_a_copy_does_not_expire() -> None:
    base = replay([MADE])
    for copied in (
        copy_log([MADE], context_id=COPY_ID, owner="ada", at_ms=BEGAN_MS),
        copy_log([], context_id=COPY_ID, owner="ada", at_ms=BEGAN_MS, base=base),
    ):
        assert wakes_at_ms(copied.state) is None
        assert copied.state.expires_ms is None
