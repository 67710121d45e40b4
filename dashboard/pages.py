"""The built pages: chat at `/`, dashboard at `/dashboard`, and the files that they load.

`static/` is what `npm run build` in `frontend/pages` makes of the sources there. Pages are
public: they hold nothing, and everything that they ask for is guarded.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

STATIC: Final = Path(__file__).parent / "static"

_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_ASSETS: Final = frozenset(
    path.name for path in (STATIC / "assets").glob("*") if path.suffix in _CONTENT_TYPES
)
"""Their names hold hashes; compressed copies lie beside them and have no address."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline, nothing from elsewhere, and no text is ever made into HTML."""
_PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _CSP,
    "Content-Type": "text/html; charset=utf-8",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class PageAddress:
    """Where something of the pages is served, to GET and HEAD."""

    name: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _chat(_request: web.Request) -> web.StreamResponse:
    return _page("index.html")


async def _dashboard(_request: web.Request) -> web.StreamResponse:
    return _page("dashboard.html")


def _page(name: str) -> web.FileResponse:
    return web.FileResponse(STATIC / name, headers=_PAGE_HEADERS)


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _ASSETS:
        raise web.HTTPNotFound
    path = STATIC / "assets" / name
    headers = {"Cache-Control": _FOR_EVER, "Content-Type": _CONTENT_TYPES[path.suffix]}
    return web.FileResponse(path, headers=headers)


PAGES: Final = (
    PageAddress("chat_page", "/", _chat),
    PageAddress("dashboard_page", "/dashboard", _dashboard),
    PageAddress("page_asset", "/assets/{name}", _asset),
)
"""Every address of the pages."""
