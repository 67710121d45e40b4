"""What the client's reducer is held to is what the gateway shows."""

from typing import TYPE_CHECKING

import orjson
import pytest

from gateway.views import ContextView
from tests.gateway.golden_views import WRITTEN, histories, views, written

if TYPE_CHECKING:
    from tests.support.service import Json

HISTORIES = histories()


@pytest.mark.parametrize("name", HISTORIES)
def test_the_written_views_are_those_of_the_mirror(name: str) -> None:
    assert (WRITTEN / f"{name}.jsonl").read_text() == written(HISTORIES[name])


@pytest.mark.parametrize("name", HISTORIES)
def test_every_view_is_one_that_the_description_knows(name: str) -> None:
    made = views(HISTORIES[name])
    view: Json = {}
    changes: list[Json] = [made["view"], *(step["changed"] for step in made["steps"])]
    for changed in changes:
        view |= changed
        ContextView.model_validate_json(orjson.dumps(view))


def test_nothing_else_is_written() -> None:
    assert {path.stem for path in WRITTEN.glob("*.jsonl")} == HISTORIES.keys()
