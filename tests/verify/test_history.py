"""The log checker accepts what is right, and refuses each wrong history for its reason."""

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from tests.verify.histories import CONTEXT, History, act, final, read, send, serial_history
from verify.history import check_history
from verify.linearizability import check_linearizability
from verify.records import NO_LOSSES, Final, Losses, Operation, Outcome, Read

RNG = st.randoms(use_true_random=False)


def checks(
    operations: list[Operation],
    reads: list[Read],
    end: Final | None,
    *,
    losses: Losses = NO_LOSSES,
    accepted_may_be_refused: bool = False,
) -> set[str]:
    """Names of the checks that refuse a history."""
    found = check_history(
        operations,
        reads,
        [end] if end else [],
        losses=losses,
        accepted_may_be_refused=accepted_may_be_refused,
    )
    return {violation.check for violation in found}


def test_a_quiet_history_is_accepted() -> None:
    sends = [send("a", 0, 1, 2), send("b", 2, 3, 5), send("c", 4, 5)]
    reads = [
        read(("a",), 1.5, 1.8, 4),
        read(("a", "b"), 3.5, 3.8, 7),
        read(("a", "b", "c"), 6, 7, 9),
    ]
    assert checks(sends, reads, final(("a", "b", "c"), 11)) == set()


@pytest.mark.parametrize("said", [("a",), ("a", "b"), ("b", "a")])
def test_an_unknown_outcome_may_have_happened_at_any_time_or_never(
    said: tuple[str, ...],
) -> None:
    sends = [send("a", 2, 3, 5), send("b", 0, None)]
    assert checks(sends, [], final(said, 9)) == set()


def test_operations_that_overlap_may_be_in_either_order() -> None:
    sends = [send("a", 0, 3, 4), send("b", 1, 2, 2)]
    assert checks(sends, [read(("b",), 1, 4, 3)], final(("b", "a"), 6)) == set()


