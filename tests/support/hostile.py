"""Hostile input, made by rule: documents that are no JSON, values that should not be where they
are, and strings by what they have broken elsewhere.

Of a JSON schema, `holes` gives the smallest documents that fit it with one hole for a string;
what is put into the hole is any of these.
"""

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import orjson

Json: TypeAlias = Any
"""A schema, or what it describes."""

HOLE: Final = "@@HOLE@@"
_HOLE: Final = orjson.dumps(HOLE)
_DEPTH_MAX: Final = 6
"""Schemas may hold themselves."""


def filled(template: bytes, value: bytes) -> bytes:
    """A template with this JSON, or what is none, in its hole."""
    return template.replace(_HOLE, value)


# Documents


def broken(document: bytes) -> Iterator[bytes]:
    """What is no JSON, or none that may be taken, made of a document that is."""
    for at in (0, 1, len(document) // 2, len(document) - 1):
        yield document[:at]
        for inserted in (
            b"\0",
            b"\xff",
            b"\xef\xbb\xbf",
            b"\x1b",
            b"}",
            b"]",
            b'"',
            b",",
            b"\\",
        ):
            yield document[:at] + inserted + document[at:]
    yield from (document + document, document + b"//", b"/**/" + document, b"#\n" + document)
    yield from (
        b"[" + document,
        document[:-1] + b",}",
        b"{," + document[1:],
        b"\x0c" + document,
    )
    yield from (
        document.decode(errors="replace").encode(c) for c in ("utf-16", "utf-32", "utf-7")
    )
    yield from (b'{"":' * depth + b"1" + b"}" * depth for depth in (64, 100, 5_000))
    yield from (b"[" * depth + b"]" * depth for depth in (64, 100, 30_000))
    yield from (b"[" * 30_000, b'{"a":' * 10_000, b'"' + b"\\" * 60_001, b"-" * 60_000)
    yield from (
        b"'a'",
        b"{a:1}",
        b"{1:1}",
        b"{'a':1}",
        b'{"a" 1}',
        b'{"a":}',
        b"[1 2]",
        b"undefined",
    )
    yield from (b"nul", b"True", b"None", b"(1)", b"0x1", b"\x80", b" " * 60_000, b"\n", b"")
    yield from (
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"\\ud800":1}',
        b"[" + b"1," * 30_000,
    )


def values() -> Iterator[bytes]:
    """JSON, and what looks like it, that is not what a field is for."""
    yield from (b"null", b"true", b"false", b"0", b"-0", b"-1", b"1.5", b"[]", b"{}", b"[[]]")
    yield from (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"1e-999",
        b"1e400",
        b"01",
    )
    yield from (b"+1", b".5", b"5.", b"1e", b"--1", b"0b1", b"1_0", b"\xd9\xa1", b"9" * 5_000)
    yield from (
        b"9223372036854775807",
        b"9223372036854775808",
        b"18446744073709551616",
        b"-1e308",
    )
    yield from (
        b'{"a":1,"a":2}',
        b'{"__proto__":{}}',
        b'{"$ref":"#"}',
        b'{"":null}',
        b"[null,[]]",
    )
    yield from (
        b'"\\ud800"',
        b'"\\udfff\\ud800"',
        b'"\\u00"',
        b'"\\x41"',
        b'"\t"',
        b'"\n"',
        b'"\0"',
    )
    yield from (
        b'"\\u0000"',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
    )
    yield from (b"[" * 63 + b"]" * 63, b'{"a":' * 62 + b"1" + b"}" * 62, b"'x'", b"x", b"")


