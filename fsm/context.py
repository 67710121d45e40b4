"""The rules that concern the context as a whole, whatever its turn is doing."""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue, ValidationError

from fsm.events import ContextConfigured, ContextCreated, ContextDeleted, ContextRenamed
from fsm.state import Config, ContextState, Phase
from fsm.turns import Inapplicable, Step, Unchanged, stop_all, with_


def open_context(event: ContextCreated) -> ContextState:
    """The state after the first event of a log."""
    return ContextState(
        id=event.context_id,
        owner=event.owner,
        title=event.title,
        labels=event.labels,
        version=1,
        created_at_ms=event.at_ms,
        updated_at_ms=event.at_ms,
        config=event.config,
    )


def configure(state: ContextState, event: ContextConfigured) -> Step:
    """Merge the patch into the configuration; in force from the next model call on."""
    config = state.config.model_dump(mode="json")
    try:
        merged = Config.model_validate(merge_patch(config, dict(event.patch)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Inapplicable("invalid-config", f"{where}: {first['msg']}") from None
    # Compared as JSON: to Python, 1, 1.0 and True are the same value.
    if merged.model_dump_json() == state.config.model_dump_json():
        raise Unchanged
    return Step(with_(state, config=merged))


def merge_patch(target: JsonValue, patch: JsonValue) -> JsonValue:
    """Apply an RFC 7396 merge patch. Neither argument is modified."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return cast("JsonValue", merged)


def rename(state: ContextState, event: ContextRenamed) -> Step:
    """Give the context another title."""
    if event.title == state.title:
        raise Unchanged
    return Step(with_(state, title=event.title))


def delete(state: ContextState, _event: ContextDeleted) -> Step:
    """Stop everything; the last transition there is."""
    stopped = stop_all(state)
    return Step(
        with_(stopped.state, phase=Phase.DELETED, turn=None, queue=(), failure=None),
        stopped.effects,
    )
