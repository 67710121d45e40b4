"""A context's events over any number of connections: none is missed, none comes twice.

The cursor of the last whole event is what the next connection goes on from. What was cut in
the middle is not shown, and comes again whole.
"""

from collections.abc import AsyncGenerator

import aiohttp

from contextd_client.connection import Connection
from contextd_client.events import ContextDeleted, Event, decode
from contextd_client.problems import NotUnderstood, Problem, Unreachable
from contextd_client.sse import FrameParser


async def follow(
    connection: Connection, path: str, cursor: str | None
) -> AsyncGenerator[Event, None]:
    """Events from the cursor on, or from a snapshot, until the context is deleted.

    It ends as well when the client is closed. Closed or cancelled, it leaves nothing open.

    Raises:
        Problem: The server refuses the stream.
        Unreachable: The server stays away.
        NotUnderstood: What comes is no stream of contextd's.
    """
    limits = connection.limits
    silent, cuts, retry_s = 0, 0, 0.0
    while True:
        parser = FrameParser(frame_bytes_max=limits.context_bytes_max)
        silent += 1
        headers = {"Accept": "text/event-stream"}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        try:
            async with connection.open("GET", path, headers=headers, tries=silent) as response:
                if response.content_type != "text/event-stream":
                    raise NotUnderstood("What answers there sends no events.")
                async for piece in response.content.iter_any():
                    for frame in parser.feed(piece):
                        silent = 0
                        if frame.id and frame.id != cursor:
                            cursor, cuts = frame.id, 0
                        event = decode(frame)
                        yield event
                        if isinstance(event, ContextDeleted):
                            return
                # A stream has no end of its own: whoever ended it, it goes on elsewhere.
                raise aiohttp.ServerDisconnectedError
        except (Unreachable, Problem) as error:
            if connection.is_closed:
                return
            connection.check(error, failures=silent)
            asked_s = error.retry_after_s
        cuts += 1
        if parser.retry_ms is not None:
            retry_s = min(parser.retry_ms / 1_000, limits.retry_after_s_max)
        await connection.pause(failures=cuts, asked_s=max(asked_s, retry_s))
