"""What tests do at the store: see that their request has arrived, and have it misbehave."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from storage import Store
from tests.support.store_server import StoreServer

if TYPE_CHECKING:
    from collections.abc import Callable


def asked_after(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set by the next question for the head of a context."""
    asked = asyncio.Event()
    plain_peek = Store.peek

    def peek(store: Store, context_id: str, owner: str) -> asyncio.Future[object]:
        asked.set()
        return plain_peek(store, context_id, owner)

    monkeypatch.setattr(Store, "peek", peek)
    return asked


def tell_store(server: StoreServer, *command: str) -> object:
    """Have the server do one command."""
    with server.client() as client:
        run = cast("Callable[..., object]", client.execute_command)  # pyright: ignore[reportUnknownMemberType] - redis types it in part
        return run(*command)
