"""Why the machine does not take an event.

* Refusal: the action makes no sense now; the state is unchanged. `code` names why:
    * illegal-in-phase: the table has no rule for it in this phase
    * no-pending-approvals: approve_tools with nothing to approve
    * unknown-tool-call: an id that is no call of this turn
    * unknown-turn: cancel named a turn that is not the running one
    * queue-full: as many messages wait for the turn's end as may
    * invalid-config: the patched configuration is not valid
    * version-mismatch: If-Match named another version
* StaleAnswer: answers an effect that is no longer pending; dropped without trace.
"""

from collections.abc import Sequence


class Refusal(Exception):
    """An action was refused; nothing has changed."""

    def __init__(
        self, code: str, detail: str, *, phase: str, allowed_actions: Sequence[str]
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.phase = phase
        self.allowed_actions = tuple(allowed_actions)


class StaleAnswer(Exception):
    """The effect was answered, stopped or superseded before."""
