"""Log lines as JSON on standard error, from structlog and from the standard library alike.

Message contents and secrets never reach a line: fields with such names are dropped, passwords
in addresses are blanked, and an error about a value is logged without the value. A line is
printable ASCII, so nothing in its fields can end it early or control the terminal that shows
it.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, cast

import structlog
from pydantic import ValidationError
from typing_extensions import override

_PRIVATE = re.compile(
    r"(^|_)(content|text|body|prompt|message|arguments|result|authorization|cookie|password"
    r"|secret|api_key|token|credentials)($|_)",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"message_id", "client_message_id", "content_type"})
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s]*@|(?<=[?&]password=)[^&\s]*", re.IGNORECASE)
_QUIET = ("aiohttp.access", "asyncio", "rq")
"""Libraries whose info lines repeat ours; only their warnings are logged."""
_FRAMES_MAX = 20

EventDict = MutableMapping[str, Any]
"""A line before it becomes JSON, as structlog types it."""
_Triple = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logs(level: str) -> None:
    """Write lines of `level` and above as JSON to standard error. Repeating replaces."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.add_log_level,
        _withhold,
        _describe_error,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _BytesLines(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = _Lines(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                *shared,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json_text),
            ],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Lines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class _BytesLines(structlog.BytesLogger):
    """Writes the rooms' lines. Where that fails, the work goes on without them."""

    @override
    def msg(self, message: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _Lines(logging.StreamHandler[Any]):
    """Our one handler: known by its class, so that configuring again replaces it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """A closed terminal must not end the process."""


def _json(line: EventDict, **_: object) -> bytes:
    return _json_text(line).encode()


def _json_text(line: EventDict, **_: object) -> str:
    # Not orjson: it writes what is beyond ASCII as it is, and half a surrogate pair not at all.
    return json.dumps(line, default=str, separators=(",", ":"))


def _without_passwords(text: str) -> str:
    return _PASSWORD_IN_URL.sub(lambda found: "***@" if found[0][-1:] == "@" else "***", text)


def _withhold(_logger: object, _method: str, line: EventDict) -> EventDict:
    for name, value in line.items():
        if value is None or isinstance(value, int | float):
            continue  # counts and the fencing token give nothing away
        if isinstance(value, str) and "://" in value:
            line[name] = _without_passwords(value)
        if name not in _HARMLESS and _PRIVATE.search(name):
            line[name] = "(withheld)"
    return line


def _describe_error(_logger: object, _method: str, line: EventDict) -> EventDict:
    given: Any = line.pop("exc_info", None)
    if not given:
        return line
    # Given as the error itself, as a triple (standard library), or as plain True.
    if isinstance(given, BaseException):
        error: BaseException | None = given
    else:
        error = cast("_Triple", given)[1] if isinstance(given, tuple) else sys.exc_info()[1]
    if error is not None:
        line["error"] = _chain(error)
    return line


def _chain(error: BaseException, depth: int = 0) -> dict[str, object]:
    """Type, message and frames of an error, of its cause and of the members of a group."""
    if isinstance(error, ValidationError):
        said = "; ".join(f"{d['loc']}: {d['type']}" for d in error.errors(include_input=False))
    else:
        said = _without_passwords(str(error))
    described: dict[str, object] = {
        "type": type(error).__qualname__,
        "detail": said,
        "frames": _frames(error.__traceback__),
    }
    if depth < 5:
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            described["members"] = [_chain(member, depth + 1) for member in group.exceptions]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            described["cause"] = _chain(cause, depth + 1)
    return described


def _frames(trace: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-_FRAMES_MAX:]
