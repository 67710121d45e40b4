"""Changes of a configuration: RFC 7396 merge patches.

No field of a configuration is judged by another one, so what may be merged into one
configuration may be merged into each.
"""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue, ValidationError

from fsm.state import Config
from fsm.steps import Inapplicable


def patched(config: Config, patch: Mapping[str, JsonValue]) -> Config:
    """The configuration with a merge patch applied.

    Raises:
        pydantic.ValidationError: It would not be valid.
    """
    return Config.model_validate(merge_patch(config.model_dump(mode="json"), dict(patch)))


def check_patch(config: Config, patch: Mapping[str, JsonValue]) -> Config:
    """The patched configuration; a patch that would make it invalid is refused."""
    try:
        return patched(config, patch)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Inapplicable("invalid-config", f"{where}: {first['msg']}") from None


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
