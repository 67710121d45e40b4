"""`/v1/chat/completions`: one reply to a chat.

Bound to a context, what is new in `messages` is said there and everything persists. Else
`messages` is the whole conversation: it runs in a context of its own, which is deleted
with the answer.
"""

import contextlib
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from aiohttp import web

from fsm import ToolCall, Usage
from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.delivery import digest_of, forget
from gateway.headers import read_key
from gateway.openai.asking import (
    Ask,
    begin,
    check_model,
    check_serving,
    going_on,
    overdue,
    watching,
)
from gateway.openai.bodies import PASSED_ON, ChatRequest, read_request
from gateway.openai.errors import ONCE, error_object
from gateway.openai.ids import new_request, pair_id
from gateway.openai.messages import marked, read_chat, read_news, read_tools
from gateway.openai.sse import EventStream, data_only
from gateway.openai.transcript import (
    Begun,
    Called,
    Happening,
    Over,
    TextArrived,
    TextOver,
    Transcript,
)
from gateway.openai.watch import TurnWatch
from gateway.parameters import ID_PATTERN
from gateway.problems import Problem, problem_of, unanswered
from gateway.stream import HEARTBEAT
from storage import StorageError

if TYPE_CHECKING:
    from pydantic import JsonValue

CONTEXT_HEADER: Final = "Contextd-Context-Id"
_METADATA_KEY: Final = "context_id"


async def complete_chat(request: web.Request) -> web.StreamResponse:
    """Answer a chat, whole or as a stream of chunks."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    body, raw = await read_request(request, ChatRequest)
    check_serving(gateway)
    check_model(gateway, body.model)
    context_id = _bound_to(request, body)
    ask = _ask(body, context_id, key=read_key(request), digest=digest_of("chat", raw))
    if body.stream:
        return await _stream(request, gateway, owner, context_id, ask, body)
    try:
        async with (
            gateway.waiting(gateway.config.openai_wait_s_max),
            _turn(gateway, owner, context_id, ask) as (chat_id, watch),
            contextlib.aclosing(watch.happenings()) as happenings,
        ):
            async for _ in happenings:
                pass
    except TimeoutError:
        raise overdue(gateway, repeatable=ask.repeatable) from None
    transcript = watch.transcript
    if transcript.failure is not None:
        raise failed(transcript, repeatable=ask.repeatable)
    completion = {
        "id": chat_id,
        "object": "chat.completion",
        "created": transcript.created_at_ms // 1_000,
        "model": body.model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": transcript.text or (None if transcript.calls else ""),
                    "refusal": None,
                    **_calls(transcript),
                },
                "logprobs": None,
                "finish_reason": _finish_reason(transcript),
            }
        ],
        "usage": _usage(transcript.usage),
    }
    return json_response(completion)


def _bound_to(request: web.Request, body: ChatRequest) -> str | None:
    """The context that a request is bound to, by header or metadata.

    Raises:
        Problem: not-found, if that is no id.
    """
    named = request.headers.get(CONTEXT_HEADER) or (body.metadata or {}).get(_METADATA_KEY)
    if named is not None and re.fullmatch(ID_PATTERN, named) is None:
        raise Problem("not-found", "Context not found")
    return named


def _ask(body: ChatRequest, context_id: str | None, *, key: str, digest: str) -> Ask:
    if context_id is None:
        prompt, messages = read_chat(body.messages)
        if not messages:
            detail = "messages: say something besides the system prompt."
            raise Problem("invalid-body", detail, {"param": "messages"})
        key = ""  # nothing stays that a repeat could find
    else:
        prompt, messages = None, read_news(body.messages)
    metadata: dict[str, JsonValue] = dict(body.metadata or {})
    request = new_request(key)
    return Ask(
        request=request,
        messages=marked(messages, request, {"door": "chat.completions", "metadata": metadata}),
        model=body.model,
        tools=read_tools(body.tools),
        parameters=body.model_dump(mode="json", include=set(PASSED_ON), exclude_none=True),
        system_prompt=prompt,
        key=key,
        digest=digest,
        labels={"door": "chat.completions"},
        kept=context_id is not None,
    )


@contextlib.asynccontextmanager
async def _turn(
    gateway: Gateway, owner: str, context_id: str | None, ask: Ask
) -> AsyncGenerator[tuple[str, TurnWatch], None]:
    """The turn that answers, and the completion's id; without a context, in one for it."""
    if context_id is not None:
        async with going_on(gateway, owner, context_id, ask, None) as watch:
            yield pair_id("chatcmpl", context_id, ask.request), watch
        return
    made = await begin(gateway, owner, ask)
    try:
        async with watching(gateway, owner, made, ask.request) as watch:
            yield pair_id("chatcmpl", made, ask.request), watch
    finally:
        await forget(gateway, owner, made)


