"""Any history at all: what holds after every event, and that none leads into a dead end."""

import itertools
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from pydantic import JsonValue
from typing_extensions import override

from fsm import (
    EVENT,
    Action,
    Answer,
    AnyEffect,
    ApprovalGiven,
    CallModel,
    CallStatus,
    Config,
    ContextDeleted,
    ContextState,
    Denial,
    Event,
    MessageReceived,
    Phase,
    QueueUpdated,
    Refusal,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestedCall,
    RequestPrepared,
    RetryDue,
    RunTool,
    SendPolicy,
    StaleAnswer,
    StopEffect,
    TimePassed,
    TitleMade,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
    allowed_actions,
    call_digest,
    replay,
    transition,
    wakes_at_ms,
)
from tests.fsm.invariants import check
from tests.support.playbook import (
    DELETE,
    DRAFT,
    NOW,
    PAUSE,
    PIN,
    RESET,
    RESUME,
    RETRY,
    TIME,
    TITLE,
    UNPIN,
    Playbook,
    answer,
    ask,
    branch,
    cancel,
    configure,
    edit,
    merge,
    record,
    regenerate,
    rename,
    say,
    switch,
    update_queue,
)

pytestmark = pytest.mark.timeout(300)
"""Ten seconds of work take more than a minute on a machine that is busy."""

TOOLS: Final = ("clock", "notes")
STEPS_TO_REST_MAX: Final = 200
MODES: Final = ("manual", "auto", "allow_list", "auto_loop")

texts = st.sampled_from(["", "Hello", "Zoë's \u2028 naïve\n\ttext", "\U0001f600" * 3])
partials = st.sampled_from(["", "Hel"])
requested = st.builds(
    RequestedCall,
    # Servers send none, or the same again in every reply, or what looks like ours.
    id=st.sampled_from(["", "a", "b", "call_0", "2.0.1"]),
    name=st.sampled_from(TOOLS),
    arguments=st.sampled_from(["{}", '{"zone":"UTC"}']),
    effect=st.sampled_from(["none", "idempotent", "once"]),
    dangerous=st.booleans(),
    untrusted=st.booleans(),
    question=st.sampled_from([False, False, False, True]),
    problem=st.sampled_from([None, None, None, "No such tool."]),
)
policies: st.SearchStrategy[SendPolicy | None] = st.sampled_from(
    [None, "enqueue", "reject", "interrupt", "rollback", "steer", "merge", "latest"]
)
patches: st.SearchStrategy[dict[str, JsonValue]] = st.sampled_from(
    [
        {},
        {"tool_policy": {"mode": "auto_loop"}},
        {"tool_policy": {"mode": "allow_list", "allowed": ["clock"]}},
        {"tool_policy": None},
        {"retrieval": ["notes"]},
        {"retrieval": None},
        {"on_takeover": "keep"},
        {"limits": {"rounds_max": 1, "tools_max": 2}},
        {"limits": None},
        {"limits": {"rounds_max": "many"}},
        {"send_policy": "merge"},
    ]
)
simple: st.SearchStrategy[Action] = st.sampled_from(
    [PAUSE, PAUSE, RESUME, RESUME, RETRY, RESET, rename("x"), rename("y"), TITLE, PIN, UNPIN]
)


OPEN: Final = frozenset({CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN})


def before_attempt(before: Mapping[str, AnyEffect], effect: CallModel | RunTool) -> int:
    """Which attempt of this effect was lost."""
    lost = before[effect.effect_id]
    assert isinstance(lost, CallModel | RunTool)
    return lost.attempt


def unasked(config: Config, call: RequestedCall, *, first: bool, tainted: bool) -> bool:
    """Whether the policy lets this call run without a person; the contract's own words."""
    mode = config.tool_policy.mode
    by_mode = {
        "manual": False,
        "allow_list": call.name in config.tool_policy.allowed,
        "auto": first,
        "auto_loop": True,
    }
    harmless = call.effect == "none" or not tainted
    return not call.dangerous and not call.question and harmless and by_mode[mode]


