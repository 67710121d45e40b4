"""Requests whose end could be taken to be elsewhere: refused, and the connection with them.

A proxy in front and we must agree on where a request ends, or what one client sends becomes
the beginning of another one's request. So each of these is followed by a second request,
which must not be answered where the first was refused.
"""

import re
from collections.abc import Mapping
from typing import Final

import pytest

from tests.gateway.bare import problem_in, raw, rest
from tests.support.service import serving

POST: Final = (
    b"POST /api/contexts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
NEXT: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
LENGTH: Final = b"Content-Length: 2\r\n"
BODY: Final = b"\r\n{}"
CHUNKS: Final = b"\r\n2\r\n{}\r\n0\r\n\r\n"

REFUSED: Final[Mapping[str, bytes]] = {
    "a length and chunks": POST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and a length": POST + CHUNKED + LENGTH + b"\r\n0\r\n\r\n",
    "a length twice": POST + LENGTH + LENGTH + BODY,
    "two lengths": POST + LENGTH + b"Content-Length: 5\r\n" + BODY,
    "two lengths in one": POST + b"Content-Length: 2, 5\r\n" + BODY,
    "a length with a plus": POST + b"Content-Length: +2\r\n" + BODY,
    "a length with a minus": POST + b"Content-Length: -2\r\n" + BODY,
    "a length with a space": POST + b"Content-Length: 2 2\r\n" + BODY,
    "a length in base 16": POST + b"Content-Length: 0x2\r\n" + BODY,
    "a length with an underscore": POST + b"Content-Length: 0_2\r\n" + BODY,
    "a length in other digits": POST + "Content-Length: \u0662\r\n".encode() + BODY,
    "no length": POST + b"Content-Length: \r\n" + BODY,
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551618\r\n" + BODY,
    "a space before the colon": POST + b"Content-Length : 2\r\n" + BODY,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n" + CHUNKS,
    "a quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n' + CHUNKS,
    "no coding": POST + b"Transfer-Encoding: \r\n" + LENGTH + BODY,
    "the identity": POST + b"Transfer-Encoding: identity\r\n" + LENGTH + BODY,
    "a coding before chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS,
    "a coding behind chunks": POST + b"Transfer-Encoding: chunked, identity\r\n" + CHUNKS,
    "chunks of chunks": POST + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNKS,
    "chunks twice": POST + CHUNKED + CHUNKED + CHUNKS,
    "a coding behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n" + CHUNKS,
    "chunks before there were any": (
        POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n" + CHUNKED + CHUNKS
    ),
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n" + CHUNKS,
    "a folded header": POST + b"X: a\r\n b\r\n" + LENGTH + BODY,
    "a header that begins with a space": POST.replace(b"\r\nHost", b"\r\n Host")
    + LENGTH
    + BODY,
    "a header without a colon": POST + b"Xab\r\n" + LENGTH + BODY,
    "a header without a name": POST + b": a\r\n" + LENGTH + BODY,
    "lines that end with LF": POST.replace(b"\r", b"") + b"Content-Length: 2\n\n{}",
    "a line that ends with LF": POST.replace(b"\r", b"", 1) + LENGTH + BODY,
    "a line that ends with CR": POST + b"X: a\rContent-Length: 9\r\n" + LENGTH + BODY,
    "a NUL in a value": POST + b"X: a\0b\r\n" + LENGTH + BODY,
    "a NUL in a name": POST + b"X\0: a\r\n" + LENGTH + BODY,
    "a NUL in the path": POST.replace(b"contexts", b"con\0texts") + LENGTH + BODY,
    "a size with a plus": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"+2\r\n"),
    "a size with a minus": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"-2\r\n"),
    "a size with a prefix": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"0x2\r\n"),
    "a size with a space": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"2 \r\n"),
    "no size": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"\r\n"),
    "a size beyond 64 bits": POST
    + CHUNKED
    + CHUNKS.replace(b"2\r\n", b"10000000000000002\r\n"),
    "a chunk longer than its size": POST + CHUNKED + CHUNKS.replace(b"{}", b"{} "),
    "chunks that end with LF": POST + CHUNKED + CHUNKS.replace(b"\r", b""),
    "an extension with LF": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"2;a\nb\r\n"),
    "a length behind the chunks": (
        POST + CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"Content-Length: 99\r\n\r\n"
    ),
    "two hosts": POST + b"Host: evil.example\r\n" + LENGTH + BODY,
    "no host": POST.replace(b"Host: localhost\r\n", b"") + LENGTH + BODY,
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": POST.replace(b"1.1", b"1.2") + LENGTH + BODY,
    "HTTP/2.0": POST.replace(b"1.1", b"2.0") + LENGTH + BODY,
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": POST.replace(b"POST", b"post") + LENGTH + BODY,
    "a method nobody knows": POST.replace(b"POST", b"SMUGGLE") + LENGTH + BODY,
}
TAKEN: Final[Mapping[str, bytes]] = {
    "a length": POST + LENGTH + BODY,
    "zeros before a length": POST + b"Content-Length: 002\r\n" + BODY,
    "spaces around a length": POST + b"Content-Length: \t2 \r\n" + BODY,
    "chunks": POST + CHUNKED + CHUNKS,
    "chunks in capitals": POST + b"Transfer-Encoding: CHUNKED\r\n" + CHUNKS,
    "an extension": POST + CHUNKED + CHUNKS.replace(b"2\r\n", b"2;a=b\r\n"),
    "something behind the chunks": (
        POST + CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"Authorization: Bearer x\r\n\r\n"
    ),
    "an empty line before": b"\r\n" + POST + LENGTH + BODY,
    "an upgrade that is none": (
        POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + LENGTH + BODY
    ),
}


