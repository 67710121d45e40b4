"""Contexts whose work kills the workers that begin it: counted, isolated, given up.

A context is under suspicion while the workers that began its work died before they committed
anything; one that only waited has begun none. Its actions are then taken one at a time; from
the second death on, no other suspected context runs beside it in the same worker, so that the
next death blames one context; and after `kills_max` deaths the action goes to the dead letters
and the context fails.
"""

from fsm import AwaitRetry, PrepareRequest, wakes_at_ms
from storage import Owned


def deaths(owned: Owned, *, now_ms: int) -> int:
    """How many activations in a row have died with the work of this context in hand."""
    if not _has_work(owned, now_ms):
        return 0
    # What others were doing is counted where it is remembered: as attempts of the effect.
    works = bool(owned.mail) or any(
        isinstance(effect, PrepareRequest) for effect in owned.state.pending.values()
    )
    return max(owned.attempts, 1 if owned.before and works else 0)


def _has_work(owned: Owned, now_ms: int) -> bool:
    """Whether there is work to do, more than waiting for mail or for a time."""
    due_ms = wakes_at_ms(owned.state)
    if owned.mail or (due_ms is not None and due_ms <= now_ms):
        return True
    return any(
        not isinstance(effect, AwaitRetry) or effect.due_ms <= now_ms
        for effect in owned.state.pending.values()
    )
