"""What one commit will hold: events that were accepted, and all that belongs to them."""

from fsm import (
    EXHAUSTED,
    POISON,
    AnyEffect,
    ContextState,
    Event,
    ReplyEnded,
    transition,
    turn_change,
)
from storage import AnyAnnouncement, DeadLetter, Mail, Notice, Result, Store
from workers.telling import announced, tally


class Batch:
    """Events that become durable together, and the state that they lead to."""

    def __init__(self, state: ContextState, store: Store) -> None:
        self.state = state
        self.events: list[bytes] = []
        self.effects: list[AnyEffect] = []
        """To be performed once all this is committed."""
        self.results: dict[int, Result] = {}
        self.acknowledged = 0
        """The last mail that is done with; 0: none."""
        self.letter: DeadLetter | None = None
        self.notices: list[Notice] = []
        self.tokens = 0
        self.traceparent: str | None = None
        """Span of the first applied mail that came with one."""
        self.tally: list[str] = []
        self.announced: list[AnyAnnouncement] = []
        self._store = store

    def apply(self, event: Event) -> None:
        """Take one more event, unless it asks for what is already so.

        Raises:
            Refusal, StaleAnswer: As `transition` does; then nothing has changed.
        """
        before = self.state
        step = transition(before, event)
        after = step.state
        if after is before:
            return
        self.state = after
        self.events.append(event.to_json())
        self.effects += step.effects
        if _deadly(after) and not _deadly(before):
            self.write_letter(event.at_ms)
        notice = self._store.webhooks.notice(before, event, after)
        if notice is not None:
            self.notices.append(notice)
        if isinstance(event, ReplyEnded) and event.usage is not None:
            self.tokens += event.usage.total_tokens
        change = turn_change(before, event, after)
        self.tally += tally(change)
        self.announced += announced(self._store.announcer, change, before, event, after)

    def answer(self, seq: int, result: Result) -> None:
        """Be done with the mail of that number, and with what came before it."""
        self.acknowledged = seq
        self.results[seq] = result

    def write_letter(self, at_ms: int, mail: Mail | None = None) -> None:
        """Put work that failed for good among the dead letters: mail, or what ran."""
        state = self.state
        self.letter = DeadLetter(
            id=f"{state.id}.{state.version}",
            context_id=state.id,
            owner=state.owner,
            at_ms=at_ms,
            cause=state.failure.detail if state.failure else "",
            mail=mail,
        )


def _deadly(state: ContextState) -> bool:
    """Whether the context has failed because its work kills workers."""
    return state.failure is not None and state.failure.code in {POISON, EXHAUSTED}
