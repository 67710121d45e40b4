"""Judges contexts as they are at the end of a run, each by itself.

Invariant: a context that neither rests nor waits for a person is stuck: nothing would ever
happen in it again.
"""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Final as Constant

from verify.findings import Findings
from verify.records import Final, Violation

RESTING: Constant = frozenset(
    {"idle", "awaiting_tool_approval", "awaiting_answer", "failed", "paused"}
)
"""Statuses that last until a person acts."""


def check_rest(finals: Iterable[Final]) -> tuple[Violation, ...]:
    """Contexts that neither rest nor wait for a person."""
    found = Findings()
    for final in finals:
        if final.found and (final.status not in RESTING or final.draft is not None):
            found.add("stuck", final.context_id, f"It is still {final.status}.", final=final)
        elif final.found and final.queued and final.status == "idle":
            found.add("stuck", final.context_id, "It is idle and messages wait.", final=final)
    return found.violations()


def check_answers(finals: Iterable[Final]) -> tuple[Violation, ...]:
    """User messages without exactly one whole answer: for runs that cancel and fail nothing."""
    found = Findings()
    for final in finals:
        shown = [message for message in final.messages if message.role in {"user", "assistant"}]
        for message, follower in zip_longest(shown, shown[1:]):
            answered = follower is not None and follower.role == "assistant"
            if message.role == "user" and not answered:
                text = "A message has no answer."
                found.add("unanswered", final.context_id, text, message=message)
            elif message.role == "assistant" and answered:
                text = "A message was answered twice."
                found.add("answered-twice", final.context_id, text, message=message)
            if message.role == "assistant" and message.status != "complete":
                found.add("not-whole", final.context_id, "A reply is cut.", message=message)
    return found.violations()
