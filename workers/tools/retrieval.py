"""Finding what a request may be about, before the model is asked.

A retriever is asked for a context and returns references of its owner only, the best first.
Those over the owner's other contexts are in `workers/tools/recall.py`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from fsm import ContextState, Reference, branch_messages
from storage import Notes

_REFERENCES_MAX: Final = 5
_TEXT_CHARS_MAX: Final = 2_000
_TITLE_CHARS_MAX: Final = 60


class Retriever(Protocol):
    """Something that finds references; which ones a context asks is configured by name."""

    async def __call__(self, asking: ContextState, query: str, /) -> Sequence[Reference]:
        """References for a query of a context whose turn has just begun.

        Raises:
            StorageError: The store does not answer; the model is asked without them.
            SearchFailed: The same.
        """
        ...


def notes_retriever(notes: Notes) -> Retriever:
    """Return a retriever over the owner's notes."""

    async def retrieve(asking: ContextState, query: str) -> tuple[Reference, ...]:
        texts = await notes.list(asking.owner)
        # A thousand long notes take a few hundred milliseconds of CPU: not on the loop.
        keys = await asyncio.to_thread(ranked, texts, query)
        return tuple(
            Reference(
                source=f"note {key}",
                title=note_title(texts[key]),
                text=texts[key][:_TEXT_CHARS_MAX],
            )
            for key in keys[:_REFERENCES_MAX]
        )

    return retrieve


async def given(asking: ContextState, _query: str) -> Sequence[Reference]:
    """What came with the messages of the turn: the text `context` of their metadata."""
    found: list[Reference] = []
    for message in reversed(branch_messages(asking)):
        text = message.metadata.get("context")
        if message.role == "user" and isinstance(text, str):
            found.append(
                Reference(
                    source="given with the question",
                    title=note_title(text),
                    text=text,
                    context_id=asking.id,
                    message_id=message.id,
                )
            )
        if asking.turn is None or message.id == asking.turn.id:
            break
    return found[::-1]


def ranked(texts: Mapping[str, str], query: str) -> tuple[str, ...]:
    """Return the keys of the texts that share words with the query, the best first.

    A shared word counts the more the fewer texts it is in, so "the" decides nothing. Equal
    texts keep the order of the mapping.
    """
    wanted = _words(query)
    if not wanted:
        return ()
    shared = {key: wanted & _words(text) for key, text in texts.items()}
    occurrences = Counter(word for words in shared.values() for word in words)
    scores = {
        key: sum(1 / occurrences[word] for word in words)
        for key, words in shared.items()
        if words
    }
    return tuple(sorted(scores, key=lambda key: -scores[key]))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def note_title(text: str) -> str:
    """How a text without a title is called: by its first line."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _TITLE_CHARS_MAX else f"{line[: _TITLE_CHARS_MAX - 3]}..."
