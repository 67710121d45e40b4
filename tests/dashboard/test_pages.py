"""The built pages: what is served, how browsers keep it, what it was built of."""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dashboard import PAGES
from dashboard.pages import STATIC

FRONTEND: Final = Path(__file__).parent.parent.parent / "frontend"
SOURCES: Final = ("client/src", "pages/src")
BESIDE: Final = (
    *("package-lock.json", "pages/dashboard.html", "pages/index.html"),
    "pages/vite.config.ts",
)
ADDRESSES: Final = {"/": "index.html", "/dashboard": "dashboard.html"}


@asynccontextmanager
async def browsing() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of a server that has the pages and nothing else."""
    app = web.Application()
    for page in PAGES:
        app.router.add_get(page.path, page.handler)
    async with TestServer(app) as server:
        url = server.make_url("/")
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(url, headers=plain, auto_decompress=False) as session:
            yield session


def assets() -> list[str]:
    """Names of the files that pages load."""
    listed = (path.name for path in (STATIC / "assets").iterdir())
    return sorted(name for name in listed if not name.endswith((".br", ".gz")))


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_page_is_asked_for_anew_and_answered_304_where_it_is_the_same(
    path: str,
) -> None:
    async with browsing() as session:
        async with session.get(path) as first:
            body = await first.read()
        assert body == (STATIC / ADDRESSES[path]).read_bytes()
        assert first.headers["Cache-Control"] == "no-cache"
        assert first.headers["Content-Type"] == "text/html; charset=utf-8"
        async with session.get(path, headers={"If-None-Match": first.headers["ETag"]}) as again:
            assert again.status == 304
        async with session.head(path) as head:
            assert (head.status, await head.read()) == (200, b"")
            assert head.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("path", ADDRESSES)
async def test_the_policy_of_a_page_lets_nothing_run_that_is_not_a_file_of_ours(
    path: str,
) -> None:
    async with browsing() as session, session.get(path) as answer:
        policy = dict(
            each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; ")
        )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


@pytest.mark.parametrize("name", ADDRESSES.values())
def test_a_page_loads_files_of_the_build_and_nothing_else(name: str) -> None:
    page = (STATIC / name).read_text()
    loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]*)"', page)
    assert loaded
    assert {path.removeprefix("/assets/") for path in loaded} <= set(assets())
    assert re.findall(r"<script[^>]*>[^<]|<style| style=| on\w+=", page) == []


async def test_what_pages_load_is_kept_for_ever_whole_or_compressed() -> None:
    async with browsing() as session:
        for name in assets():
            stored = STATIC / "assets" / name
            for encoding, suffix in (("identity", ""), ("gzip", ".gz"), ("br", ".br")):
                async with session.get(
                    f"/assets/{name}", headers={"Accept-Encoding": encoding}
                ) as answer:
                    body = await answer.read()
                assert answer.headers.get("Content-Encoding", "identity") == encoding
                assert body == stored.with_name(name + suffix).read_bytes()
                kept = "public, max-age=31536000, immutable"
                assert answer.headers["Cache-Control"] == kept
                assert re.search(r"-[\w-]{8}\.(?:js|css|svg)$", name), "no hash in its name"


@pytest.mark.parametrize(
    "name",
    [
        *("nothing.js", "..%2findex.html", "%2e%2e%2fsources.json", "..%5cindex.html", "%00"),
        *("", ".", "x" * 4_000),
    ],
)
async def test_what_is_no_file_of_the_build_is_not_found(name: str) -> None:
    compressed = f"{assets()[0]}.gz"
    async with browsing() as session:
        for asked in (name, compressed):
            async with session.get(f"/assets/{asked}") as answer:
                assert answer.status == 404, asked


@pytest.mark.skipif(not FRONTEND.is_dir(), reason="an installed copy has no sources of pages")
def test_the_build_is_of_these_sources() -> None:
    found = [
        path.relative_to(FRONTEND).as_posix()
        for root in SOURCES
        for path in (FRONTEND / root).rglob("*")
        if path.is_file() and not path.name.endswith((".test.ts", ".test.tsx"))
    ]
    digest = hashlib.sha256()
    for path in sorted([*BESIDE, *found]):
        digest.update(f"{path}\0".encode() + (FRONTEND / path).read_bytes() + b"\0")
    built = orjson.loads((STATIC / "sources.json").read_bytes())
    assert built == {"sha256": digest.hexdigest()}, (
        "dashboard/static was not built of frontend/ as it is: run `npm run build -w pages` in "
        "frontend/ and commit what it writes."
    )
