"""Finding what a request may be about, before the model is asked.

A retriever takes an owner and a query and returns references of that owner only, the best
first.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from fsm import Reference
from storage import Notes

Retriever: TypeAlias = Callable[[str, str], Awaitable[tuple[Reference, ...]]]
"""Called with the owner and the query."""

_REFERENCES_MAX: Final = 5
_TEXT_CHARS_MAX: Final = 2_000
_TITLE_CHARS_MAX: Final = 60


def notes_retriever(notes: Notes) -> Retriever:
    """Return a retriever over the owner's notes."""

    async def retrieve(owner: str, query: str) -> tuple[Reference, ...]:
        texts = await notes.list(owner)
        # A thousand long notes take a few hundred milliseconds of CPU: not on the loop.
        keys = await asyncio.to_thread(ranked, texts, query)
        return tuple(
            Reference(
                source=f"note {key}",
                title=_title(texts[key]),
                text=texts[key][:_TEXT_CHARS_MAX],
            )
            for key in keys[:_REFERENCES_MAX]
        )

    return retrieve


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


def _title(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _TITLE_CHARS_MAX else f"{line[: _TITLE_CHARS_MAX - 3]}..."
