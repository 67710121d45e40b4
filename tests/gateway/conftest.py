"""Fixtures of this room: each test brings its own gateways to a shared, empty store."""

from tests.support.shared_store import shared_store, store_url

__all__ = ["shared_store", "store_url"]
