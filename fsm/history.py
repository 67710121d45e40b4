"""The messages that the model is shown: how many tokens they take, what a summary replaces."""

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Final

from fsm.state import ContextState, Message, Summary

CHARS_PER_TOKEN: Final = 4
"""Roughly, of English text; other languages need more tokens, so budgets leave room."""
TOKENS_PER_MESSAGE: Final = 4
"""Roughly what a message takes besides its text."""


def branch_messages(
    state: ContextState, last: int | None = None, *, branch: str | None = None
) -> Sequence[Message]:
    """The messages of a branch, oldest first.

    Args:
        state: Of the context.
        last: How many at most, the newest ones; None: all.
        branch: Its name; None: the active one.
    """
    return line_to(state, state.branches[branch or state.active_branch].head, last)


def line_to(
    state: ContextState, message_id: str | None, last: int | None = None
) -> Sequence[Message]:
    """The messages from the root of the tree to one of it, oldest first."""
    line = list(islice(back_from(state, message_id), last))
    line.reverse()
    return line


def back_from(state: ContextState, message_id: str | None) -> Iterator[Message]:
    """The messages from one of the tree to its root, newest first."""
    wanted = message_id
    # Parents stand before their children, so one pass backwards is the walk to the root.
    for message in reversed(state.messages):
        if wanted is None:
            return
        if message.id == wanted:
            yield message
            wanted = message.parent_id


def summary_of(state: ContextState) -> Summary | None:
    """The summary that stands for the beginning of the active branch, if there is one."""
    if not state.summaries:
        return None
    by_end = {summary.through_id: summary for summary in state.summaries}
    line = back_from(state, state.branches[state.active_branch].head)
    return next((by_end[m.id] for m in line if m.id in by_end), None)


def tokens_of(text: str) -> int:
    """How many tokens a text takes as a message, estimated without a tokenizer."""
    return len(text) // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE


def message_tokens(message: Message) -> int:
    """How many tokens a message takes, estimated, with the texts that are attached to it."""
    tokens = tokens_of(message.content)
    for part in message.parts:
        match part:
            case {"type": "text_attachment", "text": str(text)}:
                tokens += tokens_of(text)
            case _:
                pass
    return tokens


def summarise_through(state: ContextState) -> str | None:
    """Up to which message the active branch needs a new summary; None: it fits as it is.

    What stays takes about half of the budget and begins with the user, so that the next
    summary is due only after as much again.
    """
    tokens_max = state.config.limits.history_tokens_max
    if state.tokens <= tokens_max:
        return None  # without a look at every message, before each model call
    summary = summary_of(state)
    covered_id = summary.through_id if summary else None
    walk = back_from(state, state.branches[state.active_branch].head)
    line = list(takewhile(lambda message: message.id != covered_id, walk))
    line.reverse()
    tokens = sum(message_tokens(message) for message in line)
    if tokens + (tokens_of(summary.text) if summary else 0) <= tokens_max:
        return None
    first_kept = len(line)
    kept = 0
    for index in range(len(line) - 1, 0, -1):
        kept += message_tokens(line[index])
        if kept > tokens_max // 2 and first_kept < len(line):
            break
        if line[index].role == "user":
            first_kept = index
    return line[first_kept - 1].id if first_kept < len(line) else None