def answers_to(effect: AnyEffect) -> st.SearchStrategy[Answer]:
    """Everything that performing this effect can come to."""
    to = {"at_ms": st.just(NOW), "effect_id": st.just(effect.effect_id)}
    match effect.kind:
        case "prepare-request":
            return st.builds(RequestPrepared, **to)
        case "call-model":
            return st.one_of(
                st.builds(ReplyStarted, **to, message_id=st.just(DRAFT)),
                st.builds(
                    ReplyEnded,
                    **to,
                    message_id=st.just(DRAFT),
                    text=texts,
                    tool_calls=st.lists(requested, max_size=3).map(tuple),
                ),
                st.builds(
                    ReplyFailed,
                    **to,
                    code=st.just("overloaded"),
                    detail=texts,
                    retryable=st.booleans(),
                    retry_after_ms=st.sampled_from([None, 5_000]),
                    partial=partials,
                    jitter=st.floats(0, 1),
                ),
                st.builds(ReplyRestarted, **to, partial=partials),
            )
        case "run-tool":
            return st.one_of(
                st.builds(ToolReturned, **to, content=texts),
                st.builds(ToolFailed, **to, code=st.just("timeout"), detail=texts),
                st.builds(ToolRestarted, **to),
            )
        case "await-retry":
            return st.builds(RetryDue, **to)
        case "make-title":
            return st.builds(TitleMade, **to, title=st.just("A title"))
        case "stop-effect":
            raise AssertionError("stop-effect is never pending")


def lead_on(effect: AnyEffect) -> Answer:
    """The answer of a world in which everything works."""
    match effect.kind:
        case "prepare-request":
            return RequestPrepared(at_ms=NOW, effect_id=effect.effect_id)
        case "call-model":
            return ReplyEnded(
                at_ms=NOW, effect_id=effect.effect_id, message_id=DRAFT, text="Hi."
            )
        case "run-tool":
            return ToolReturned(at_ms=NOW, effect_id=effect.effect_id, content="noon")
        case "await-retry":
            return RetryDue(at_ms=NOW, effect_id=effect.effect_id)
        case "make-title":
            return TitleMade(at_ms=NOW, effect_id=effect.effect_id, title="A title")
        case "stop-effect":
            raise AssertionError("stop-effect is never pending")


