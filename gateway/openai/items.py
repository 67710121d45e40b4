"""Lists of items, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.openai.messages import Item
from gateway.parameters import Parameter, read_whole
from gateway.problems import Problem

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100

LIMIT: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    "Items a page.",
)
ORDER: Final = Parameter(
    "order", {"enum": ["asc", "desc"], "type": "string", "default": "desc"}, "By age."
)
AFTER: Final = Parameter("after", {"type": "string"}, "Begin behind the item with this id.")
INCLUDE: Final = Parameter(
    "include[]",
    {"type": "array", "items": {"type": "string"}},
    "What OpenAI shows of its own tools and models; it changes nothing here.",
    is_list=True,
)


@dataclass(frozen=True, slots=True)
class ItemsQuery:
    """Which items a client wants."""

    limit: int
    newest_first: bool
    after: str | None


def read_items_query(request: web.Request) -> ItemsQuery:
    """What the query asks for.

    Raises:
        Problem: invalid-parameter.
    """
    limit = read_whole(request, LIMIT.name)
    if limit is None:
        limit = LIMIT_DEFAULT
    if not 1 <= limit <= LIMIT_MAX:
        raise Problem("invalid-parameter", f"limit takes 1 to {LIMIT_MAX}.", {"param": "limit"})
    order = request.query.get(ORDER.name, "desc")
    if order not in {"asc", "desc"}:
        raise Problem("invalid-parameter", "order takes asc or desc.", {"param": "order"})
    return ItemsQuery(limit, order == "desc", request.query.get(AFTER.name))


def page_of(items: Sequence[Item], query: ItemsQuery) -> dict[str, object]:
    """One page of items, given oldest first.

    Raises:
        Problem: invalid-parameter, if there is no item to begin behind.
    """
    ordered = list(reversed(items)) if query.newest_first else list(items)
    first = 0
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            detail = f"after: there is no item {query.after[:80]!r}."
            raise Problem("invalid-parameter", detail, {"param": "after"})
        first = ids.index(query.after) + 1
    shown = ordered[first : first + query.limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": first + query.limit < len(ordered),
    }
