"""Given / when / then for the machine, with events short enough to read as sentences.

The playbook owns the clock and knows what is pending: an event made here carries neither
time nor effect id unless a test gives them, and gets both when it is played.
"""

from collections.abc import Mapping
from typing import Final, Literal, Self

import pytest
from pydantic import JsonValue

from fsm import (
    Answer,
    AnswerGiven,
    AnyEffect,
    ApprovalGiven,
    BranchCreated,
    BranchMerged,
    BranchSwitched,
    CallModel,
    CancelRequested,
    Config,
    ContextConfigured,
    ContextCreated,
    ContextDeleted,
    ContextPinned,
    ContextRenamed,
    ContextState,
    ContextUnpinned,
    Denial,
    Event,
    Message,
    MessageEdited,
    MessageReceived,
    MessagesRecorded,
    PauseRequested,
    Phase,
    QueueUpdated,
    RecordedMessage,
    Reference,
    Refusal,
    RegenerateRequested,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestedCall,
    RequestPrepared,
    ResetRequested,
    ResumeRequested,
    RetryDue,
    RetryRequested,
    RunTool,
    SendPolicy,
    StopEffect,
    Summary,
    TimePassed,
    TitleMade,
    TitleRequested,
    ToolEffect,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
    TurnCall,
    TurnRequested,
    WorkAbandoned,
    call_digest,
    drafting,
    replay,
    transition,
)

CONTEXT_ID: Final = "01932c5e-7a10-7c3b-9d2e-5f6071829304"
BEGAN_MS: Final = 1_760_000_000_000
STEP_MS: Final = 1_000
"""Between two events of a playbook."""
NOW: Final = -1
"""As `at_ms`: the playbook's clock says when."""
PENDING: Final = ""
"""As `effect_id`: the oldest pending effect that this event can answer."""
DRAFT: Final = ""
"""As `message_id`: that of the draft, or a new one."""

ANSWERS: Final[Mapping[type[Answer], str]] = {
    RequestPrepared: "prepare-request",
    ReplyStarted: "call-model",
    ReplyEnded: "call-model",
    ReplyFailed: "call-model",
    ReplyRestarted: "call-model",
    ToolReturned: "run-tool",
    ToolFailed: "run-tool",
    ToolRestarted: "run-tool",
    RetryDue: "await-retry",
    TitleMade: "make-title",
}
"""Which kind of effect each answer answers."""


class Playbook:
    """One context, played event by event; `log` is what a store would hold."""

    def __init__(self, *, title: str = "", **config: JsonValue) -> None:
        created = ContextCreated(
            at_ms=BEGAN_MS,
            context_id=CONTEXT_ID,
            owner="ada",
            title=title,
            config=Config.model_validate(config),
        )
        self.now_ms = BEGAN_MS
        self.log: list[Event] = [created]
        self.state: ContextState = replay(self.log)
        self.effects: tuple[AnyEffect, ...] = ()

    @classmethod
    def at(cls, book: "Playbook") -> Self:
        """Another playbook that stands where this one does."""
        other = cls.__new__(cls)
        other.now_ms, other.log, other.state = book.now_ms, [*book.log], book.state
        other.effects = ()
        return other

    def given(self, *events: Event) -> Self:
        """What happened before; everything must be accepted and change something."""
        for event in events:
            before = self.state
            self.when(event)
            assert self.state.version == before.version + 1, event
        return self

    def when(self, event: Event) -> Self:
        """What happens now; `effects` are those of this event alone."""
        self.now_ms += STEP_MS
        before, event = self.state, self.filled_in(event)
        self.state, self.effects = transition(before, event)
        if self.state is before:
            assert self.effects == ()
        else:
            self.log.append(event)
        return self

    def then(self, phase: Phase, *effects: AnyEffect) -> Self:
        """Where that has led, and exactly what the machine asks of the world."""
        assert self.state.phase is phase
        assert self.effects == effects
        return self

    def refuses(self, event: Event) -> Refusal:
        """Play an event that must be refused; nothing may change."""
        self.now_ms += STEP_MS
        before, text = self.state, self.state.model_dump_json()
        with pytest.raises(Refusal) as caught:
            transition(before, self.filled_in(event))
        assert before.model_dump_json() == text
        assert caught.value.phase == before.phase.value
        return caught.value

    def later(self, *, seconds: float) -> Self:
        """Let time pass."""
        self.now_ms += int(seconds * 1_000)
        return self

    def filled_in(self, event: Event) -> Event:
        """The event with the time and the effect id that it left open."""
        changes: dict[str, object] = {}
        if event.at_ms == NOW:
            changes["at_ms"] = self.now_ms
        if isinstance(event, Answer) and event.effect_id == PENDING:
            changes["effect_id"] = self.pending(ANSWERS[type(event)])[0].effect_id
        if isinstance(event, ReplyStarted | ReplyEnded) and event.message_id == DRAFT:
            changes["message_id"] = drafting(self.state) or self.made_id()
        return event.model_copy(update=changes)

    def made_id(self) -> str:
        """A UUIDv7 as whoever calls the model makes it."""
        at = f"{self.now_ms:012x}"
        return f"{at[:8]}-{at[8:]}-7fff-8abc-{self.state.version:012x}"

    def pending(self, kind: str) -> list[AnyEffect]:
        """The pending effects of one kind, oldest first."""
        found = [effect for effect in self.state.pending.values() if effect.kind == kind]
        assert found, f"no {kind} is pending in {self.state.phase}"
        return found

    def call_model(self, *, attempt: int = 1, with_tools: bool = True) -> CallModel:
        """The model call that this event must have asked for."""
        turn = self.state.turn
        assert turn is not None
        waited_ms = turn.waited_ms
        return CallModel(
            effect_id=f"{self.state.version}.0",
            attempt=attempt,
            with_tools=with_tools,
            due_ms=turn.started_at_ms + self.state.config.limits.turn_s_max * 1_000 + waited_ms,
        )

    def run_tool(self, call_id: str, *, index: int = 0) -> RunTool:
        """The tool run that this event must have asked for."""
        call, turn = self.call(call_id), self.state.turn
        assert turn is not None
        since_ms = turn.waiting_since_ms or self.state.updated_at_ms
        waited_ms = turn.waited_ms + self.state.updated_at_ms - since_ms
        return RunTool(
            effect_id=f"{self.state.version}.{index}",
            attempt=1,
            call_id=call_id,
            name=call.name,
            arguments=call.arguments,
            digest=call_digest(call.name, call.arguments),
            effect=call.effect,
            due_ms=turn.started_at_ms + self.state.config.limits.turn_s_max * 1_000 + waited_ms,
        )

    def call(self, call_id: str) -> TurnCall:
        """A tool call of the running turn."""
        assert self.state.turn is not None
        return next(call for call in self.state.turn.calls if call.id == call_id)

    @property
    def branch(self) -> list[Message]:
        """The messages that the model would be shown, oldest first."""
        by_id = {message.id: message for message in self.state.messages}
        shown: list[Message] = []
        at = self.state.branches[self.state.active_branch].head
        while at is not None:
            shown.append(by_id[at])
            at = by_id[at].parent_id
        return shown[::-1]

    @property
    def said(self) -> list[tuple[str, str, str]]:
        """Role, text and status of each message on the active branch."""
        return [(message.role, message.content, message.status) for message in self.branch]


