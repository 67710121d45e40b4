"""Reads server-sent events (WHATWG HTML, section 9.2) from bytes in pieces of any size.

Pure: no clock, no socket. A frame without data is none; a comment is nothing.
"""

from dataclasses import dataclass

from contextd_client.problems import FrameTooLarge


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream."""

    event: str
    data: str
    id: str
    """The last id that the stream has sent, with this event or before it."""


class FrameParser:
    """Feed it bytes, get frames. What is not complete yet waits for more."""

    def __init__(self, *, frame_bytes_max: int) -> None:
        self._bytes_max = frame_bytes_max
        self._rest = bytearray()
        self._event = ""
        self._data: list[str] = []
        self._data_bytes = 0
        self._id = ""
        self.retry_ms: int | None = None
        """How long the server asks us to wait before a reconnect."""

    def feed(self, piece: bytes) -> list[Frame]:
        """All frames that end in this piece.

        Raises:
            FrameTooLarge: One frame, or one line, is over `frame_bytes_max`.
        """
        # Whole contexts come as one line: it is looked through once, not with each piece.
        goes_on = not (b"\n" in piece or b"\r" in piece or self._rest.endswith(b"\r"))
        self._rest += piece
        lines = [] if goes_on else self._lines()
        if len(self._rest) > self._bytes_max:
            raise FrameTooLarge(f"a line of over {self._bytes_max} bytes")
        frames: list[Frame] = []
        for line in lines:
            frame = self._take(line)
            if frame is not None:
                frames.append(frame)
        return frames

    def _lines(self) -> list[bytes]:
        """The lines that have come to their end."""
        # A \r at the very end may be the first half of \r\n: keep it for the next piece.
        held = 1 if self._rest.endswith(b"\r") else 0
        text = bytes(self._rest[: len(self._rest) - held])
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(rest + b"\r" * held)
        return lines

    def _take(self, line: bytes) -> Frame | None:
        if not line:
            return self._end()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_bytes += len(line)
            if self._data_bytes > self._bytes_max:
                raise FrameTooLarge(f"an event of over {self._bytes_max} bytes")
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _end(self) -> Frame | None:
        event, data = self._event or "message", self._data
        self._event, self._data, self._data_bytes = "", [], 0
        return Frame(event, "\n".join(data), self._id) if data else None
