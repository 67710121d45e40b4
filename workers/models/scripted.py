"""The model that answers where no model server is configured.

It is a pure function of the request, so the same request gives the same reply, word for
word. It calls itself scripted in every reply's metadata: nobody should take it for more.

Lines of the last user message that it obeys:

    /tool NAME ARGUMENTS    ask for this tool call (several lines: several calls)
    /rounds N               ask for them N times over, once after each round of results
    /chunks N MS            reply with N chunks, one each MS milliseconds
    /fail CODE N            fail with this model error, on the first N attempts (default all)
    /hang                   say one word and then nothing until the time is over
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from fsm import Usage
from workers.models.config import ModelConfig
from workers.models.protocol import (
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelToolCall,
    ReplyFinished,
    ReplyItem,
    TextDelta,
    WireObject,
)

_NOTE: Final = "No model server is configured; this reply was made by a script, not by a model."

_HELP: Final = (
    "I am the scripted model: set CONTEXTD_MODEL_BASE_URL to let a real one answer. Until then "
    "try `/tool clock {}`, `/chunks 50 100` or `/fail overloaded 1`."
)

_NEVER_RETRIED: Final[frozenset[ModelErrorCode]] = frozenset(
    {"bad_request", "unauthorized", "not_found", "content_too_long"}
)

_QUOTED_CHARS_MAX: Final = 400
"""How much of a message or a tool's result is said back."""

_CHUNKS_MAX: Final = 100_000
_TITLE_WORDS: Final = 6
_SUMMARY_CHARS: Final = 80
"""Of each message that is summarised."""


@dataclass(frozen=True, slots=True)
class _Script:
    """What one request asks of this model."""

    said: str
    tools: tuple[tuple[str, str], ...]
    rounds: int
    chunks: tuple[int, int] | None
    fail: ModelErrorCode | None
    fail_attempts: int | None
    hang: bool


class ScriptedModel:
    """Answers in this process, word by word."""

    def __init__(self, config: ModelConfig) -> None:
        self._chunk_ms = config.scripted_chunk_ms

    @property
    def label(self) -> str:
        """A sentence for failures."""
        return "(No model server is configured; the scripted model answers.)"

    async def close(self) -> None:
        """Do nothing; there is nothing to give back."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        """Reply. Cancelling or closing the stream leaves nothing behind.

        Raises:
            ModelError: The message asked for it, or the time is over.
        """
        if request.purpose != "reply":
            yield _short(request)
            return
        since_user = _since_last_user_message(request.messages)
        script = _script(_text(since_user[0]) if since_user else "")
        asked = sum(1 for message in since_user if message.get("tool_calls"))
        calls = _calls(script, request, asked)
        pieces = _pieces(script, request, since_user, calls)
        pause_ms = self._chunk_ms if script.chunks is None else script.chunks[1]
        fails = script.fail is not None and (
            script.fail_attempts is None or request.attempt <= script.fail_attempts
        )
        if fails:
            # A reply that is cut shows something of itself before.
            pieces = pieces[: len(pieces) // 2] if script.fail == "stream_cut" else ()
        clock = asyncio.get_running_loop().time
        started_s = clock()
        for number, piece in enumerate(pieces):
            await _sleep_until(started_s + number * pause_ms / 1000, started_s, request)
            yield TextDelta(piece)
            if script.hang:
                await _sleep_until(float("inf"), started_s, request)
        if fails and script.fail is not None:
            raise ModelError(
                script.fail,
                "The message asked for this failure.",
                script.fail not in _NEVER_RETRIED,
            )
        text = "".join(pieces)
        prompt_tokens, completion_tokens = len(script.said.split()), len(text.split())
        yield ReplyFinished(
            text=text,
            tool_calls=calls,
            finish_reason="tool_calls" if calls else "stop",
            usage=Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                total_tokens=prompt_tokens + completion_tokens,
            ),
            model="scripted",
            metadata={"scripted": True, "note": _NOTE},
        )


def _short(request: ModelRequest) -> ReplyFinished:
    """A title is how the conversation begins, a summary the beginnings of all that was said."""
    told = _text(request.messages[-1]).split("\n\n")
    if request.purpose == "title":
        text = " ".join(told[0].removeprefix("user: ").split()[:_TITLE_WORDS])
    else:
        text = "\n".join(_quoted(said)[:_SUMMARY_CHARS] for said in told)
    return ReplyFinished(
        text=text,
        tool_calls=(),
        finish_reason="stop",
        usage=None,
        model="scripted",
        metadata={"scripted": True, "note": _NOTE},
    )


async def _sleep_until(due_s: float, started_s: float, request: ModelRequest) -> None:
    """Sleep to a moment of the loop's clock, so that pauses do not add up their lateness."""
    now_s = asyncio.get_running_loop().time()
    ends_s = started_s + request.timeout_s
    if due_s > now_s:
        await asyncio.sleep(max(min(due_s, ends_s) - now_s, 0))
    if due_s > ends_s:
        raise ModelError("timeout", "The time for this reply is over.", False)


