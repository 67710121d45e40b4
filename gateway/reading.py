"""How a request's body is read.

A body is JSON in UTF-8, read strictly: no duplicate keys, no NaN or Infinity, no number that
would not come back as it went in, no half of a surrogate pair, bounded depth. A request
parsed here is never parsed again.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from gateway.app import GATEWAY
from gateway.problems import Problem

INTEGER_MAX: Final = 2**63 - 1
"""Larger ones lose digits on their way through most JSON readers."""
MEDIA_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})
_ERRORS_MAX: Final = 100
"""How many errors in a body are looked at for the one that is told."""
DETAIL_CHARS: Final = 500

B = TypeVar("B", bound=BaseModel)


async def read_body(request: web.Request, model: type[B], *, depth_max: int) -> B:
    """Read a request's body as `model`; an empty body counts as `{}`.

    Raises:
        Problem: malformed-json, invalid-body, unsupported-media-type, request-timeout.
        HTTPRequestEntityTooLarge: More than `body_bytes_max`.
    """
    return validate(model, parse_json(await read_bytes(request), depth_max=depth_max))


def validate(model: type[B], value: Mapping[str, JsonValue]) -> B:
    """A parsed body as `model`.

    Raises:
        Problem: invalid-body.
    """
    try:
        return model.model_validate(value, strict=False)
    except ValidationError as error:
        where, wrong = first_wrong(error, value)
        detail = f"{where}: {wrong}" if where else wrong
        raise Problem("invalid-body", detail[:DETAIL_CHARS]) from None


def first_wrong(error: ValidationError, value: Mapping[str, JsonValue]) -> tuple[str, str]:
    """The first field of a body that is wrong, with dots, and what is wrong with it.

    Of a value that may be of several kinds, pydantic says why it is none of each, at places
    that name the kinds, too. The kind that was meant is the one that fits furthest.
    """
    errors = error.errors(include_url=False, include_input=False)[:_ERRORS_MAX]
    body: JsonValue = dict(value)
    places = [_place(one, body) for one in errors]
    first = places[0]
    place, told = max(
        (pair for pair in zip(places, errors, strict=True) if pair[0][: len(first)] == first),
        key=lambda pair: (len(pair[0]), not pair[1]["type"].endswith("_type")),
    )
    return ".".join(map(str, place)), told["msg"].removeprefix("Value error, ")


def _place(error: ErrorDetails, body: JsonValue) -> list[int | str]:
    """Where in a body an error is."""
    at = error["loc"]
    return [*_leading(at, body), *(at[-1:] if error["type"] == "missing" else ())]


def _leading(at: Sequence[int | str], value: JsonValue) -> list[int | str]:
    """The parts of a place that lead on in a value."""
    if not at:
        return []
    part, rest = at[0], at[1:]
    if isinstance(value, dict) and part in value:
        return [part, *_leading(rest, value[str(part)])]
    if isinstance(value, list) and isinstance(part, int):
        return [part, *_leading(rest, value[part])]
    return _leading(rest, value)


async def read_bytes(request: web.Request) -> bytes:
    """The body, uncompressed JSON by its headers.

    Raises:
        Problem: unsupported-media-type, request-timeout.
        HTTPRequestEntityTooLarge: More than `body_bytes_max`.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "Send the body without Content-Encoding.")
    raw = await read_raw(request)
    if raw and "Content-Type" in request.headers and request.content_type not in MEDIA_TYPES:
        raise Problem("unsupported-media-type", "Send Content-Type: application/json.")
    return raw


async def read_raw(request: web.Request) -> bytes:
    """The body as it comes, within `body_s_max`; too large a one is not read to its end.

    Raises:
        Problem: request-timeout.
        HTTPRequestEntityTooLarge: More than `body_bytes_max`.
    """
    length = request.content_length
    if length is not None and length > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, length)
    if request.content.is_eof():
        return await request.read()  # it has come with the head, as most do
    body_s_max = request.app[GATEWAY].config.body_s_max
    try:
        async with asyncio.timeout(body_s_max):
            return await request.read()
    except TimeoutError:
        detail = f"The body did not arrive within {body_s_max:g} s."
        raise Problem("request-timeout", detail, {}, {"Connection": "close"}) from None


async def read_large(request: web.Request, bytes_max: int) -> bytes:
    """A body of JSON that may be larger than others.

    Raises:
        Problem: unsupported-media-type, request-timeout.
        HTTPRequestEntityTooLarge: More than `bytes_max`.
    """
    return await read_bytes(request.clone(client_max_size=bytes_max))


def parse_json(
    raw: bytes, *, depth_max: int, values_max: int | None = None
) -> Mapping[str, JsonValue]:
    """Read a JSON object strictly.

    Args:
        raw: The text, in UTF-8; an empty one counts as `{}`.
        depth_max: How deeply it may be nested.
        values_max: How many values it may hold, those within others included; None: any.

    Raises:
        Problem: malformed-json, with the place where that can be told; invalid-body, if
            it is no object, or holds more.
    """
    if not raw:
        return {}
    try:
        value: JsonValue = _JSON.decode(raw.decode())
        count = _count_values(value, depth_max)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
    except UnicodeError:
        detail = "The text is not Unicode: broken UTF-8, or half of a surrogate pair."
        raise Problem("malformed-json", detail) from None
    except (ValueError, RecursionError) as error:
        detail = "Nested too deeply." if isinstance(error, RecursionError) else str(error)
        raise Problem("malformed-json", detail[:200]) from None
    if not isinstance(value, dict):
        raise Problem("invalid-body", "The body must be a JSON object.")
    if values_max is not None and count > values_max:
        raise Problem("invalid-body", f"The body holds more than {values_max} values.")
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"Duplicate key {key[:64]!r}.")
        value[key] = item
    return value


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:32]} is too large a number.")
    return number


def _bounded(text: str) -> int:
    if len(text) > 20 or not -INTEGER_MAX - 1 <= (number := int(text)) <= INTEGER_MAX:
        raise ValueError(f"{text[:32]} is too large a number; send it as a string.")
    return number


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_bounded,
)


def _count_values(value: JsonValue, depth_max: int) -> int:
    level: list[JsonValue] = [value]
    count = 0
    for _ in range(depth_max):
        count += len(level)
        deeper: list[JsonValue] = []
        for parent in level:
            if isinstance(parent, dict):
                deeper += parent.values()
            elif isinstance(parent, list):
                deeper += parent
        if not deeper:
            return count
        level = deeper
    raise ValueError(f"Nested deeper than {depth_max} levels.")
