"""A full-text index in memory: what one owner has said and noted.

It is a cache of the store and may be dropped at any time. Each owner has an index of its
own, so that nothing in it, not even how rare a word is, comes from somebody else.

    SearchFailed    this Python's SQLite cannot index, or has no memory left
"""

import contextlib
import re
import sqlite3
import weakref
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Final

WORDS_MAX: Final = 64
"""Words of a query that are looked for, the first ones."""
SNIPPET_WORDS: Final = 64
"""How much of a long text a match shows; the most that SQLite gives."""

_SCHEMA: Final = """
CREATE TABLE place (
    id INTEGER PRIMARY KEY, home TEXT NOT NULL, item TEXT NOT NULL, role TEXT NOT NULL
);
CREATE INDEX by_home ON place (home);
CREATE VIRTUAL TABLE said USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2');
"""
_FORGET_TEXT: Final = """
DELETE FROM said WHERE rowid IN
    (SELECT id FROM place WHERE home = :home AND (:item IS NULL OR item = :item))
"""
_FORGET_PLACE: Final = """
DELETE FROM place WHERE home = :home AND (:item IS NULL OR item = :item)
"""
_BEST: Final = """
SELECT place.home, place.item, place.role, -best.score, said.text, best.id
FROM (
    SELECT rowid AS id, rank AS score FROM said
    WHERE said MATCH :query AND rowid NOT IN (SELECT id FROM place WHERE home = :without)
    ORDER BY rank, rowid DESC LIMIT :most
) AS best
JOIN place ON place.id = best.id
JOIN said ON said.rowid = best.id
ORDER BY best.score, best.id DESC
"""
_PART: Final = """
SELECT snippet(said, 0, '', '', ' ... ', :words) FROM said
WHERE said MATCH :query AND rowid = :id
"""


class SearchFailed(Exception):
    """The index cannot be made or asked."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that can be found."""

    item: str
    """Id of the message, or key of the note."""
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """A passage that was found."""

    home: str
    """What it was added under: the id of a context, or "" for notes."""
    item: str
    role: str
    score: float
    """BM25: the higher the better."""
    text: str
    """All of it, or the part that fits best."""


class TextIndex:
    """Passages by their words. Calls may come from any thread, one at a time."""

    def __init__(self) -> None:
        with _failing():
            database = sqlite3.connect(":memory:", check_same_thread=False)
            # Whoever is the last to hold it may be a thread that was left behind.
            weakref.finalize(self, database.close)
            database.execute("PRAGMA temp_store = MEMORY")  # large sorts would go to disk
            database.executescript(_SCHEMA)
        self._database = database
        self._rows = 0
        """Ever added; row numbers are not used again."""

    def add(self, home: str, passages: Iterable[Passage]) -> None:
        """Take passages in.

        Raises:
            SearchFailed: Some may be missing; drop the index.
        """
        rows = list(enumerate(passages, start=self._rows + 1))
        self._rows += len(rows)
        with _failing():
            self._database.executemany(
                "INSERT INTO place (id, home, item, role) VALUES (?, ?, ?, ?)",
                [(row, home, passage.item, passage.role) for row, passage in rows],
            )
            self._database.executemany(
                "INSERT INTO said (rowid, text) VALUES (?, ?)",
                [(row, passage.text) for row, passage in rows],
            )
            self._database.commit()

    def forget(self, home: str, *, item: str | None = None) -> None:
        """Drop what was added under `home`, or one passage of it.

        Raises:
            SearchFailed: Some may still be there; drop the index.
        """
        named = {"home": home, "item": item}
        with _failing():
            self._database.execute(_FORGET_TEXT, named)
            self._database.execute(_FORGET_PLACE, named)
            self._database.commit()

    def search(
        self, query: str, *, without: str, matches_max: int, text_chars_max: int
    ) -> list[Match]:
        """Passages that share words with the query, the best first; of equals the newest.

        Args:
            query: Any text; its first WORDS_MAX different words count.
            without: What was added under this is passed over.
            matches_max: How many at most; the same item under several homes counts once.
            text_chars_max: Longer texts are cut to the part that fits best.

        Raises:
            SearchFailed: The index is broken.
        """
        words = tuple(dict.fromkeys(re.findall(r"\w+", query.casefold())))[:WORDS_MAX]
        if not words:
            return []
        formula = " OR ".join(f'"{word}"' for word in words)
        # Forks share messages; so many of them at most stand before another match.
        asked = {"query": formula, "without": without, "most": matches_max * 4}
        found: dict[str, Match] = {}
        with _failing():
            for home, item, role, score, text, row in self._database.execute(_BEST, asked):
                if item in found or len(found) == matches_max:
                    continue
                shown = text if len(text) <= text_chars_max else self._part(formula, row)
                # Words may be long: text in base64 is a single one.
                found[item] = Match(home, item, role, score, shown[:text_chars_max])
        return list(found.values())

    def _part(self, formula: str, row: int) -> str:
        """The part of a text that fits best."""
        asked = {"query": formula, "id": row, "words": SNIPPET_WORDS}
        part: tuple[str] = self._database.execute(_PART, asked).fetchone()
        return part[0]


@contextlib.contextmanager
def _failing() -> Generator[None, None, None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SearchFailed(str(error)) from error
