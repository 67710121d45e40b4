"""Pages for people, all from this process.

`/docs` works without internet: the assets of swagger-ui are in `gateway/static`, and the
page's policy lets it load and run nothing else.
"""

import functools
import hashlib
import html
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.answers import json_response
from gateway.problem_types import TYPES
from gateway.problems import Problem

STATIC: Final = Path(__file__).parent / "static"
ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}
"""Files of `static/` that the page loads, and their content types."""
GUIDES: Final = {"migration.md": "text/markdown; charset=utf-8"}
"""Files of `static/` for people who read."""

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Styles inline, because swagger-ui writes some into elements; scripts never."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"


async def docs_page(_request: web.Request) -> web.StreamResponse:
    """The API for people: swagger-ui over `/openapi.json`."""
    return _page(_docs_html())


async def docs_asset(request: web.Request) -> web.StreamResponse:
    """One of the docs page's files; for ever, if it is asked for with its version."""
    name = request.match_info["name"]
    content_type = ASSETS.get(name) or GUIDES.get(name)
    if content_type is None:
        raise Problem("not-found", "There is no such file. See /docs.")
    versioned = request.query.get("v") == _version(name)
    headers = {
        "Cache-Control": _FOR_EVER if versioned else "no-cache",
        "Content-Type": content_type,
    }
    return web.FileResponse(STATIC / name, headers=headers)


async def problem_page(request: web.Request) -> web.StreamResponse:
    """What a type of problem means: a page for browsers, else JSON."""
    name = request.match_info["name"]
    known = TYPES.get(name)
    if known is None:
        raise Problem("not-found", f"There is no such problem: {', '.join(TYPES)}.")
    if "text/html" in request.headers.get("Accept", ""):
        title = html.escape(known.title)
        advice = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(known.advice))
        return _page(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
            f"<h1>{title}</h1><p>Problem type <code>/problems/{name}</code>, HTTP status "
            f"{known.status}.</p><p>{advice}</p><p><a href=/docs>All of the API</a></p></html>"
        )
    body = {
        "type": f"/problems/{name}",
        "title": known.title,
        "status": known.status,
        "advice": known.advice,
    }
    return json_response(body, headers={"Vary": "Accept"})


def _page(text: str) -> web.Response:
    headers = {
        "Content-Security-Policy": _CSP,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Vary": "Accept",
    }
    return web.Response(text=text, headers=headers, content_type="text/html", charset="utf-8")


@functools.cache
def _docs_html() -> str:
    def at(name: str) -> str:
        return f'"/docs/{name}?v={_version(name)}"'

    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<title>contextd API</title>"
        f"<link rel=icon href={at('favicon-32x32.png')}>"
        f"<link rel=stylesheet href={at('swagger-ui.css')}></head><body>"
        "<noscript>This page needs JavaScript; the description itself is at "
        "<a href=/openapi.json>/openapi.json</a>.</noscript>"
        "<div id=docs></div>"
        f"<script src={at('swagger-ui-bundle.js')}></script>"
        f"<script src={at('start.js')}></script></body></html>"
    )


@functools.cache
def _version(name: str) -> str:
    return hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()