async def _stream(
    request: web.Request,
    gateway: Gateway,
    owner: str,
    context_id: str | None,
    ask: Ask,
    body: ChatRequest,
) -> web.StreamResponse:
    stream = EventStream(request)
    with_usage = body.stream_options is not None and body.stream_options.include_usage is True
    try:
        async with (
            gateway.waiting(gateway.config.openai_wait_s_max),
            _turn(gateway, owner, context_id, ask) as (chat_id, watch),
            contextlib.aclosing(watch.happenings()) as pages,
        ):
            chunks = Chunks(
                chat_id,
                body.model,
                watch.transcript,
                with_usage=with_usage,
                repeatable=ask.repeatable,
            )
            async for happenings in pages:
                if shown := chunks.encode(happenings):
                    await stream.write(shown)
                elif stream.begun:
                    await stream.write(HEARTBEAT)
    except TimeoutError:
        if not stream.begun:
            raise overdue(gateway, repeatable=ask.repeatable) from None
        await stream.write(
            data_only({"error": error_object(overdue(gateway, repeatable=ask.repeatable))})
        )
    except (Problem, StorageError) as error:
        problem = problem_of(error)
        if not stream.begun or problem is None:
            raise
        await stream.write(data_only({"error": error_object(problem)}))
    except ConnectionResetError:
        if not stream.begun:
            raise
    return await stream.end()


class Chunks:
    """A turn as the chunks of one completion.

    The protocol cannot take text back. So after an attempt is dropped, the next one has to
    begin with what was shown of it, which is not sent twice; if it does not, the stream ends
    with an error.
    """

    def __init__(
        self,
        chat_id: str,
        model: str,
        transcript: Transcript,
        *,
        with_usage: bool,
        repeatable: bool,
    ) -> None:
        self._id = chat_id
        self._model = model
        self._transcript = transcript
        self._with_usage = with_usage
        self._repeatable = repeatable
        self._begun = False
        self._called = 0
        self._said = 0
        """Characters that were taken of the reply that is arriving."""
        self._unrepeated = ""
        """What was shown of dropped attempts and has not come again."""

    def encode(self, happenings: list[Happening]) -> bytes:
        """The chunks for what has happened.

        Raises:
            Problem: The model has not answered, and nothing of it was shown; or what was
                shown is no part of what it says.
        """
        shown = b""
        dropped = {
            one.message_id for one in happenings if isinstance(one, TextOver) and not one.kept
        }
        for happening in happenings:
            match happening:
                case TextArrived(message_id=message_id, text=text):
                    if message_id not in dropped:
                        shown += self._say(text)
                case TextOver(text=text, kept=kept):
                    if not kept:
                        self._unrepeated = text[: self._said] + self._unrepeated
                    self._said = 0
                case Called(call=call):
                    delta = {"index": self._called, **wire_call(call)}
                    self._called += 1
                    shown += self._begin() + self._chunk({"tool_calls": [delta]})
                case Over():
                    shown += self._end()
                case Begun():
                    pass
        return shown

    def _say(self, text: str) -> bytes:
        self._said += len(text)
        repeated = text[: len(self._unrepeated)]
        if not self._unrepeated.startswith(repeated):
            raise _taken_back()
        self._unrepeated = self._unrepeated[len(repeated) :]
        unseen = text[len(repeated) :]
        return self._begin() + self._chunk({"content": unseen}) if unseen else b""

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _end(self) -> bytes:
        if self._transcript.failure is not None:
            problem = failed(self._transcript, repeatable=self._repeatable)
            if not self._begun:
                raise problem
            return data_only({"error": error_object(problem)})
        if self._unrepeated:
            raise _taken_back()
        shown = self._begin() + self._chunk({}, _finish_reason(self._transcript))
        if self._with_usage:
            usage = _usage(self._transcript.usage)
            shown += data_only({**self._head(), "choices": [], "usage": usage})
        return shown + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, object], finish_reason: str | None = None) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        usage = {"usage": None} if self._with_usage else {}
        return data_only({**self._head(), "choices": [choice], **usage})

    def _head(self) -> dict[str, object]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._transcript.created_at_ms // 1_000,
            "model": self._model,
        }


def failed(transcript: Transcript, *, repeatable: bool) -> Problem:
    """The problem for a turn without a reply; the worker has made all useful retries."""
    failure = transcript.failure
    assert failure is not None, "asked of a turn that has failed"
    return unanswered(failure, None if repeatable else ONCE)


def _taken_back() -> Problem:
    detail = (
        "The reply broke off, and what was shown of it is no part of what it says now. Drop "
        "that text; a context that the chat is bound to has the reply."
    )
    return Problem("model-unavailable", detail, {"code": "stream_cut"})


def wire_call(call: ToolCall) -> dict[str, object]:
    """A tool call as chat completions have it."""
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _calls(transcript: Transcript) -> dict[str, object]:
    if not transcript.calls:
        return {}
    return {"tool_calls": [wire_call(call) for call in transcript.calls]}


def _finish_reason(transcript: Transcript) -> str:
    return "tool_calls" if transcript.calls else transcript.finish_reason


def _usage(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else usage.model_dump()