def _since_last_user_message(messages: tuple[WireObject, ...]) -> tuple[WireObject, ...]:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return messages[index:]
    return ()


def _text(message: WireObject) -> str:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _script(said: str) -> _Script:
    tools = re.findall(r"(?m)^\s*/tool +(\S+)[ \t]*(.*?)\s*$", said)
    rounds = re.search(r"(?m)^\s*/rounds +(\d{1,4})", said)
    chunks = re.search(r"(?m)^\s*/chunks +(\d{1,9})(?: +(\d{1,7}))?", said)
    fail = re.search(
        rf"(?m)^\s*/fail +({'|'.join(get_args(ModelErrorCode))})(?: +(\d{{1,4}}))?", said
    )
    return _Script(
        said=said,
        tools=tuple((name, arguments or "{}") for name, arguments in tools),
        rounds=int(rounds[1]) if rounds else 1,
        chunks=(min(int(chunks[1]), _CHUNKS_MAX), int(chunks[2] or 0)) if chunks else None,
        fail=_error_code(fail[1]) if fail else None,
        fail_attempts=int(fail[2]) if fail and fail[2] else None,
        hang=re.search(r"(?m)^\s*/hang\b", said) is not None,
    )


def _error_code(text: str) -> ModelErrorCode:
    codes: tuple[ModelErrorCode, ...] = get_args(ModelErrorCode)
    return codes[codes.index(text)] if text in codes else "bad_response"


def _calls(script: _Script, request: ModelRequest, asked: int) -> tuple[ModelToolCall, ...]:
    if not request.tools or asked >= script.rounds:
        return ()
    key = re.sub(r"[^A-Za-z0-9]+", "_", request.idempotency_key)
    return tuple(
        ModelToolCall(id=f"call_{key}_{number}", name=name, arguments=arguments)
        for number, (name, arguments) in enumerate(script.tools)
    )


def _pieces(
    script: _Script,
    request: ModelRequest,
    since_user: tuple[WireObject, ...],
    calls: tuple[ModelToolCall, ...],
) -> tuple[str, ...]:
    """Return the reply's text, in the pieces in which it is to arrive."""
    if calls:
        return ()
    if script.chunks is not None:
        return tuple(f"chunk {number} " for number in range(1, script.chunks[0] + 1))
    return tuple(re.findall(r"\S+\s*", _reply(script, request, since_user)))


def _reply(script: _Script, request: ModelRequest, since_user: tuple[WireObject, ...]) -> str:
    results = [_text(message) for message in since_user if message.get("role") == "tool"]
    if results:
        told = "\n".join(f"- {_quoted(result)}" for result in results)
        return f"The tools answered:\n{told}"
    if script.tools and not request.tools:
        return "I was offered no tools for this reply, so I asked for none."
    words = len(script.said.split())
    if not words:
        return _HELP
    counted = "1 word" if words == 1 else f"{words} words"
    return f'You said, in {counted}: "{_quoted(script.said)}". {_HELP}'


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS_MAX else f"{line[:_QUOTED_CHARS_MAX]}..."