def statuses(answers: bytes) -> list[int]:
    """Of each answer."""
    return [int(status) for status in re.findall(rb"HTTP/\d[.]\d (\d{3}) ", answers)]


@pytest.mark.parametrize("kind", ["native", "openai"])
async def test_what_ends_in_two_places_is_refused_and_ends_the_connection(
    store_url: str, kind: str
) -> None:
    async with serving(store_url, workers=0) as service:
        for name, sent in REFUSED.items():
            if kind == "openai":
                sent = sent.replace(b"/api/contexts", b"/v1/conversations")
            async with raw(service) as (reader, writer):
                writer.write(sent + NEXT)
                answer = await rest(reader)
            assert statuses(answer) == [400], (name, answer)
            assert b"malformed-request" in answer, (name, answer)
        # Nothing of it was taken, and whoever comes next is served.
        listed = await service.client.get("/api/contexts")
        assert listed.json["contexts"] == []


async def test_what_ends_in_one_place_is_taken_and_so_is_the_next_request(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        for name, sent in TAKEN.items():
            async with raw(service) as (reader, writer):
                writer.write(sent + NEXT)
                answer = await rest(reader)
            assert statuses(answer) == [201, 200], (name, answer)
            assert answer.endswith(b'{"status":"ok"}'), name
        listed = await service.client.get("/api/contexts")
        assert len(listed.json["contexts"]) == len(TAKEN)


@pytest.mark.parametrize("line", [b"GET /healthz", b"GET /healthz HTTP/2.0"])
async def test_another_version_is_not_answered_as_if_it_were_spoken(
    store_url: str, line: bytes
) -> None:
    async with serving(store_url, workers=0) as service, raw(service) as (reader, writer):
        writer.write(line + b"\r\nHost: localhost\r\n\r\n")
        assert problem_in(await rest(reader)) == (400, "malformed-request")


async def test_the_body_of_a_get_is_no_request(store_url: str) -> None:
    async with serving(store_url, workers=0) as service, raw(service) as (reader, writer):
        inner = b"DELETE /api/contexts/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(inner) + inner + NEXT)
        assert statuses(await rest(reader)) == [200, 200]
