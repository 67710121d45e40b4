"""What a rule returns, why it may refuse, and what all rules make states with."""

from collections.abc import Sequence
from typing import NamedTuple

from fsm.effects import AnyEffect, MakeTitle, RunTool, StopEffect
from fsm.state import Conflict, ContextState, Turn


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
