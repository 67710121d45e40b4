"""Server-sent events out of bytes, as they arrive.

However the bytes were split on their way, the same events come out. Lines end with LF,
CR LF or CR; comments and fields other than `data` are passed over; an event that its
blank line does not end is not an event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""


class EventTooLong(Exception):
    """An event went over the bound; the parser is of no more use."""


class SseParser:
    """Collects bytes and gives out the data of each event that they complete."""

    __slots__ = ("_after_cr", "_bytes_max", "_data", "_data_bytes", "_started", "_tail")

    def __init__(self, *, event_bytes_max: int) -> None:
        self._bytes_max = event_bytes_max
        self._tail = bytearray()
        """The beginning of a line whose end has not arrived."""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        """The last byte was a CR: an LF that follows belongs to it."""
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the data of the events that are complete now.

        Raises:
            EventTooLong: The event under way is larger than the bound.
        """
        if b"\r" in data or self._after_cr:
            data = self._with_plain_line_ends(data)
        if not self._started:
            if len(self._tail) + len(data) < 3:
                self._tail += data
                return []
            data = bytes(self._tail) + data
            self._tail.clear()
            self._started = True
            data = data.removeprefix(b"\xef\xbb\xbf")
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._tail:
            if not lines:
                self._tail += rest
                self._check()
                return []
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail.clear()
        events = self._take(lines)
        self._tail += rest
        self._check()
        return events

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._data_bytes = 0
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                data.append(value)
                self._data_bytes += len(value)
                self._check()
            elif line == b"data":
                data.append(b"")
        return events

    def _check(self) -> None:
        if self._data_bytes + len(self._tail) + len(self._data) > self._bytes_max:
            raise EventTooLong(f"an event is larger than {self._bytes_max} bytes")

    def _with_plain_line_ends(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
            if not data:
                return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
