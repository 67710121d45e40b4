"""A response as an object, and as the numbered events of its stream.

Numbers go by position: each event of the structure counts one, and each character of text
counts one. They follow from the log alone, so a client that has seen number n gets exactly
what comes after it, whatever the pieces were that the text came in, from any gateway.
"""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import JsonValue

from fsm import Message, RecordedMessage, ToolCall, Usage
from gateway.app import Gateway
from gateway.openai.asking import overdue
from gateway.openai.ids import pair_id
from gateway.openai.messages import Item, call_item, text_item, text_part
from gateway.openai.sse import EventStream, named
from gateway.openai.transcript import (
    Begun,
    Called,
    Happening,
    Over,
    TextArrived,
    TextOver,
    Transcript,
    request_of,
)
from gateway.openai.watch import TurnWatch
from gateway.problems import Problem
from gateway.stream import HEARTBEAT
from storage import StorageError

RESPONSES_DOOR: Final = "responses"
"""Label of contexts that were made for a response."""
_ERROR_CODES: Final = {"rate_limited": "rate_limit_exceeded"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a response."""

    request: str
    """Its number."""
    at_ms: int
    note: Mapping[str, JsonValue]
    """Fields of the request that the response repeats; the log keeps them with its message."""


def asked_with(message: Message | RecordedMessage, at_ms: int) -> Asked | None:
    """The response request whose last message this is; None: it is not the last one of any."""
    note = message.metadata.get("openai")
    request = request_of(message.client_message_id)
    if request is None or not isinstance(note, dict) or "previous_response_id" not in note:
        return None
    return Asked(request, at_ms, note)


def response_object(
    context_id: str, asked: Asked, transcript: Transcript, *, status: str | None = None
) -> dict[str, object]:
    """A response as it is now.

    Args:
        context_id: Where it is made.
        asked: Its request.
        transcript: Of its turn.
        status: Of a moment before the transcript's; None: as it is.
    """
    over = transcript.over if status is None else None
    if status is None:
        status = over.outcome if over else "in_progress" if transcript.begun else "queued"
    failure = transcript.failure if over else None
    return {
        "id": pair_id("resp", context_id, transcript.request),
        "object": "response",
        "created_at": (transcript.created_at_ms or asked.at_ms) // 1_000,
        "completed_at": over.at_ms // 1_000 if over and status == "completed" else None,
        "status": status,
        "error": failure
        and {
            "code": _ERROR_CODES.get(failure.code, "server_error"),
            "message": failure.detail,
        },
        "incomplete_details": {"reason": transcript.cut_short}
        if status == "incomplete"
        else None,
        "output": [] if over is None else output_of(transcript),
        "tools": [
            {"type": "function", **tool.model_dump(mode="json")}
            for tool in transcript.config.client_tools
        ],
        "usage": usage_of(transcript.usage) if over else None,
        **asked.note,
    }


def output_of(transcript: Transcript) -> list[Item]:
    """The output items of a response, so far."""
    said = [text_item(reply.message_id, reply.text) for reply in transcript.texts]
    return said + [call_item(call) for call in transcript.calls]


def usage_of(usage: Usage | None) -> dict[str, object] | None:
    """Tokens, as responses count them."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


class ResponseEvents:
    """A turn as the events of a response."""

    def __init__(
        self, context_id: str, asked: Asked, transcript: Transcript, *, after: int
    ) -> None:
        """Begin behind the event with the number `after`; -1 begins at the first."""
        self._context_id = context_id
        self._asked = asked
        self._transcript = transcript
        self._after = after
        self._number = 0
        self._index = 0
        """Index of the output item that is being made."""
        self._item_id: str | None = None
        """Item id of the reply whose text is arriving."""

    def encode(self, happenings: Sequence[Happening]) -> bytes:
        """The events of these happenings that the client has not seen."""
        return b"".join(shown for one in happenings for shown in self._events(one))

    def _events(self, happening: Happening) -> Iterator[bytes]:
        match happening:
            case Begun():
                for kind in ("created", "in_progress"):
                    yield self._event(
                        f"response.{kind}", response=self._response("in_progress")
                    )
            case TextArrived(message_id=message_id, text=text):
                if self._item_id is None:
                    yield from self._begin_text(message_id)
                yield self._delta(text)
            case TextOver():
                yield from self._end_text(happening)
            case Called(call=call):
                yield from self._call(call)
            case Over(outcome=outcome):
                # The protocol has no event for a response that was cancelled.
                kind = "incomplete" if outcome == "cancelled" else outcome
                yield self._event(f"response.{kind}", response=self._response(None))

    def _response(self, status: str | None) -> dict[str, object]:
        return response_object(self._context_id, self._asked, self._transcript, status=status)

    def _begin_text(self, message_id: str) -> Iterator[bytes]:
        item = text_item(message_id, "", "in_progress") | {"content": []}
        self._item_id = str(item["id"])
        yield self._event("response.output_item.added", output_index=self._index, item=item)
        yield self._part("response.content_part.added", part=text_part(""))

    def _delta(self, text: str) -> bytes:
        """Some more text, without what the client has seen of it."""
        unseen = text[max(0, self._after - self._number + 1) :]
        self._number += len(text) - 1
        return self._part("response.output_text.delta", delta=unseen, logprobs=[])

    def _end_text(self, over: TextOver) -> Iterator[bytes]:
        yield self._part("response.output_text.done", text=over.text, logprobs=[])
        yield self._part("response.content_part.done", part=text_part(over.text))
        status = "completed" if over.kept else "incomplete"
        item = text_item(over.message_id, over.text, status)
        yield self._event("response.output_item.done", output_index=self._index, item=item)
        self._item_id = None
        self._index += 1

    def _call(self, call: ToolCall) -> Iterator[bytes]:
        item = call_item(call)
        self._item_id = str(item["id"])
        begun = item | {"arguments": "", "status": "in_progress"}
        where = {"output_index": self._index, "item_id": self._item_id}
        kind = "response.function_call_arguments"
        yield self._event("response.output_item.added", output_index=self._index, item=begun)
        yield self._event(f"{kind}.delta", **where, delta=call.arguments)
        yield self._event(f"{kind}.done", **where, arguments=call.arguments)
        yield self._event("response.output_item.done", output_index=self._index, item=item)
        self._item_id = None
        self._index += 1

    def _part(self, kind: str, **fields: object) -> bytes:
        where = {"item_id": self._item_id, "output_index": self._index, "content_index": 0}
        return self._event(kind, **where, **fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        number = self._number
        self._number += 1
        if number <= self._after:
            return b""
        return named(kind, {"type": kind, "sequence_number": number, **fields})


@contextlib.asynccontextmanager
async def streaming(
    gateway: Gateway, request: web.Request, *, repeatable: bool = True
) -> AsyncGenerator[EventStream, None]:
    """A stream for the length of a block, which ends in time and with its client.

    What fails before the first event is raised; later the stream just ends, and the client
    resumes. `repeatable`: whether the request may be sent again.
    """
    stream = EventStream(request)
    try:
        async with gateway.waiting(gateway.config.openai_wait_s_max):
            yield stream
    except TimeoutError:
        if not stream.begun:
            raise overdue(gateway, repeatable=repeatable) from None
    except (Problem, StorageError, ConnectionResetError):
        if not stream.begun:
            raise


async def write_events(
    stream: EventStream, context_id: str, asked: Asked, watch: TurnWatch, *, after: int
) -> None:
    """Write a response's events up to its last.

    A stream that ends without one is not a response that has ended: the client resumes.
    """
    events = ResponseEvents(context_id, asked, watch.transcript, after=after)
    async with contextlib.aclosing(watch.happenings()) as pages:
        async for happenings in pages:
            if shown := events.encode(happenings):
                await stream.write(shown)
            elif stream.begun:
                await stream.write(HEARTBEAT)
