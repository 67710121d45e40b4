"""Contexts whose work ends the workers that begin it: counted, isolated, given up.

A context is under suspicion while those who began its work ended before they committed
anything. Its actions are then taken one at a time; from the second end on nothing else that
is suspected runs beside it in the same worker, so that the next end blames one context; and
after `kills_max` ends the action goes to the dead letters and the context fails.
"""

from fsm import PrepareRequest
from storage import Owned


def deaths(owned: Owned) -> int:
    """How many owners in a row have ended with the work of this context in hand."""
    # What others were doing is counted where it is remembered: as attempts of the effect.
    works = bool(owned.mail) or any(
        isinstance(effect, PrepareRequest) for effect in owned.state.pending.values()
    )
    return max(owned.attempts, 1 if owned.before and works else 0)