class Histories(RuleBasedStateMachine):
    """Plays events that can really come, and some that come too late."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Playbook()
        self.issued_ids: set[str] = set()
        self.granted: set[tuple[str, str]] = set()
        """Call id and digest of all that a person, or the policy, lets run."""

    @initialize(
        mode=st.sampled_from(MODES),
        takeover=st.sampled_from(["restart", "keep"]),
        retrieval=st.sampled_from([[], ["notes"]]),
    )
    def begin(self, mode: str, takeover: str, retrieval: list[JsonValue]) -> None:
        self.book = Playbook(
            tool_policy={"mode": mode, "allowed": ["clock"]},
            on_takeover=takeover,
            retrieval=retrieval,
            limits={
                "rounds_max": 2,
                "tools_max": 3,
                "attempts_max": 2,
                "turn_s_max": 60,
                "approval_s_max": 90,
                "queue_max": 3,
                "branches_max": 3,
            },
        )

    # What comes

    @rule(content=texts, policy=policies, later_s=st.sampled_from([None, None, None, 30]))
    def send(self, content: str, policy: SendPolicy | None, later_s: int | None) -> None:
        at_ms = later_s and self.book.now_ms + later_s * 1_000
        self.play(say(content, policy=policy, not_before_ms=at_ms))

    @rule(data=st.data())
    def use_the_tree(self, data: st.DataObject) -> None:
        messages = [m.id for m in self.book.state.messages] or ["none"]
        names = [*self.book.state.branches, "new"]
        one, name = data.draw(st.sampled_from(messages)), data.draw(st.sampled_from(names))
        few = data.draw(st.lists(st.sampled_from(messages), max_size=3))
        accept = data.draw(st.booleans())
        events = [edit(one), regenerate(), regenerate(one), branch("new", at=one)]
        events += [switch(name), switch(to=one), switch(name, to=one)]
        events += [merge(name, accept=accept), merge(name, "rebase", accept=accept)]
        events += [merge(name, "cherry_pick", *few, accept=accept)]
        events += [record(("user", "Once"), ("assistant", "upon"))]
        events += [ask(("user", "Why?")), ask(("user", "How?"), follows=one)]
        self.play(data.draw(st.sampled_from(events)))

    @precondition(lambda self: self.book.state.queue or self.book.state.scheduled)
    @rule(data=st.data(), place=st.integers(0, 2))
    def change_the_queue(self, data: st.DataObject, place: int) -> None:
        state = self.book.state
        ids = [said.id for said in (*state.queue, *state.scheduled)]
        one, other = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from([*ids, "zz"]))
        events = [
            update_queue(remove=(one,)),
            update_queue(edit={one: "x"}, move={other: place}),
        ]
        self.play(data.draw(st.sampled_from(events)))

    @precondition(lambda self: self.book.state.turn is not None)
    @rule(data=st.data())
    def answer_a_question(self, data: st.DataObject) -> None:
        turn = self.book.state.turn
        assert turn is not None
        self.play(answer(data.draw(st.sampled_from([c.id for c in turn.calls] or ["gone"]))))

    @rule()
    def let_time_pass(self) -> None:
        self.play(TIME)

    @rule(partial=partials, data=st.data())
    def cancel(self, partial: str, data: st.DataObject) -> None:
        turn = self.book.state.turn
        ids = [None, "another", turn.id if turn else None]
        self.play(cancel(partial, turn_id=data.draw(st.sampled_from(ids))))

    @rule(action=simple)
    def act(self, action: Action) -> None:
        self.play(action)

    @rule(patch=patches)
    def patch(self, patch: dict[str, JsonValue]) -> None:
        self.play(configure(**patch))

    @precondition(lambda self: self.book.state.turn is not None)
    @rule(data=st.data(), edits=st.booleans(), unknown=st.sampled_from([(), (), ("zz",)]))
    def approve(self, data: st.DataObject, edits: bool, unknown: tuple[str, ...]) -> None:
        turn = self.book.state.turn
        assert turn is not None
        named = st.lists(
            st.sampled_from([call.id for call in turn.calls] or ["gone"]), unique=True
        )
        yes, no = data.draw(named), data.draw(named)
        self.play(
            ApprovalGiven(
                at_ms=NOW,
                tool_call_ids=(*yes, *unknown),
                deny=tuple(Denial(id=key, reason="No.") for key in no if key not in yes),
                edits={yes[0]: '{"zone":"edited"}'} if yes and edits else {},
            )
        )

    @precondition(lambda self: self.book.state.pending)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        effect = data.draw(st.sampled_from(list(self.book.state.pending.values())))
        self.play(data.draw(answers_to(effect)))

    @precondition(lambda self: self.issued_ids)
    @rule(data=st.data())
    def answer_too_late(self, data: st.DataObject) -> None:
        late = [key for key in sorted(self.issued_ids) if key not in self.book.state.pending]
        effect_id = data.draw(st.sampled_from([*late, "999.0"]))
        before = self.book.state
        for event in (
            RetryDue(at_ms=1, effect_id=effect_id),
            ReplyEnded(at_ms=1, effect_id=effect_id, message_id="late", text="x"),
        ):
            try:
                transition(before, event)
            except StaleAnswer:
                continue
            raise AssertionError(f"{event!r} was taken")

    @rule(seconds=st.sampled_from([-100, 1, 30, 100]))
    def wait(self, seconds: int) -> None:
        self.book.later(seconds=seconds)

    @precondition(lambda self: len(self.book.log) > 12)
    @rule()
    def delete(self) -> None:
        self.play(DELETE)

    # What is done with it

    def play(self, event: Event) -> None:
        """Apply one event, or see it refused; either way hold the step to what is promised."""
        book, before, text = self.book, self.book.state, self.book.state.model_dump_json()
        logged = len(book.log)
        refused: Refusal | None = None
        try:
            book.when(event)
        except Refusal as error:
            refused = error
        if refused is not None:
            assert refused.phase == before.phase.value
            assert refused.allowed_actions == allowed_actions(before)
            assert book.state is before
        assert before.model_dump_json() == text
        assert book.state.version == before.version + len(book.log) - logged
        if book.state is not before:
            self.account(book.log[-1], before)
            self.grant(book.log[-1])
            for effect in book.effects:
                self.issued(effect, by=book.log[-1], before=before.pending)

    def account(self, event: Event, before: ContextState) -> None:
        """What has waited waits still, was said, or was dropped by what has happened."""
        after = self.book.state
        kept = {said.id for said in (*after.queue, *after.scheduled)}
        kept |= {message.id for message in after.messages}
        gone = {said.id for said in (*before.queue, *before.scheduled)} - kept
        match event:
            case QueueUpdated():
                assert gone == {*event.remove}
            case MessageReceived() if (event.policy or before.config.send_policy) == "latest":
                assert gone <= {said.id for said in before.queue}
            case TimePassed():
                due_ms = wakes_at_ms(after)
                assert due_ms is None or due_ms > event.at_ms
                assert not gone or any(said.policy == "latest" for said in before.scheduled)
            case ContextDeleted():
                assert kept == {said.id for said in before.messages}
            case _:
                assert not gone

    def grant(self, event: Event) -> None:
        """Write down what may run now: P9, told a second time."""
        turn, messages = self.book.state.turn, self.book.state.messages
        if isinstance(event, ApprovalGiven):
            asked = {call.id: call for m in messages for call in m.tool_calls}
            for key in event.tool_call_ids:
                arguments = event.edits.get(key, asked[key].arguments)
                self.granted.add((key, call_digest(asked[key].name, arguments)))
        elif isinstance(event, ToolRestarted) and turn is not None:
            lost = {call.id for call in turn.calls if call.effect_id == event.effect_id}
            if any(call.id in lost and call.effect == "once" for call in turn.calls):
                self.granted = {
                    (key, digest) for key, digest in self.granted if key not in lost
                }
        elif isinstance(event, ReplyEnded) and turn is not None and turn.calls:
            reply = next(m for m in reversed(messages) if m.role == "assistant")
            line = itertools.takewhile(lambda m: m.id != reply.id, self.book.branch)
            tainted = any(m.role == "tool" and "untrusted" in m.metadata for m in line)
            for asked_for, call in zip(event.tool_calls, reply.tool_calls, strict=True):
                if unasked(
                    self.book.state.config, asked_for, first=turn.rounds == 1, tainted=tainted
                ):
                    self.granted.add((call.id, call_digest(call.name, call.arguments)))

    def issued(self, effect: AnyEffect, *, by: Event, before: Mapping[str, AnyEffect]) -> None:
        """Each effect id is issued once, but for takeovers, which count attempts."""
        if isinstance(effect, StopEffect):
            assert effect.effect_id in before
            assert effect.effect_id not in self.book.state.pending
            return
        assert self.book.state.pending[effect.effect_id] == effect
        if effect.effect_id in self.issued_ids:
            assert isinstance(by, ReplyRestarted | ToolRestarted)
            assert isinstance(effect, CallModel | RunTool)
            assert effect.attempt == before_attempt(before, effect) + 1
        else:
            assert effect.effect_id.startswith(f"{self.book.state.version}.")
        self.issued_ids.add(effect.effect_id)
        if isinstance(effect, RunTool):
            assert (effect.call_id, effect.digest) in self.granted

    @invariant()
    def holds(self) -> None:
        check(self.book.state)

    @override
    def teardown(self) -> None:
        log = [EVENT.validate_json(event.model_dump_json()) for event in self.book.log]
        again = replay(log)
        assert again == self.book.state
        assert again.model_dump_json() == self.book.state.model_dump_json()
        assert again.version == len(log)
        self.come_to_rest()

    def come_to_rest(self) -> None:
        """No context is ever stuck: answers and allowed actions always lead to rest."""
        for _ in range(STEPS_TO_REST_MAX):
            state = self.book.state
            if state.phase in {Phase.IDLE, Phase.DELETED}:
                return
            if state.pending:
                self.play(lead_on(next(iter(state.pending.values()))))
            elif state.phase is Phase.AWAITING_TOOL_APPROVAL:
                assert state.turn is not None
                self.play(
                    ApprovalGiven(
                        at_ms=NOW,
                        tool_call_ids=tuple(c.id for c in state.turn.calls if c.status in OPEN),
                    )
                )
            elif state.phase is Phase.AWAITING_ANSWER:
                assert state.turn is not None
                asked = CallStatus.ASKED
                self.play(answer(next(c.id for c in state.turn.calls if c.status is asked)))
            else:
                self.play(RESUME if state.phase is Phase.PAUSED else RESET)
            check(self.book.state)
        raise AssertionError(f"stuck in {self.book.state.phase}")


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
