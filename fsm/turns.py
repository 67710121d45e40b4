"""The rules of a turn: how it begins, calls the model, retries, pauses and ends.

Every rule gets the state with its version already advanced, and the event. `advance` is
the one place that decides what a running turn needs next.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import JsonValue, ValidationError

from fsm.configuring import patched
from fsm.effects import (
    AnyEffect,
    AwaitRetry,
    CallModel,
    MakeTitle,
    PrepareRequest,
    RunTool,
    StopEffect,
)
from fsm.events import (
    Action,
    CancelRequested,
    PauseRequested,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestedCall,
    RequestPrepared,
    RetryDue,
    WorkAbandoned,
)
from fsm.history import branch_messages, message_tokens, summarise_through
from fsm.state import (
    Branch,
    CallStatus,
    Config,
    Conflict,
    ContextState,
    Failure,
    Message,
    Phase,
    QueuedMessage,
    ToolCall,
    Turn,
    TurnCall,
    unchecked,
)

_new_message, _new_turn = unchecked(Message), unchecked(Turn)

POISON = "poison_action"
"""Failure code of an action or a tool that ends the workers that begin it."""
EXHAUSTED = "attempts_exhausted"
"""Failure code of a model call whose workers have all died."""
TITLE_CHARS_MAX = 50
"""Length of the title that is taken from the first message."""
MESSAGES_MAX = 4_000
"""Messages that one event may bring; `derive_id` has room for 4,096."""
SUMMARIES_MAX = 20
"""Summaries kept; each covers what the one before it on its line does, and more."""
OPEN = frozenset({CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN, CallStatus.ASKED})
"""Calls that wait for a person."""


class Step(NamedTuple):
    """The outcome of one event."""

    state: ContextState
    effects: tuple[AnyEffect, ...] = ()


class Inapplicable(Exception):
    """Raised by a rule whose table entry exists but whose event names the wrong thing."""

    def __init__(self, code: str, detail: str, conflicts: Sequence[Conflict] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.conflicts = conflicts


class Unchanged(Exception):
    """Raised by a rule when the event asks for what is already so."""


def with_(state: ContextState, **changes: object) -> ContextState:
    """The state with some fields replaced."""
    return state.model_copy(update=changes)


def with_turn(state: ContextState, **changes: object) -> ContextState:
    """The state with some fields of its running turn replaced."""
    return with_(state, turn=running(state).model_copy(update=changes))


def running(state: ContextState) -> Turn:
    """The running turn, in phases that cannot be without one."""
    assert state.turn is not None, state.phase
    return state.turn


def derive_id(state: ContextState, index: int = 0) -> str:
    """A UUIDv7 that is unique in the context and the same on every replay.

    Its 48 bits of time are those of the event, `rand_a` is the index within the version,
    and `rand_b` is that of the id of the context (or of the one that this version was copied
    from), its last 48 bits xored with the version.
    """
    made_in = state.id
    for origin in state.origins:
        if state.version <= origin.version:
            made_in = origin.context_id
            break
    if index > MESSAGES_MAX:
        raise Inapplicable("too-many-messages", f"At most {MESSAGES_MAX} messages at once.")
    tail = int(made_in[-12:], 16) ^ state.version
    at = f"{state.updated_at_ms & 0xFFFFFFFFFFFF:012x}"
    return f"{at[:8]}-{at[8:]}-7{index & 0xFFF:03x}-{made_in[19:23]}-{tail:012x}"


def check_count(messages: Sequence[object]) -> None:
    """Refuse more messages in one event than there are ids for."""
    if len(messages) > MESSAGES_MAX:
        detail = f"At most {MESSAGES_MAX} messages at once, not {len(messages)}."
        raise Inapplicable("too-many-messages", detail)


def issue(state: ContextState, *effects: AnyEffect) -> Step:
    """Ask for effects: they are pending until answered."""
    pending = {**state.pending, **{effect.effect_id: effect for effect in effects}}
    return Step(with_(state, pending=pending), effects)


def answered(state: ContextState, effect_id: str) -> ContextState:
    """The state in which an effect is no longer pending."""
    pending = {key: effect for key, effect in state.pending.items() if key != effect_id}
    return with_(state, pending=pending)


def stop_all(state: ContextState, *, keep_tools: bool = False) -> Step:
    """Stop what is performed for the turn; with `keep_tools`, all but the tools."""
    keeps = (MakeTitle, RunTool) if keep_tools else MakeTitle
    kept = {key: effect for key, effect in state.pending.items() if isinstance(effect, keeps)}
    stops = tuple(StopEffect(effect_id=key) for key in state.pending if key not in kept)
    return Step(with_(state, pending=kept), stops)


def append(state: ContextState, message: Message) -> ContextState:
    """Grow the tree by one message at the head of the active branch."""
    return with_(
        state,
        messages=(*state.messages, message),
        tokens=state.tokens + message_tokens(message),
        branches=_ending_with(state, message.id),
    )


def move_head(state: ContextState, message_id: str | None) -> ContextState:
    """Let the active branch end with another message of the tree."""
    return with_(state, branches=_ending_with(state, message_id))


def _ending_with(state: ContextState, message_id: str | None) -> dict[str, Branch]:
    moved = state.branches[state.active_branch].model_copy(update={"head": message_id})
    return {**state.branches, state.active_branch: moved}


def check_patch(config: Config, patch: Mapping[str, JsonValue]) -> Config:
    """The patched configuration; a patch that would make it invalid is refused."""
    try:
        return patched(config, patch)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Inapplicable("invalid-config", f"{where}: {first['msg']}") from None


def append_copies(
    state: ContextState, messages: Sequence[Message], ids: "itertools.count[int]"
) -> ContextState:
    """Grow the active branch by copies of messages that lie elsewhere in the tree."""
    check_count(messages)
    for message in messages:
        copy = message.model_copy(
            update={
                "id": derive_id(state, next(ids)),
                "seq": len(state.messages) + 1,
                "parent_id": head(state),
                "replaces": None,
                "copy_of": message.copy_of or message.id,
            }
        )
        state = append(state, copy)
    return state


def head(state: ContextState) -> str | None:
    """Id of the last message of the active branch."""
    return state.branches[state.active_branch].head


# Beginning


def begin_turn(
    state: ContextState,
    said: Sequence[QueuedMessage],
    *,
    queue: tuple[QueuedMessage, ...],
    rollback_to: str | None,
    replaces: str | None = None,
) -> Step:
    """Append what the user has said and ask for the first reply.

    Args:
        state: Its active branch ends where the turn begins.
        said: One message, or several that share the turn.
        queue: The messages that go on waiting.
        rollback_to: Head that a rollback restores; None: the branch was empty.
        replaces: Id of the message that the first of `said` stands for.
    """
    for message in said:
        if message.patch:
            state = with_(state, config=patched(state.config, message.patch))
        state = _append_said(state, message, replaces=replaces)
        replaces = None
    state = with_(
        state,
        title=state.title or title_of(said[0].content),
        turn=_new_turn(
            id=said[0].id, started_at_ms=state.updated_at_ms, rollback_to=rollback_to
        ),
        queue=queue,
        failure=None,
    )
    return prepare(state)


def title_of(content: str) -> str:
    """The title that a conversation has until it gets another: how it begins."""
    return " ".join(content.split())[:TITLE_CHARS_MAX]


def _append_said(
    state: ContextState, said: QueuedMessage, *, replaces: str | None = None
) -> ContextState:
    message = _new_message(
        id=said.id,
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role="user",
        content=said.content,
        parts=said.parts,
        created_at_ms=said.received_at_ms,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
        replaces=replaces,
    )
    return append(state, message)


def prepare(state: ContextState) -> Step:
    """Ask the retrievers, and for a summary where the history is too long, or go on."""
    through = summarise_through(state)
    if not state.config.retrieval and through is None:
        return call_model(state, running(state).model_copy(update={"references": ()}))
    effect = PrepareRequest(
        effect_id=f"{state.version}.0",
        retrievers=state.config.retrieval,
        query=_asked(state),
        summarise_through=through,
    )
    return issue(with_(state, phase=Phase.PREPARING_REQUEST), effect)


def _asked(state: ContextState) -> str:
    """All that the user has said in the running turn."""
    said: list[str] = []
    for message in reversed(branch_messages(state)):
        if message.role == "user":
            said.append(message.content)
        if message.id == running(state).id:
            break
    return "\n".join(reversed(said))


def finish_preparation(state: ContextState, event: RequestPrepared) -> Step:
    """The retrievers have answered: ask the model."""
    state = with_turn(answered(state, event.effect_id), references=event.references)
    if event.summary is not None:
        summaries = (*state.summaries, event.summary)[-SUMMARIES_MAX:]
        state = with_(state, summaries=summaries)
    return call_model(state)


# Deciding


def advance(state: ContextState) -> Step:
    """What the running turn needs next: a person, its tools, the model, or to end."""
    if state.turn is None:
        return next_turn(state)
    state = _date_waiting(state, state.turn)
    turn = running(state)
    waiting = {call.status for call in turn.calls} & OPEN
    waits = bool(waiting)
    if waits and turn.waiting_since_ms is None:
        state = with_turn(state, waiting_since_ms=state.updated_at_ms)
    elif not waits and turn.waiting_since_ms is not None:
        waited_ms = turn.waited_ms + max(0, state.updated_at_ms - turn.waiting_since_ms)
        state = with_turn(state, waiting_since_ms=None, waited_ms=waited_ms)
    if not waits and state.updated_at_ms >= due_ms(state):
        return fail(halt(state), "turn_timeout", "The turn took longer than it may.")
    step = _start_approved(state)
    if waits:
        asks_only = waiting == {CallStatus.ASKED}
        phase = Phase.AWAITING_ANSWER if asks_only else Phase.AWAITING_TOOL_APPROVAL
        return Step(with_(step.state, phase=phase), step.effects)
    if any(call.status is CallStatus.APPROVED for call in running(state).calls):
        return Step(with_(step.state, phase=Phase.EXECUTING_TOOLS), step.effects)
    if turn.references is None:
        return prepare(state)
    return call_model(_steered(state))


def _date_waiting(state: ContextState, turn: Turn) -> ContextState:
    """Give each call that waits for a person the time at which it expires."""
    if all(call.expires_ms or call.status not in OPEN for call in turn.calls):
        return state
    expires_ms = state.updated_at_ms + state.config.limits.approval_s_max * 1_000
    calls = tuple(
        call.model_copy(update={"expires_ms": expires_ms})
        if call.status in OPEN and call.expires_ms is None
        else call
        for call in turn.calls
    )
    return with_turn(state, calls=calls)


def _steered(state: ContextState) -> ContextState:
    """The running turn takes in what was said to steer it."""
    steering = [waiting for waiting in state.queue if waiting.policy == "steer"]
    if not steering:
        return state
    rest = tuple(waiting for waiting in state.queue if waiting.policy != "steer")
    state = with_(state, queue=rest)
    for said in steering:
        state = _append_said(state, said)
    return state


def _start_approved(state: ContextState) -> Step:
    turn = running(state)
    calls = list(turn.calls)
    effects: list[AnyEffect] = []
    for index, call in enumerate(turn.calls):
        if call.status is not CallStatus.APPROVED or call.effect_id is not None:
            continue
        effect = RunTool(
            effect_id=f"{state.version}.{index}",
            attempt=1,
            call_id=call.id,
            name=call.name,
            arguments=call.arguments,
            digest=call.digest,
            effect=call.effect,
            due_ms=due_ms(state),
        )
        effects.append(effect)
        calls[index] = call.model_copy(update={"effect_id": effect.effect_id})
    if not effects:
        return Step(state)
    return issue(with_turn(state, calls=tuple(calls)), *effects)


def due_ms(state: ContextState) -> int:
    """When the running turn's time is over, if nobody is waited for from now on."""
    turn = running(state)
    waited_ms = turn.waited_ms
    if turn.waiting_since_ms is not None:
        waited_ms += max(0, state.updated_at_ms - turn.waiting_since_ms)
    return turn.started_at_ms + state.config.limits.turn_s_max * 1_000 + waited_ms


