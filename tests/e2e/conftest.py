"""One service that tests share which kill nothing; the others start their own."""

from collections.abc import Iterator

import pytest

from tests.support.service_processes import Service


@pytest.fixture(scope="session")
def shared_service() -> Iterator[Service]:
    """`contextd up` with two workers; a second gateway has joined it."""
    with Service(workers=2, scripted_chunk_ms=1, applied_s_max=20) as service:
        service.second_url = f"http://127.0.0.1:{service.join_gateway()}"
        yield service
