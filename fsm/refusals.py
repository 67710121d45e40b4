"""Why the machine does not take an event.

* Refusal: the action makes no sense now; the state is unchanged. `code` names why:
    * illegal-in-phase: the table has no rule for it in this phase
    * no-pending-approvals: approve_tools with nothing to approve
    * unknown-tool-call: an id that is no call of this turn
    * unknown-turn: cancel named a turn that is not the running one
    * unknown-question: the answer's id is no open question
    * unknown-message: an id that no message has, or one of another kind than is needed
    * unknown-branch: no branch has that name
    * branch-exists: one has it already, or there are as many branches as may be
    * merge-conflict: both lines have something of their own in the same place
    * turn-running: policy `reject`, and a turn is running; request_turn, and its tools are
    * too-many-messages: more than one event may bring
    * not-waiting: update_queue named a message that does not wait any more
    * queue-full: as many messages wait for the turn's end as may
    * invalid-config: the patched configuration is not valid
    * version-mismatch: If-Match named another version
* StaleAnswer: answers an effect that is no longer pending; dropped without trace.
"""

from collections.abc import Sequence

from fsm.state import Conflict


class Refusal(Exception):
    """An action was refused; nothing has changed."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        phase: str,
        allowed_actions: Sequence[str],
        conflicts: Sequence[Conflict] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.phase = phase
        self.allowed_actions = tuple(allowed_actions)
        self.conflicts = tuple(conflicts)
        """What a merge would have to decide; only with merge-conflict."""


class StaleAnswer(Exception):
    """The effect was answered, stopped or superseded before."""
