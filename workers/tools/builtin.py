"""The tools that come with contextd: clock, calculator, notes, questions. None does harm."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from storage import Notes
from workers.tools.calculator import EXPRESSION_CHARS_MAX, evaluate, written
from workers.tools.declaration import Tool, ToolCallContext, ToolError, tool
from workers.tools.retrieval import ranked

_NOTE_CHARS_MAX: Final = 4_000
_LISTED_MAX: Final = 50


def clock_tool(now_s: Callable[[], float]) -> Tool:
    """Return the clock tool over a clock (Unix seconds)."""

    # Not async: a zone's rules are read from a file.
    @tool(effect="none", timeout_s=5)
    def clock(
        zone: Annotated[
            str, Field(description="IANA time zone, such as Europe/Berlin.", max_length=64)
        ] = "UTC",
    ) -> dict[str, str]:
        """Tell the present date and time in a time zone."""
        try:
            zone_info = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ToolError("bad_arguments", f"There is no time zone {zone!r}.") from None
        moment = datetime.fromtimestamp(now_s(), UTC).astimezone(zone_info)
        return {
            "zone": zone,
            "time": moment.isoformat(timespec="seconds"),
            "weekday": moment.strftime("%A"),
        }

    return clock


clock: Final = clock_tool(time.time)  # noqa: TID251 - telling the real time is what it does


# Async although it waits for nothing: it takes microseconds, a thread takes more.
@tool(effect="none", timeout_s=5)
async def calculator(
    expression: Annotated[
        str,
        Field(
            description="Arithmetic such as (2 + 3) * 4 ** 2 / sqrt(7); + - * / // % **, "
            "parentheses, pi, e, abs, ceil, cos, degrees, exp, factorial, floor, log, log2, "
            "log10, max, min, radians, round, sin, sqrt, tan.",
            min_length=1,
            max_length=EXPRESSION_CHARS_MAX,
        ),
    ],
) -> str:
    """Calculate the value of an arithmetic expression."""
    return written(evaluate(expression))


@tool(effect="none", question=True)
def ask_person(
    question: Annotated[
        str, Field(description="What you need to know.", min_length=1, max_length=2_000)
    ],
    options: Annotated[
        tuple[str, ...],
        Field(description="Answers to choose from, if there are such.", max_length=20),
    ] = (),
) -> str:
    """Ask the person who you are talking to, and wait for the answer."""
    raise AssertionError(f"{question} {options}: a question is not run")


def notes_tool(notes: Notes) -> Tool:
    """Return the notes tool over a store of notes."""

    @tool(effect="idempotent", timeout_s=10, name="notes")
    async def keep_notes(
        action: Annotated[
            Literal["add", "list", "search"],
            Field(description="add keeps `text`; search finds notes by the words of `text`."),
        ],
        context: ToolCallContext,
        text: Annotated[
            str, Field(description="The note, or the words.", max_length=_NOTE_CHARS_MAX)
        ] = "",
    ) -> str | dict[str, object]:
        """Keep notes for the user over all conversations, list them, or search them."""
        if action != "list" and not text.strip():
            raise ToolError("bad_arguments", f"`text` is needed to {action}.")
        if action == "add":
            await notes.add(context.owner, context.idempotency_key, text)
            return "Noted."
        texts = await notes.list(context.owner)
        keys = tuple(texts) if action == "list" else ranked(texts, text)
        # The newest of a list, the best of a search.
        shown = keys[-_LISTED_MAX:] if action == "list" else keys[:_LISTED_MAX]
        return {"found": len(keys), "notes": [texts[key] for key in shown]}

    return keep_notes


def builtin_tools(notes: Notes) -> tuple[Tool, ...]:
    """Return all built-in tools; notes are kept in `notes`."""
    return (clock, calculator, ask_person, notes_tool(notes))
