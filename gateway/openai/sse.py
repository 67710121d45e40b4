"""A stream of server-sent events that one request writes at its client's pace."""

import contextlib

import orjson
from aiohttp import web

from gateway.app import REQUEST_ID
from gateway.openai.errors import REQUEST_ID_HEADER


class EventStream:
    """An answer whose headers leave with its first event: what fails before is an error."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether the headers have left."""
        return self._response is not None

    async def write(self, data: bytes) -> None:
        """Send some events; waits while the client does not take them.

        A client that takes next to nothing is disconnected by `gateway/connection.py`, and
        this is cancelled.

        Raises:
            ConnectionResetError: The client has gone.
        """
        if self._response is None:
            self._response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "X-Accel-Buffering": "no",
                    REQUEST_ID_HEADER: self._request[REQUEST_ID],
                }
            )
            await self._response.prepare(self._request)
        await self._response.write(data)

    async def end(self) -> web.StreamResponse:
        """End it properly."""
        assert self._response is not None, "a stream has at least one event"
        with contextlib.suppress(ConnectionResetError):
            await self._response.write_eof()
        return self._response


def data_only(value: object) -> bytes:
    """An event without a name, as chat completions have them."""
    return b"data: %s\n\n" % orjson.dumps(value)


def named(name: str, value: object) -> bytes:
    """An event with its name, as responses have them."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