def call_model(state: ContextState, turn: Turn | None = None) -> Step:
    """Ask the model for a reply to the active branch as it stands, `turn` being the turn."""
    turn = turn or running(state)
    effect = CallModel(
        effect_id=f"{state.version}.0",
        attempt=turn.attempt,
        with_tools=turn.rounds < state.config.limits.rounds_max,
        due_ms=due_ms(state),
    )
    if turn.calls or turn.reply_id:
        turn = turn.model_copy(update={"calls": (), "reply_id": None})
    state = with_(
        state,
        phase=Phase.AWAITING_LLM_RESPONSE,
        turn=turn,
        failure=None,
        pending={**state.pending, effect.effect_id: effect},
    )
    return Step(state, (effect,))


def next_turn(state: ContextState) -> Step:
    """Begin the turn of the oldest waiting message, or of those that share one, or rest."""
    if state.queue:
        count = 1
        if state.queue[0].policy == "merge":
            together = itertools.takewhile(lambda said: said.policy == "merge", state.queue)
            count = len(tuple(together))
        said, rest = state.queue[:count], state.queue[count:]
        return begin_turn(state, said, queue=rest, rollback_to=head(state))
    return Step(with_(state, phase=Phase.IDLE, turn=None, failure=None))


# The reply


def start_reply(state: ContextState, event: ReplyStarted) -> Step:
    """The first token has arrived: from here on there is a draft."""
    assert event.effect_id in state.pending
    turn = running(state).model_copy(update={"reply_id": event.message_id})
    return Step(with_(state, phase=Phase.STREAMING_LLM_RESPONSE, turn=turn))


