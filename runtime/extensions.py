"""What the gateways of contextd serve besides the room gateway/: the rooms meet here."""

from collections.abc import Sequence

from dashboard import PAGES
from gateway import Extension, Route
from runtime.settings import Settings
from storage import Store


def extensions(settings: Settings, store: Store) -> Sequence[Extension]:
    """What one gateway process serves of other rooms."""
    del settings, store
    return (_pages(),)


def _pages() -> Extension:
    return Extension(
        routes=[
            Route(
                *(page.name, "GET", page.path, page.handler),
                under_contexts=False,
                has_head=True,
                is_public=True,
            )
            for page in PAGES
        ]
    )
