"""What is taken out of contents before others than their owner see them.

Named patterns alone, none of an operator's own: Python's `re` has no bound on its time, and
whoever writes a message chooses what it is matched against. Here every repetition is bounded
and no two of them can divide the same text in several ways.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

_BEGINS, _ENDS = r"(?<![\w-])", r"(?![\w-])"
"""No part of a longer word or id."""
PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "key": re.compile(
        r"(?<!\w)(?:[spr]k[-_]|gh[a-z]_|github_pat_|xox[a-z]-|A[KS]IA|AIza|ctxd_|whsec_|eyJ)"
        r"[\w.=+/-]{12,4096}"
    ),
    "email": re.compile(r"[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),
    "card": re.compile(rf"{_BEGINS}\d(?:[ -]?\d){{12,98}}{_ENDS}"),
    "phone": re.compile(
        rf"{_BEGINS}(?:\+|0|\(0?)\d(?:[ ()./-]{{0,2}}\d){{5,14}}{_ENDS}"
        rf"|{_BEGINS}\(?\d{{3}}\)?[ .-]\d{{3}}[ .-]\d{{4}}{_ENDS}"
    ),
}
"""Patterns by name, in the order in which they are looked for."""
_GROUP: Final = re.compile(r"\d+")
_CARD_DIGITS: Final = range(13, 20)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""For each digit: the sum of the digits of twice as much."""


def make_redactor(names: str) -> Callable[[JsonValue], JsonValue]:
    """What takes the named kinds out of every text of a value; names separated by commas."""
    wanted = {name.strip() for name in names.split(",")}
    chosen = [(name, pattern) for name, pattern in PATTERNS.items() if name in wanted]

    def redact(value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            for name, pattern in chosen:
                value = pattern.sub(_mask(name), value)
            return value
        if isinstance(value, list):
            return [redact(each) for each in value]
        if isinstance(value, dict):
            return {key: redact(each) for key, each in value.items()}
        return value

    return redact if chosen else _as_it_is


def _as_it_is(value: JsonValue) -> JsonValue:
    return value


def _mask(name: str) -> Callable[[re.Match[str]], str]:
    def mask(found: re.Match[str]) -> str:
        return _without_cards(found[0]) if name == "card" else f"[{name}]"

    return mask


def _without_cards(run: str) -> str:
    """Digits in groups, the numbers of cards among them blanked out.

    Other numbers may stand right beside a card's: the month that it ends with, its check value.
    """
    groups = [*_GROUP.finditer(run)]
    if _is_card("".join(group[0] for group in groups)):
        return "[card]"
    shown, told = "", 0
    for first, begins in enumerate(groups):
        digits, end = "", 0
        for group in groups[first:]:
            digits += group[0]
            if _is_card(digits):
                end = group.end()
            if len(group[0]) < 4 or len(digits) >= _CARD_DIGITS.stop:
                break  # only the last group of a card's number is as short
        if end and begins.start() >= told:
            shown += f"{run[told : begins.start()]}[card]"
        told = max(told, end)
    return shown + run[told:]


def _is_card(number: str) -> bool:
    """Whether digits end in the check digit of a card's number (ISO/IEC 7812-1, Luhn)."""
    if len(number) not in _CARD_DIGITS:
        return False
    digits = [*map(int, reversed(number))]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0