def append_reply(
    state: ContextState,
    text: str,
    *,
    status: Literal["complete", "cancelled", "interrupted", "failed"],
    finish_reason: str,
    calls: Sequence[RequestedCall] = (),
    reply: ReplyEnded | None = None,
) -> ContextState:
    """Append the assistant's message; its id is the one that the draft had."""
    message = _new_message(
        id=reply.message_id if reply else running(state).reply_id or derive_id(state),
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role="assistant",
        content=text,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in calls
        ),
        created_at_ms=state.updated_at_ms,
        status=status,
        finish_reason=finish_reason,
        model=reply.model if reply else state.config.model,
        usage=reply.usage if reply else None,
        metadata=reply.metadata if reply else {},
        replaces=running(state).replaces,
    )
    if message.replaces is not None:
        state = with_turn(state, replaces=None)
    return append(state, message)


def fail_reply(state: ContextState, event: ReplyFailed) -> Step:
    """Wait and try again where that may help, else fail the turn, keeping its partial text."""
    turn, limits = running(state), state.config.limits
    state = answered(state, event.effect_id)
    if not event.retryable or turn.attempt >= limits.attempts_max:
        if event.partial:
            state = append_reply(state, event.partial, status="failed", finish_reason="error")
        return fail(Step(state), event.code, event.detail, retryable=event.retryable)
    window_ms = min(limits.backoff_ms_max, limits.backoff_ms_base << (turn.attempt - 1))
    wait_ms = int(window_ms * (0.5 + event.jitter / 2))
    wait_ms = max(wait_ms, event.retry_after_ms or 0)
    at_ms = state.updated_at_ms + wait_ms
    failure = Failure(
        code=event.code,
        detail=event.detail,
        retryable=True,
        attempts=turn.attempt,
        due_ms=at_ms,
    )
    state = with_turn(state, attempt=turn.attempt + 1, reply_id=None)
    effect = AwaitRetry(effect_id=f"{state.version}.0", due_ms=at_ms, wait_ms=wait_ms)
    return issue(with_(state, phase=Phase.TRANSIENT_FAILURE, failure=failure), effect)