def is_json(document: bytes) -> bool:
    """Whether a document is JSON to a parser that is not ours: UTF-8, and no NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(document.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def sound() -> Iterator[bytes]:
    """Values that every parser takes, and that come back as they went in."""
    for sign, digits, fraction, exponent in itertools.product(
        ("", "-"), ("0", "7", "120"), ("", ".0", ".25"), ("", "e2", "E+2", "e-2", "e0")
    ):
        yield f"{sign}{digits}{fraction}{exponent}".encode()
    yield from (b'"\\%c"' % escaped for escaped in b'"\\/bfnrt')
    for point in (0, 1, 0x1F, 0x20, 0x7F, 0xA0, 0x2028, 0x2029, 0xFEFF, 0xFDD0, 0xFFFE, 0xFFFF):
        yield b'"\\u%04x\\u%04X"' % (point, point)
    for point in (0x20, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF):
        yield f'"{chr(point)}"'.encode()
        above = point - 0x10000
        if above >= 0:
            yield b'"\\u%04x\\u%04x"' % (0xD800 + (above >> 10), 0xDC00 + (above & 0x3FF))
    yield from (b"true", b"false", b"null", b'""', b"[]", b"{}", b'{"":""}', b'{"a\\u0062":1}')
    for space in (b" ", b"\t", b"\n", b"\r", b" \r\n\t "):
        yield space.join(
            (b"", b"[", b"1", b",", b"{", b'"a"', b":", b"[", b"]", b"}", b"]", b"")
        )
    yield from (b"[" * depth + b"1" + b"]" * depth for depth in (1, 2, 30, 60))
    yield b'"%s"' % (b"x" * 10_000)


def doubtful() -> Iterator[bytes]:
    """Values about which parsers differ."""
    yield from (b"1e400", b"-1e400", b"1e-400", b"0.4e006", b"123123e100000", b"-0", b"1" * 400)
    yield from (b'"\\u%04x"' % lone for lone in (0xD800, 0xDBFF, 0xDC00, 0xDFFF))
    yield from (b'"\\ud800\\u0041"', b'"\\udc00\\ud800"', b'{"\\ud800":1}')
    yield from (
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"\xff"',
        b'"\xe0\x80\x80"',
        b'"\xf8\x88\x80\x80\x80"',
    )
    yield from (b'"\x80"', b'"\xc3"', b'"\xe2\x82"', b"\xef\xbb\xbf1")
    yield from (b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500)


# Strings


def strings() -> Iterator[str]:
    """Strings by what they have broken: parsers, shells, stores, terminals, eyes."""
    yield from (
        "",
        " ",
        "\t",
        "a",
        "null",
        "undefined",
        "NaN",
        "true",
        "0",
        "-1",
        "1e999",
        "None",
    )
    yield from (
        "\0",
        "a\0b",
        "\x7f",
        "\x80",
        "\x85",
        "\x9b31m",
        "\x1b[2J",
        "\x1b]52;c;eA==\x07",
        "\r\n",
    )
    yield from (
        "\u2028",
        "\u2029",
        "\ufeff",
        "\u200b",
        "\u00ad",
        "\u202edcba\u202c",
        "\u2066a\u2069",
    )
    yield from (
        "\ufffe",
        "\uffff",
        "\U0010ffff",
        "\U0001d11e",
        "\U000e0041\U000e007f",
        "\ue000",
    )
    yield from (
        "e\u0301",
        "\u00e9",
        "\u1e9b\u0323",
        "\ufb01",
        "\uff21",
        "\u0130",
        "\u0131",
        "\u1e9e",
    )
    yield from (
        "\u0e4e" * 40,
        "a" + "\u0336" * 200,
        "\U0001f468\u200d\U0001f469",
        "\U0001f1e6" * 9,
    )
    yield from (
        "../../etc/passwd",
        "..\\..\\x",
        "/dev/zero",
        "%00",
        "%2e%2e%2f",
        "C:\\con",
        "file:///x",
    )
    yield from (
        "' OR 1=1--",
        '"; DROP TABLE x',
        "$(id)",
        "`id`",
        "| id",
        "; id",
        "${7*7}",
        "{{7*7}}",
    )
    yield from (
        "<script>x()</script>",
        "<img src=x onerror=x()>",
        "javascript:x()",
        "]]>",
        "<!--",
        "&#0;",
    )
    yield from (
        "%s%n%x",
        "%d" * 50,
        "{0}",
        "{}",
        "{a.__class__}",
        "\\",
        "\\u0000",
        "\\ud800",
        "\\'",
        '"',
    )
    yield from (
        "*3\r\n$3\r\nSET\r\n",
        "FLUSHALL\r\n",
        "ctx:{x}:meta",
        "{a}{b}",
        "a:b",
        "a}b",
        "*",
        "?[a]",
    )
    yield from (
        "data: x\n\nevent: reset\n",
        "\nid: 9.9.9\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "a\r\nSet-Cookie: b",
    )
    yield from (
        "1.1.0",
        '"1.1.0"',
        "W/",
        "9" * 30,
        "-9" * 20,
        "0.0.0.0.0",
        "1,2,3",
        "=cmd|' /C'!A0",
        "@x",
    )
    yield from (
        "x" * 255,
        "x" * 256,
        "x" * 1_001,
        "x" * 20_001,
        "\U0001f4a9" * 500,
        "\0" * 300,
        "(" * 5_000,
    )
    yield from (
        "a" * 50 + "!",
        "a@" * 400,
        " " * 2_000 + "x",
        "\n" * 999,
        "/" * 999,
        "-" * 64,
        "_",
        ".",
        "..",
    )
    yield from (
        "/chunks 3",
        "/fail nonsense",
        "/tool",
        "/tool " + "x" * 300,
        "/rounds 9999",
    )
    yield from (
        "01932c5e-7a10-7c3b-9d2e-5f6071829304",
        "chatcmpl-x",
        "resp_0",
        "conv_\0",
        "main",
        "HEAD",
    )


def mixtures(seed: int) -> Iterator[str]:
    """Strings put together of the others, without end; the same for the same seed."""
    rng = random.Random(seed)
    known = [text for text in strings() if len(text) < 300]
    while True:
        pieces = rng.choices(known, k=rng.randint(2, 4))
        pieces.insert(rng.randrange(3), chr(rng.randint(*rng.choice(_PLANES))))
        yield "".join(pieces)


_PLANES: Final = ((0, 0x2FF), (0x300, 0xD7FF), (0xE000, 0x10FFFF))


def encoded(text: str) -> bytes:
    """A string as JSON."""
    return orjson.dumps(text)


# Where they go


def holes(schema: Json, document: Json) -> Iterator[bytes]:
    """The smallest documents that fit a schema, each with a hole where one string is.

    Args:
        schema: Of an OpenAPI document.
        document: The whole of it, to find what the schema refers to.
    """
    seen: set[bytes] = set()
    for value in _holes(schema, document, _DEPTH_MAX):
        template = orjson.dumps(value)
        if template not in seen:
            seen.add(template)
            yield template


def _holes(schema: Json, document: Json, depth: int) -> Iterator[Json]:
    schema = _resolved(schema, document)
    if depth == 0 or "const" in schema:
        return
    for alternative in _alternatives(schema):
        yield from _holes(alternative, document, depth - 1)
    match schema.get("type"):
        case "string":
            yield HOLE
        case "object":
            whole = least(schema, document, depth)
            for name, part in schema.get("properties", {}).items():
                for value in _holes(part, document, depth - 1):
                    yield {**whole, name: value}
            more = _resolved(schema.get("additionalProperties"), document)
            if more:
                yield {**whole, HOLE: least(more, document, depth)}
                for value in _holes(more, document, depth - 1):
                    yield {**whole, "a": value}
        case "array":
            for value in _holes(schema.get("items", {}), document, depth - 1):
                yield [value]
        case None if not any(key in schema for key in ("anyOf", "oneOf", "allOf")):
            yield HOLE
        case _:
            pass


def least(schema: Json, document: Json, depth: int = _DEPTH_MAX) -> Json:
    """The smallest value that fits a schema, about."""
    schema = _resolved(schema, document)
    if depth == 0:
        return None
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for alternative in _alternatives(schema):
        return least(alternative, document, depth - 1)
    match schema.get("type"):
        case "string":
            return "x" * max(1, schema.get("minLength", 1))
        case "object":
            parts = schema.get("properties", {})
            return {
                name: least(parts.get(name, {}), document, depth - 1)
                for name in schema.get("required", ())
            }
        case "array":
            some = range(schema.get("minItems", 0))
            return [least(schema.get("items", {}), document, depth - 1) for _ in some]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return None


def _resolved(schema: Json, document: Json) -> Mapping[str, Json]:
    if not isinstance(schema, dict):
        return {}
    found = cast("Mapping[str, Json]", schema)
    if "$ref" not in found:
        return found
    where: Json = document
    for word in str(found["$ref"]).removeprefix("#/").split("/"):
        where = where[word]
    return _resolved(where, document)


def _alternatives(schema: Mapping[str, Json]) -> Iterator[Json]:
    chained = itertools.chain.from_iterable(
        schema.get(key, ()) for key in ("anyOf", "oneOf", "allOf")
    )
    yield from (one for one in chained if one.get("type") != "null")
