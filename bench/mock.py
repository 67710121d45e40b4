"""An OpenAI-compatible model server that costs next to nothing: the constant of the bench.

The model's name is the script: `zero` answers at once in one chunk; `chunks-N-D` sends N
chunks, one each D ms; `prompt-N-D` the same with the first at once; `stamped-N-D` like
`chunks-N-D`, with the emission time (`perf_counter_ns`) as each chunk's text. Replies are
prepared bytes, and all streams share one timer wheel. `GET /bench/counts` tells, and
resets, how many calls and chunks went out and how late the wheel was, so that a run can
prove that the mock was not its bottleneck.
"""

import asyncio
import heapq
import math
import re
import signal
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import orjson
import uvloop
from typing_extensions import override

from bench.processes import die_with_parent

_TICK_S = 0.001
_MODEL = re.compile(rb'"model"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_SCRIPT = re.compile(r"(chunks|prompt|stamped)-([1-9]\d{0,4})-([1-9]\d{0,4})")
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}


def _chunked(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _piece(model: str, *, text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _sse(model, {"choices": [choice]})


def _sse(model: str, fields: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0}
    return b"data: " + orjson.dumps({**head, "model": model, **fields}) + b"\n\n"


def _reply(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


@dataclass(frozen=True, slots=True)
class Script:
    """Everything a model name says, as bytes ready to be written."""

    first_s: float
    gap_s: float
    chunks: tuple[bytes, ...]
    """The framed text chunks; of stamped scripts the text is made when it is due."""
    stamp: tuple[bytes, bytes] | None
    """What stands before and after the time in a stamped chunk."""
    tail: bytes
    tail_with_usage: bytes
    whole: bytes
    """The non-streamed answer."""


@lru_cache(maxsize=256)
def script(model: str) -> Script | None:
    """Return the script of a model name, None where there is none of that name."""
    named = _SCRIPT.fullmatch(model)
    if model == "zero":
        texts, first_s, gap_s, kind = ["ok"], 0.0, 0.0, "zero"
    elif named is not None:
        kind, gap_s = named[1], int(named[3]) / 1000
        texts = [f"word{index:05d} " for index in range(int(named[2]))]
        first_s = 0.0 if kind == "prompt" else gap_s
    else:
        return None
    finish = _piece(model, text=None, finish="stop")
    done = b"data: [DONE]\n\n"
    usage = _sse(model, {"choices": [], "usage": _USAGE})
    mark = "@@"
    before, _, after = _piece(model, text=mark).partition(mark.encode())
    message = {"role": "assistant", "content": "".join(texts)}
    whole = orjson.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    )
    return Script(
        first_s=first_s,
        gap_s=gap_s,
        chunks=tuple(_chunked(_piece(model, text=text)) for text in texts),
        stamp=(before, after) if kind == "stamped" else None,
        tail=_chunked(finish + done) + b"0\r\n\r\n",
        tail_with_usage=_chunked(finish + usage + done) + b"0\r\n\r\n",
        whole=_reply(b"200 OK", whole),
    )


class Counts:
    """What the mock did since it was last asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.chunks = 0
        self.late_s_max = 0.0

    def take(self) -> bytes:
        """Return the counts as JSON and start again from zero."""
        told = {
            "calls": self.calls,
            "chunks": self.chunks,
            "late_ms_max": round(self.late_s_max * 1000, 3),
        }
        self.calls, self.chunks, self.late_s_max = 0, 0, 0.0
        return orjson.dumps(told)


class Stream:
    """One reply on its way out."""

    __slots__ = ("_at", "_begun_s", "_script", "_tail", "transport")

    def __init__(self, transport: asyncio.Transport, script: Script, tail: bytes) -> None:
        self.transport = transport
        self._script = script
        self._tail = tail
        self._at = 0
        self._begun_s = time.perf_counter()

    @property
    def due_s(self) -> float:
        """When the next chunk is due. From the start, not from the last: no drift."""
        return self._begun_s + self._script.first_s + self._at * self._script.gap_s

    def emit(self) -> bool:
        """Write the chunk that is due; with the last goes the end. True: more to come."""
        if self._script.stamp is None:
            chunk = self._script.chunks[self._at]
        else:
            before, after = self._script.stamp
            chunk = _chunked(before + b"%d;" % time.perf_counter_ns() + after)
        self._at += 1
        if self._at < len(self._script.chunks):
            self.transport.write(chunk)
            return True
        self.transport.write(chunk + self._tail)
        return False


class Wheel:
    """One timer for all streams: slots of a millisecond, a heap of the slots in use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counts: Counts) -> None:
        self._loop = loop
        self._counts = counts
        self._slots: dict[int, list[Stream]] = {}
        self._order: list[int] = []
        self._armed: tuple[int, asyncio.TimerHandle] | None = None

    def add(self, stream: Stream) -> None:
        """Have the stream emit when it is due."""
        slot = math.ceil(stream.due_s / _TICK_S)
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.append(stream)
            return
        self._slots[slot] = [stream]
        heapq.heappush(self._order, slot)
        self._arm()

    def _arm(self) -> None:
        slot = self._order[0]
        if self._armed is not None:
            if self._armed[0] <= slot:
                return
            self._armed[1].cancel()
        delay_s = max(0.0, slot * _TICK_S - time.perf_counter())
        self._armed = (slot, self._loop.call_later(delay_s, self._turn))

    def _turn(self) -> None:
        self._armed = None
        now = time.perf_counter()
        while self._order and self._order[0] * _TICK_S <= now:
            slot = heapq.heappop(self._order)
            for stream in self._slots.pop(slot):
                if stream.transport.is_closing():
                    continue
                self._counts.late_s_max = max(
                    self._counts.late_s_max, time.perf_counter() - stream.due_s
                )
                self._counts.chunks += 1
                if stream.emit():
                    self.add(stream)
        if self._order:
            self._arm()


class ModelConnection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, bodies with a content length."""

    def __init__(self, wheel: Wheel, counts: Counts) -> None:
        self._wheel = wheel
        self._counts = counts
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        while data:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                break
            length = _LENGTH.search(data, 0, head_end + 2)
            end = head_end + 4 + (int(length[1]) if length is not None else 0)
            if len(data) < end:
                break
            self._answer(data[: head_end + 4], data[head_end + 4 : end])
            data = data[end:]
        self._unread = data

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /bench/counts"):
            self._write(_reply(b"200 OK", self._counts.take()))
            return
        if head.startswith(b"GET /v1/models"):
            listed = [{"id": "zero", "object": "model", "created": 0, "owned_by": "bench"}]
            self._write(_reply(b"200 OK", orjson.dumps({"object": "list", "data": listed})))
            return
        named = _MODEL.search(body)
        known = script(named[1].decode()) if named is not None else None
        if not head.startswith(b"POST /v1/chat/completions") or known is None:
            problem = {"message": "unknown path or model", "type": "invalid_request_error"}
            self._write(_reply(b"404 Not Found", orjson.dumps({"error": problem})))
            return
        self._counts.calls += 1
        if _STREAM.search(body) is None:
            self._write(known.whole)
            return
        tail = known.tail_with_usage if b'"include_usage"' in body else known.tail
        if known.gap_s == 0:
            self._counts.chunks += 1
            self._write(_HEAD + known.chunks[0] + tail)
            return
        self._write(_HEAD)
        if self._transport is not None:
            self._begin(Stream(self._transport, known, tail), at_once=known.first_s == 0)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _begin(self, stream: Stream, *, at_once: bool) -> None:
        if at_once:
            self._counts.chunks += 1
            if not stream.emit():
                return
        self._wheel.add(stream)


async def serve() -> None:
    """Listen on a free port of the loopback, print it, and answer until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    counts = Counts()
    wheel = Wheel(loop, counts)
    server = await loop.create_server(
        lambda: ModelConnection(wheel, counts), "127.0.0.1", 0, backlog=4096
    )
    sys.stdout.write(orjson.dumps({"port": server.sockets[0].getsockname()[1]}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(serve())