def stop(effect_id: str) -> StopEffect:
    """Stop what is being performed under this id."""
    return StopEffect(effect_id=effect_id)


# What clients ask for


def say(
    content: str = "Hello",
    *,
    client_message_id: str | None = None,
    policy: SendPolicy | None = None,
    not_before_ms: int | None = None,
    partial: str = "",
    patch: Mapping[str, JsonValue] = {},
) -> MessageReceived:
    """The user says something."""
    return MessageReceived(
        at_ms=NOW,
        content=content,
        client_message_id=client_message_id,
        policy=policy,
        not_before_ms=not_before_ms,
        partial=partial,
        patch=patch,
    )


def edit(message_id: str, content: str = "I meant this") -> MessageEdited:
    """The user wants to have said something else."""
    return MessageEdited(at_ms=NOW, message_id=message_id, content=content)


def regenerate(message_id: str | None = None) -> RegenerateRequested:
    """The user wants another reply."""
    return RegenerateRequested(at_ms=NOW, message_id=message_id)


def branch(
    name: str, *, at: str | None = None, system_prompt: str | None = None
) -> BranchCreated:
    """A line gets a name."""
    return BranchCreated(at_ms=NOW, name=name, from_message_id=at, system_prompt=system_prompt)


def switch(name: str | None = None, *, to: str | None = None) -> BranchSwitched:
    """The conversation goes on elsewhere."""
    return BranchSwitched(at_ms=NOW, name=name, message_id=to)


def merge(
    source: str,
    strategy: Literal["append", "cherry_pick", "rebase"] = "append",
    *message_ids: str,
    accept: bool = False,
) -> BranchMerged:
    """What another branch has comes here, too."""
    return BranchMerged(
        at_ms=NOW,
        source=source,
        strategy=strategy,
        message_ids=message_ids,
        accept_conflicts=accept,
    )


def record(
    *said: tuple[Literal["system", "user", "assistant", "tool"], str],
) -> MessagesRecorded:
    """Messages came about elsewhere."""
    messages = tuple(RecordedMessage(role=role, content=content) for role, content in said)
    return MessagesRecorded(at_ms=NOW, messages=messages)


def ask(
    *said: tuple[Literal["system", "user", "assistant", "tool"], str],
    follows: str | None = None,
    **patch: JsonValue,
) -> TurnRequested:
    """Messages came about elsewhere and are to be answered; a tool's answers the call `q`."""
    messages = tuple(
        RecordedMessage(
            role=role, content=content, tool_call_id="q" if role == "tool" else None
        )
        for role, content in said
    )
    return TurnRequested(at_ms=NOW, messages=messages, follows=follows, patch=patch)