WRONG: dict[str, tuple[str, list[Operation], list[Read], Final | None]] = {
    "an acknowledged message is gone": (
        "lost",
        [send("a", 0, 1, 2), send("b", 2, 3, 4)],
        [],
        final(("a",), 6),
    ),
    "a message that was answered with 202 is gone": (
        "lost",
        [send("a", 0, 1, 2), send("b", 2, 3)],
        [],
        final(("a",), 6),
    ),
    "a message is there twice": ("duplicated", [send("a", 0, 1, 2)], [], final(("a", "a"), 6)),
    "a message of unknown outcome is there twice": (
        "duplicated",
        [send("a", 0, None)],
        [],
        final(("a", "a"), 6),
    ),
    "nobody sent it": ("phantom", [send("a", 0, 1, 2)], [], final(("a", "b"), 6)),
    "it was sent to another context": (
        "phantom",
        [send("a", 0, 1, 2), send("b", 0, 1, 2, context_id="c2")],
        [],
        final(("a", "b"), 6),
    ),
    "it was refused and is there": (
        "refused-but-applied",
        [send("a", 0, 1, outcome=Outcome.REFUSED, code="queue-full")],
        [],
        final(("a",), 6),
    ),
    "it was not found and is there, and nobody deleted anything": (
        "refused-but-applied",
        [send("a", 0, 1, outcome=Outcome.REFUSED, code="not-found")],
        [read(("a",), 0, 1, 2)],
        final(("a",), 6),
    ),
    "it was not found before anybody deleted the context, and was there": (
        "refused-but-applied",
        [
            send("a", 0, 1, outcome=Outcome.REFUSED, code="not-found"),
            act("delete", 3, 4, 3),
        ],
        [read(("a",), 1, 2, 2)],
        final((), 0, found=False),
    ),
    "a later one stands before an earlier one": (
        "reordered",
        [send("a", 0, 1), send("b", 2, 3)],
        [],
        final(("b", "a"), 6),
    ),
    "an unknown one stands before what returned before it was called": (
        "reordered",
        [send("a", 0, 1), send("b", 2, None)],
        [],
        final(("b", "a"), 6),
    ),
    "one of many stands before what returned before it was called": (
        "reordered",
        [send("a", 10, None), send("b", 5, None), send("c", 6, 7)],
        [],
        final(("a", "b", "c"), 6),
    ),
    "versions tell another order than the list": (
        "version-order",
        [send("a", 0, 3, 5), send("b", 0, 3, 2)],
        [],
        final(("a", "b"), 6),
    ),
    "two were applied as one version": (
        "same-version",
        [send("a", 0, 3, 2), send("b", 0, 3, 2)],
        [],
        final(("a", "b"), 6),
    ),
    "two were given one action id": (
        "same-action",
        [send("a", 0, 1, 2, action_id="c1.1"), send("b", 2, 3, 4, action_id="c1.1")],
        [],
        final(("a", "b"), 6),
    ),
    "an answer shows a state from before its action": (
        "answer-behind",
        [send("a", 0, 1, 4, seen_version=3)],
        [],
        final(("a",), 6),
    ),
    "a read lacks what was acknowledged before it": (
        "stale-read",
        [send("a", 0, 1), send("b", 1.2, 1.4, outcome=Outcome.APPLIED)],
        [read(("a",), 2, 3, 9)],
        final(("a", "b"), 9),
    ),
    "a read lacks the earlier of two that overlapped": (
        "stale-read",
        [
            send("a", 0, 1, outcome=Outcome.APPLIED),
            send("b", 0, 2, outcome=Outcome.APPLIED),
        ],
        [read(("b",), 3, 4, 9)],
        final(("b", "a"), 9),
    ),
    "a read shows an older version than an action had": (
        "stale-read",
        [act("pause", 0, 1, 5)],
        [read((), 2, 3, 4)],
        final((), 9),
    ),
    "a read shows an older version than another read": (
        "stale-read",
        [],
        [read((), 0, 1, 5), read((), 2, 3, 4)],
        final((), 9),
    ),
    "an action is applied as a version that was seen before it was sent": (
        "went-back",
        [act("pause", 2, 3, 5)],
        [read((), 0, 1, 5)],
        final((), 9),
    ),
    "an action is applied as an older version than was seen": (
        "went-back",
        [act("rename", 2, 3, 4)],
        [read((), 0, 1, 5)],
        final((), 9),
    ),
    "the end is older than what was seen": ("went-back", [], [read((), 0, 1, 9)], final((), 8)),
    "a read shows a version without what was applied as it": (
        "torn-read",
        [send("a", 0, 3, 2)],
        [read((), 0, 3, 2)],
        final(("a",), 9),
    ),
    "a read shows what a later version brought": (
        "torn-read",
        [send("a", 0, 3, 5)],
        [read(("a",), 0, 3, 4)],
        final(("a",), 9),
    ),
    "a cursor does not fit its draft": (
        "torn-read",
        [],
        [read((), 0, 1, 2, n=3, draft="four")],
        final((), 9),
    ),
    "a version has two forms": (
        "two-states",
        [],
        [read((), 0, 1, 2), read((), 0, 1, 2, status="paused")],
        final((), 9),
    ),
    "a draft has two forms": (
        "two-states",
        [],
        [read((), 0, 1, 2, n=1, draft="x"), read((), 0, 1, 2, n=1, draft="y")],
        final((), 9),
    ),
    "a read shows what is not there later": (
        "history-changed",
        [send("a", 0, None), send("b", 0, None)],
        [read(("a",), 0, 1, 2)],
        final(("b",), 9),
    ),
    "a read shows what is sent only later": (
        "from-the-future",
        [send("a", 2, None)],
        [read(("a",), 0, 1, 2)],
        final(("a",), 9),
    ),
    "a context is gone that nobody deleted": ("vanished", [], [], final((), 0, found=False)),
    "a context is gone and its deletion was refused": (
        "vanished",
        [act("delete", 0, 1, None, outcome=Outcome.REFUSED)],
        [read((), 2, 3, 0, found=False)],
        None,
    ),
    "a context is not found before it is deleted": (
        "vanished",
        [act("delete", 5, 6, 9)],
        [read((), 0, 1, 0, found=False)],
        final((), 0, found=False),
    ),
    "a deleted context is there": ("undead", [act("delete", 0, 1, 9)], [], final((), 9)),
    "a deleted context answers": (
        "undead",
        [act("delete", 0, 1, 9)],
        [read((), 2, 3, 9)],
        final((), 0, found=False),
    ),
    "an epoch begins without a loss": (
        "epoch-without-loss",
        [],
        [read((), 0, 1, 2), read((), 2, 3, 3, epoch="101")],
        final((), 9, epoch="101"),
    ),
    "an old epoch comes back": (
        "epoch-went-back",
        [],
        [read((), 0, 1, 2, epoch="101"), read((), 2, 3, 3)],
        final((), 9, epoch="101"),
    ),
    "two requests are taken under one key": (
        "key-reused",
        [send("a", 0, 1, 2, key="k"), send("b", 0, 1, 3, key="k")],
        [],
        final(("a", "b"), 6),
    ),
    "one request is given two answers": (
        "key-differs",
        [send("a", 0, 1, 2, key="k"), send("a", 0, 1, 3, key="k")],
        [],
        final(("a",), 6),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_is_refused_for_its_reason(name: str) -> None:
    check, operations, reads, end = WRONG[name]
    assert check in checks(operations, reads, end)


def test_one_request_that_two_clients_repeat_under_one_key_is_one_operation() -> None:
    sends = [
        send("a", 0, 1, 2, key="k", action_id="c1.1"),
        send("a", 5, 6, 2, key="k", action_id="c1.1", client="eve"),
        send("a", 5, None, key="k", client="joe"),
    ]
    assert checks(sends, [read(("a",), 2, 3, 4)], final(("a",), 6)) == set()


def test_what_is_asked_for_twice_may_be_applied_without_a_version_of_its_own() -> None:
    twice = [
        act("approve_tools", start, start + 1, 5, tool_call_ids=("t",)) for start in (0, 2)
    ]
    assert checks(twice, [read((), 0, 1, 5)], final((), 9)) == set()


def test_a_read_that_says_so_may_be_stale_but_shows_what_was() -> None:
    sends = [send("a", 0, 1, 2), send("b", 2, 3, 4)]
    end = final(("a", "b"), 6)
    stale = read(("a",), 5, 6, 3, stale=True)
    assert checks(sends, [read(("a", "b"), 4, 4.5, 5), stale], end) == set()
    assert checks(sends, [replace(stale, stale=False)], end) == {"stale-read"}
    assert checks(sends, [replace(stale, version=4)], end) == {"torn-read"}
    assert checks(sends, [replace(stale, messages=("b",))], end) == {"history-changed"}


def test_an_accepted_message_may_be_missing_only_where_queues_were_full() -> None:
    sends = [send("a", 0, 1)]
    assert checks(sends, [], final((), 3)) == {"lost"}
    assert checks(sends, [], final((), 3), accepted_may_be_refused=True) == set()


def test_what_is_not_found_may_have_been_applied_before_it_was_deleted() -> None:
    refused = send("a", 0, 4, outcome=Outcome.REFUSED, code="not-found")
    deletion = act("delete", 2, 3, 3)
    reads, finals = [read(("a",), 1, 2, 2)], [final((), 0, found=False)]
    assert check_history([refused, deletion], reads, finals) == ()
    assert check_linearizability([refused, deletion], reads, finals) == ()


def test_a_deleted_context_takes_its_messages_with_it() -> None:
    operations = [send("a", 0, 1, 2), act("delete", 2, None, None)]
    reads = [read(("a",), 3, 4, 5), read((), 5, 6, 0, found=False)]
    assert checks(operations, reads, final((), 0, found=False)) == set()


POWER_CUT = Losses(at_s=(10,), data_lost=True, window_s=2)


@pytest.mark.parametrize(
    ("acked_s", "losses", "refused_for"),
    [
        (9, POWER_CUT, set[str]()),
        (7, POWER_CUT, {"lost"}),
        (11, POWER_CUT, {"lost"}),
        (9, Losses(at_s=(10,)), {"lost", "went-back"}),
        (9, replace(POWER_CUT, at_s=(12,)), {"lost", "epoch-without-loss"}),
    ],
    ids=["in the window", "before it", "after it", "where nothing may be lost", "too early"],
)
def test_a_loss_excuses_what_was_acknowledged_shortly_before_it(
    acked_s: float, losses: Losses, refused_for: set[str]
) -> None:
    # Given a message that is gone under the epoch that began with the loss
    sends = [send("a", 0, 1, 2), send("b", acked_s - 0.5, acked_s, 8)]
    end = final(("a",), 4, epoch="101")
    seen = [read(("a",), 11.1, 11.5, 3, epoch="101")]
    # When it is judged, then the loss excuses it only if it was recent and can lose data
    found = checks(sends, seen, end, losses=losses)
    assert refused_for <= found
    assert bool(found) == bool(refused_for)


def test_a_loss_without_a_new_epoch_excuses_nothing() -> None:
    sends = [send("a", 0, 1, 2), send("b", 8, 9, 4)]
    assert checks(sends, [], final(("a",), 6), losses=POWER_CUT) == {"lost"}


def test_a_new_epoch_excuses_no_stale_read_within_it() -> None:
    sends = [send("a", 20, 21, 2, epoch="101")]
    reads = [read((), 22, 23, 2, epoch="101")]
    found = checks(sends, reads, final(("a",), 9, epoch="101"), losses=POWER_CUT)
    assert {"stale-read", "torn-read"} <= found


@given(rng=RNG, operations=st.integers(0, 60), contexts=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_whatever_a_serial_service_does_is_accepted(
    rng: random.Random, operations: int, contexts: int
) -> None:
    history = serial_history(rng, operations=operations, contexts=contexts)
    assert check_history(history.operations, history.reads, history.finals) == ()


def _drop(rng: random.Random, history: History) -> History | None:
    acked = {one.content for one in history.operations if one.outcome is Outcome.APPLIED}
    places = [i for i, content in enumerate(history.finals[0].said) if content in acked]
    return _with_said(history, lambda said: said.pop(rng.choice(places))) if places else None


def _duplicate(rng: random.Random, history: History) -> History | None:
    said = history.finals[0].said
    if not said:
        return None
    return _with_said(
        history, lambda said: said.insert(rng.randrange(len(said) + 1), rng.choice(said))
    )


def _swap(rng: random.Random, history: History) -> History | None:
    sends = {one.content: one for one in history.operations}
    said = history.finals[0].said
    pairs = [
        (i, j)
        for i, first in enumerate(said)
        for j, second in enumerate(said)
        if (sends[first].returned_s or 1e9) < sends[second].called_s
    ]
    if not pairs:
        return None
    i, j = rng.choice(pairs)

    def exchange(said: list[str]) -> None:
        said[i], said[j] = said[j], said[i]

    return _with_said(history, exchange)


def _stale(rng: random.Random, history: History) -> History | None:
    acked = [one for one in history.operations if one.outcome is Outcome.APPLIED]
    pairs = [
        (one, index)
        for one in acked
        for index, seen in enumerate(history.reads)
        if (one.returned_s or 0) < seen.called_s
    ]
    if not pairs:
        return None
    one, index = rng.choice(pairs)
    reads = list(history.reads)
    before = history.finals[0].said.index(one.content or "")
    reads[index] = replace(
        reads[index],
        messages=history.finals[0].said[:before],
        version=(one.version or 0) - 1,
    )
    return replace(history, reads=tuple(reads))


def _with_said(history: History, change: Callable[[list[str]], object]) -> History:
    said = list(history.finals[0].said)
    change(said)
    end = final(tuple(said), history.finals[0].version)
    return replace(history, finals=(replace(end, context_id=history.finals[0].context_id),))


@pytest.mark.parametrize("mutate", [_drop, _duplicate, _swap, _stale])
@given(rng=RNG)
@settings(max_examples=100, deadline=None)
def test_one_fault_anywhere_is_refused(
    mutate: Callable[[random.Random, History], History | None], rng: random.Random
) -> None:
    history = serial_history(rng, operations=30)
    mutated = mutate(rng, history)
    if mutated is not None:
        assert check_history(mutated.operations, mutated.reads, mutated.finals)


def test_evidence_is_small_and_names_its_context() -> None:
    many = tuple(f"m{number}" for number in range(500))
    sends = [send(content, 0, 1, 2 + number) for number, content in enumerate(many)]
    found = check_history(sends, [read(many[1:], 3, 4, 900)], [final(many, 900)])
    changed = next(violation for violation in found if violation.check == "history-changed")
    assert changed.context_id == CONTEXT
    assert len(changed.evidence["read"]["messages"]) == 21
    assert len(found) < 10


@pytest.mark.slow
def test_two_hundred_thousand_operations_are_judged(
    record_property: Callable[[str, object], None],
) -> None:
    # Given a long run, right but for one message that is gone
    history = serial_history(random.Random(7), operations=200_000, contexts=1_000)
    began_s = time.perf_counter()
    assert check_history(history.operations, history.reads, history.finals) == ()
    record_property("judged_s", round(time.perf_counter() - began_s, 2))
    broken = _drop(random.Random(7), history)
    # When it is judged, then that one is found
    assert broken is not None
    found = check_history(broken.operations, broken.reads, broken.finals)
    assert "lost" in {violation.check for violation in found}