def fail(step: Step, code: str, detail: str, *, retryable: bool = True) -> Step:
    """The turn, if there is one, has failed; it stays, so that retry can go on with it."""
    state, attempts = step.state, 1
    if state.turn is not None:
        attempts = state.turn.attempt
        state = with_turn(state, reply_id=None, waiting_since_ms=None)
    failure = Failure(code=code, detail=detail, retryable=retryable, attempts=attempts)
    return Step(with_(state, phase=Phase.FAILED, failure=failure), step.effects)


def abandon(state: ContextState, event: WorkAbandoned) -> Step:
    """Whatever was under way ends workers: stop all of it, keep what had arrived."""
    if event.partial and state.turn is not None and state.turn.reply_id is not None:
        state = append_reply(
            state, event.partial, status="interrupted", finish_reason="interrupted"
        )
    what = event.action or "what the context was doing"
    detail = f"Given up: {what} has ended {event.deaths} workers in a row. {event.cause}"
    halted = halt(state)
    # What concerns no turn may be what ends them.
    rest = tuple(StopEffect(effect_id=key) for key in halted.state.pending)
    stopped = Step(with_(halted.state, pending={}), halted.effects + rest)
    return fail(stopped, POISON, detail)


def halt(state: ContextState) -> Step:
    """Stop everything, in such a way that `retry` can go on.

    Tool calls that were running are put back: to be run again, or, if declared `once`, to be
    decided by a person.
    """
    stopped = stop_all(state)
    if state.turn is None:
        return stopped
    calls = tuple(
        call if call.effect_id not in state.pending else put_back(call)
        for call in state.turn.calls
    )
    return Step(with_turn(stopped.state, calls=calls), stopped.effects)


