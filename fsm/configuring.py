"""Changes of a configuration: RFC 7396 merge patches.

No field of a configuration is judged by another one, so what may be merged into one
configuration may be merged into each.
"""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from fsm.state import Config


def patched(config: Config, patch: Mapping[str, JsonValue]) -> Config:
    """The configuration with a merge patch applied.

    Raises:
        pydantic.ValidationError: It would not be valid.
    """
    return Config.model_validate(merge_patch(config.model_dump(mode="json"), dict(patch)))


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
