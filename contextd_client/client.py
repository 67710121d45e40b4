"""The way in: one contextd, its contexts."""

import asyncio
import os
import random
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Final, Self, Unpack
from urllib.parse import quote

from pydantic import JsonValue

from contextd_client.bodies import CreateOptions, NewMessage, encode
from contextd_client.connection import Connection
from contextd_client.context import Context, post
from contextd_client.limits import LIMITS, ClientLimits, Draw, Sleep
from contextd_client.views import ActionResponse, ActionStatus, ContextList, ContextSummary

_NEXT: Final = re.compile(r'<[^>?]*\?([^>]*)>;\s*rel="?next"?')


class Contextd:
    """One contextd, by its address.

        async with Contextd("http://127.0.0.1:8000") as client:
            context = await client.create(message="Hello")

    Made within a running event loop, and used in it alone, by any number of tasks at once.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        limits: ClientLimits = LIMITS,
        sleep: Sleep = asyncio.sleep,
        draw: Draw = random.random,
    ) -> None:
        """Take an address; nothing is sent yet.

        Args:
            url: Of the server, perhaps with a path before `/api`.
            key: API key, as a file may hold it; None: that of the environment,
                CONTEXTD_API_KEY.
            limits: How patient the client is.
            sleep: Waits; tests bring their own.
            draw: Draws the jitter of waits from [0, 1).
        """
        key = (key or os.environ.get("CONTEXTD_API_KEY", "")).strip()
        self._connection = Connection(url, key=key, limits=limits, sleep=sleep, draw=draw)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections: streams end with them, requests are `Unreachable`."""
        await self._connection.close()

    def context(self, context_id: str) -> Context:
        """A handle for a context; nothing is asked."""
        return Context(self._connection, context_id)

    async def create(
        self,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        config: Mapping[str, JsonValue] | None = None,
        message: str | NewMessage | None = None,
        expires_at: datetime | None = None,
        **options: Unpack[CreateOptions],
    ) -> Context:
        """Make a context, perhaps with its first message in the same atomic step.

        Args:
            title: Its title; how it begins, if it is not given.
            labels: Kept with it.
            config: Of the configuration, what is not as the defaults.
            message: What is said first.
            expires_at: When it is deleted, unless it is pinned.
            **options: See `CreateOptions`.
        """
        first = NewMessage(content=message) if isinstance(message, str) else message
        body = encode(
            {
                "title": title,
                "labels": labels,
                "config": config,
                "message": first,
                "expires_at": expires_at,
            }
        )
        answer = await post(self._connection, "/api/contexts", body, options)
        made = answer.read(ActionResponse).context
        return Context(self._connection, made.id, seen=made)

    async def import_context(
        self, document: bytes, **options: Unpack[CreateOptions]
    ) -> Context:
        """Make a context of an export (JSON), whole or not at all.

        Raises:
            InvalidRequest: It is no log; the detail names the first event that is wrong.
        """
        answer = await post(self._connection, "/api/contexts/import", document, options)
        made = answer.read(ActionResponse).context
        return Context(self._connection, made.id, seen=made)

    async def contexts(self, *, per_page: int = 50) -> AsyncGenerator[ContextSummary, None]:
        """Your contexts, newest first, asked for page by page as they are taken.

        One whose contents the server cannot open is left out.
        """
        query: str | None = f"limit={per_page}"
        while query is not None:
            answer = await self._connection.ask("GET", f"/api/contexts?{query}")
            for summary in answer.read(ContextList).contexts:
                yield summary
            # The query alone: the key goes to no other address than the one that was given.
            found = _NEXT.search(answer.headers.get("Link", ""))
            query = found[1] if found else None

    async def action(self, action_id: str) -> ActionStatus:
        """What became of an action that was accepted and not applied yet.

        Raises:
            NotFound: There is none, or it is long ago.
        """
        answer = await self._connection.ask("GET", f"/api/actions/{quote(action_id, safe='')}")
        return answer.read(ActionStatus)
