"""What the client's reducer is held to is what the gateway shows."""

import pytest

from tests.gateway.golden_views import WRITTEN, histories, written

HISTORIES = histories()


@pytest.mark.parametrize("name", HISTORIES)
def test_the_written_views_are_those_of_the_mirror(name: str) -> None:
    assert (WRITTEN / f"{name}.jsonl").read_text() == written(HISTORIES[name])


def test_nothing_else_is_written() -> None:
    assert {path.stem for path in WRITTEN.glob("*.jsonl")} == HISTORIES.keys()