def put_back(call: TurnCall) -> TurnCall:
    """A call whose run has come to nothing."""
    if call.effect != "once":
        return call.model_copy(update={"effect_id": None})
    return call.model_copy(
        update={
            "status": CallStatus.OUTCOME_UNKNOWN,
            "approved_digest": None,
            "approved_by": None,
            "approved_at_ms": None,
        }
    )


def restart_reply(state: ContextState, event: ReplyRestarted) -> Step:
    """The worker that called the model is gone: ask again under the same effect id."""
    turn = running(state)
    effect = state.pending[event.effect_id]
    assert isinstance(effect, CallModel)
    if event.partial and state.config.on_takeover == "keep":
        state = append_reply(
            answered(state, event.effect_id),
            event.partial,
            status="interrupted",
            finish_reason="interrupted",
        )
        return next_turn(state)
    if turn.attempt >= state.config.limits.attempts_max:
        state = answered(state, event.effect_id)
        if event.partial:
            state = append_reply(
                state, event.partial, status="interrupted", finish_reason="interrupted"
            )
        detail = f"The model was asked {turn.attempt} times and nobody lived to hear it."
        return fail(Step(state), EXHAUSTED, detail)
    state = with_turn(state, attempt=turn.attempt + 1, reply_id=None)
    again = effect.model_copy(update={"attempt": turn.attempt + 1})
    return issue(with_(state, phase=Phase.AWAITING_LLM_RESPONSE), again)


# Stopping and going on


def cancel_turn(state: ContextState, event: CancelRequested) -> Step:
    """Stop everything, keep the partial reply as `cancelled`, go on with the queue."""
    turn = state.turn
    if turn is None or (event.turn_id is not None and event.turn_id != turn.id):
        running_id = turn.id if turn else "none"
        raise Inapplicable("unknown-turn", f"The running turn is {running_id}.")
    if event.partial:
        state = append_reply(
            state, event.partial, status="cancelled", finish_reason="cancelled"
        )
    stopped = stop_all(state)
    paused = state.phase is Phase.PAUSED
    step = Step(with_(stopped.state, turn=None)) if paused else next_turn(stopped.state)
    return Step(step.state, stopped.effects + step.effects)


def retry(state: ContextState, _event: Action) -> Step:
    """Make the failed model call again, now, with all its attempts and time.

    Where no turn was running when the context failed, there is none to try again.
    """
    if state.turn is None:
        return next_turn(state)
    began_ms = state.turn.started_at_ms
    stopped = stop_all(with_(state, failure=None))
    state = with_turn(stopped.state, attempt=1, started_at_ms=state.updated_at_ms, waited_ms=0)
    last = next((m for m in reversed(state.messages) if m.id == head(state)), None)
    # What was there before the turn stays, what it was asked with, and results of tools, which
    # can be `failed` too: the model has to see those.
    if (
        last is not None
        and last.id != running(state).id
        and last.created_at_ms >= began_ms
        and last.role == "assistant"
        and last.status != "complete"
    ):
        state = move_head(state, last.parent_id)
    if any(_open(call) for call in running(state).calls):
        step = advance(state)
        return Step(step.state, stopped.effects + step.effects)
    # A turn whose time was over before the retrievers answered has no references yet.
    step = prepare(state) if running(state).references is None else call_model(state)
    return Step(step.state, stopped.effects + step.effects)


def _open(call: TurnCall) -> bool:
    """Whether the call waits for a person, or to be run."""
    if call.status is CallStatus.APPROVED:
        return call.effect_id is None
    return call.status in OPEN


def end_backoff(state: ContextState, event: RetryDue) -> Step:
    """The back-off is over: make the next attempt."""
    return call_model(answered(state, event.effect_id))


def reset(state: ContextState, _event: Action) -> Step:
    """Give the turn up and go on with the queue."""
    stopped = stop_all(state)
    step = next_turn(stopped.state)
    return Step(step.state, stopped.effects + step.effects)


def pause(state: ContextState, _event: PauseRequested) -> Step:
    """Stop the model; running tools are left to end, since what they did cannot be undone."""
    stopped = stop_all(state, keep_tools=True)
    state = stopped.state
    if state.turn is not None:
        since_ms = state.turn.waiting_since_ms
        if since_ms is None:
            since_ms = state.updated_at_ms
        state = with_turn(state, reply_id=None, waiting_since_ms=since_ms)
    return Step(with_(state, phase=Phase.PAUSED, failure=None), stopped.effects)


def resume(state: ContextState, _event: Action) -> Step:
    """Go on with the turn, or with the queue."""
    return advance(state)
