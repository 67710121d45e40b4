"""The addresses of the pages."""

from dashboard import PAGES
from gateway import Extension, Route


def pages() -> Extension:
    """What one gateway process serves to people; anybody may load it."""
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
