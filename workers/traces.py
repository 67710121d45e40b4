"""Which trace each turn belongs to: that of the mail that brought its message."""

from fsm import ContextState


class TurnTraces:
    """Traces of the running turn and of the messages that wait, by message id."""

    def __init__(self, kept: str) -> None:
        """Go on from what `kept` returned, perhaps in another worker."""
        message_id, _, traceparent = kept.partition(" ")
        self._by_message = {message_id: traceparent} if traceparent else {}

    def brought(self, before: ContextState, after: ContextState, traceparent: str) -> None:
        """Take note that mail was applied: messages that it brought belong to its trace."""
        known, there = _messages(before), _messages(after)
        self._by_message.update(dict.fromkeys(there - known, traceparent))
        self._by_message = {
            message_id: trace
            for message_id, trace in self._by_message.items()
            if message_id in there
        }

    def of(self, state: ContextState) -> str | None:
        """The trace of the running turn, if it has one."""
        return self._by_message.get(state.turn.id) if state.turn else None

    def kept(self, state: ContextState) -> str:
        """The running turn and its trace as text, for whoever takes the context over; or ""."""
        trace = self.of(state)
        return f"{state.turn.id} {trace}" if state.turn and trace else ""


def _messages(state: ContextState) -> set[str]:
    """Ids of the message that is being answered, and of those that wait."""
    waiting = {entry.id for entry in state.queue}
    return waiting | {state.turn.id} if state.turn else waiting
