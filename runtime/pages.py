"""The pages in the gateways: public addresses, since they hold nothing."""

from dashboard import PAGES
from gateway import Extension, Route


def pages() -> Extension:
    """The chat page, the dashboard page, and what they load."""
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
