"""How a test knows that its request has arrived: the gateway asks the store for it."""

import asyncio

import pytest

from storage import Store


def asked_after(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set by the next question for the head of a context."""
    asked = asyncio.Event()
    plain_peek = Store.peek

    def peek(store: Store, context_id: str, owner: str) -> asyncio.Future[object]:
        asked.set()
        return plain_peek(store, context_id, owner)

    monkeypatch.setattr(Store, "peek", peek)
    return asked