def update_queue(
    *, remove: tuple[str, ...] = (), edit: Mapping[str, str] = {}, move: Mapping[str, int] = {}
) -> QueueUpdated:
    """The user changes what waits."""
    return QueueUpdated(at_ms=NOW, remove=remove, edit=edit, move=move)


def answer(question_id: str, content: str = "Blue.") -> AnswerGiven:
    """A person answers what the model has asked."""
    return AnswerGiven(at_ms=NOW, question_id=question_id, content=content, by="ada")


def approve(*call_ids: str, **edits: str) -> ApprovalGiven:
    """A person lets these calls run, those in `edits` with other arguments."""
    return ApprovalGiven(at_ms=NOW, tool_call_ids=(*call_ids, *edits), edits=edits)


def deny(call_id: str, reason: str = "") -> ApprovalGiven:
    """A person does not want this call made."""
    return ApprovalGiven(at_ms=NOW, deny=(Denial(id=call_id, reason=reason),))


def cancel(partial: str = "", *, turn_id: str | None = None) -> CancelRequested:
    """The user stops the turn; `partial` is what had arrived of the reply."""
    return CancelRequested(at_ms=NOW, turn_id=turn_id, partial=partial)


def configure(**patch: JsonValue) -> ContextConfigured:
    """The owner patches the configuration."""
    return ContextConfigured(at_ms=NOW, patch=patch)


def rename(title: str) -> ContextRenamed:
    """The owner gives another title."""
    return ContextRenamed(at_ms=NOW, title=title)


RETRY: Final = RetryRequested(at_ms=NOW)
RESET: Final = ResetRequested(at_ms=NOW)
PAUSE: Final = PauseRequested(at_ms=NOW)
RESUME: Final = ResumeRequested(at_ms=NOW)
DELETE: Final = ContextDeleted(at_ms=NOW)
PIN: Final = ContextPinned(at_ms=NOW)
UNPIN: Final = ContextUnpinned(at_ms=NOW)
TITLE: Final = TitleRequested(at_ms=NOW)
TIME: Final = TimePassed(at_ms=NOW)

# What the world answers

STARTED: Final = ReplyStarted(at_ms=NOW, effect_id=PENDING, message_id=DRAFT)
DUE: Final = RetryDue(at_ms=NOW, effect_id=PENDING)


def prepared(*references: Reference, summary: Summary | None = None) -> RequestPrepared:
    """The retrievers have answered."""
    return RequestPrepared(at_ms=NOW, effect_id=PENDING, references=references, summary=summary)


def titled(title: str = "A title") -> TitleMade:
    """The model has made a title."""
    return TitleMade(at_ms=NOW, effect_id=PENDING, title=title)


def wants(
    call_id: str,
    arguments: str = "{}",
    *,
    name: str = "clock",
    effect: ToolEffect = "none",
    dangerous: bool = False,
    untrusted: bool = False,
    question: bool = False,
    problem: str | None = None,
) -> RequestedCall:
    """A tool call as the model writes it."""
    return RequestedCall(
        id=call_id,
        name=name,
        arguments=arguments,
        effect=effect,
        dangerous=dangerous,
        untrusted=untrusted,
        question=question,
        problem=problem,
    )


def replied(text: str = "Hi.", *calls: RequestedCall) -> ReplyEnded:
    """The model has finished, perhaps asking for tools."""
    return ReplyEnded(
        at_ms=NOW,
        effect_id=PENDING,
        message_id=DRAFT,
        text=text,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "stop",
    )


def failed(
    partial: str = "",
    *,
    retryable: bool = False,
    code: str = "overloaded",
    retry_after_ms: int | None = None,
    jitter: float = 0.0,
) -> ReplyFailed:
    """The model call has failed."""
    return ReplyFailed(
        at_ms=NOW,
        effect_id=PENDING,
        code=code,
        detail="The model server is busy.",
        retryable=retryable,
        retry_after_ms=retry_after_ms,
        partial=partial,
        jitter=jitter,
    )


def reply_lost(partial: str = "") -> ReplyRestarted:
    """Whoever made the model call is gone."""
    return ReplyRestarted(at_ms=NOW, effect_id=PENDING, partial=partial)


def returned(content: str = "noon", *, effect_id: str = PENDING) -> ToolReturned:
    """A tool has answered."""
    return ToolReturned(at_ms=NOW, effect_id=effect_id, content=content)


def tool_failed(code: str = "timeout", *, effect_id: str = PENDING) -> ToolFailed:
    """A tool has not."""
    return ToolFailed(at_ms=NOW, effect_id=effect_id, code=code, detail="It took too long.")


def abandoned(partial: str = "", *, action: str | None = "send_message") -> WorkAbandoned:
    """Whatever was being done has ended too many workers."""
    return WorkAbandoned(
        at_ms=NOW, deaths=3, cause="Worker w-3 died.", action=action, partial=partial
    )


def tool_lost(*, effect_id: str = PENDING) -> ToolRestarted:
    """Whoever ran the tool is gone."""
    return ToolRestarted(at_ms=NOW, effect_id=effect_id)
