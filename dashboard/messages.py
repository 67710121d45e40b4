"""What goes over a dashboard's WebSocket, both ways.

From the gateway: `{type, data, timestamp, seq}`. `seq` is the number of the newest
announcement that the connection has got; an announcement's own, where it is one. From a
dashboard: `{"type": "ping" | "subscribe" | "resume", ...}`.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from storage import Announced, AnyAnnouncement, Entry, rfc3339


class Message(BaseModel):
    """Base of what is sent and received."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ConnectionAck(Message):
    """The connection is there."""

    connection_id: str
    seq: int
    """Of the newest announcement: those behind it follow; ask for others with `resume`."""
    oldest_seq: int
    """Of the oldest one that is still kept; 0: there is none."""
    stats_every_s: float
    types: tuple[str, ...]
    """What can be subscribed to; all of it is, at first."""


class Pong(Message):
    """Answers `ping`."""

    kind: Literal["pong"] = "pong"
    ref: str | None


class Subscribed(Message):
    """Answers `subscribe`: only these types follow."""

    kind: Literal["subscribed"] = "subscribed"
    types: tuple[str, ...]


class Resumed(Message):
    """Answers `resume`: announcements behind `seq` follow."""

    kind: Literal["resumed"] = "resumed"
    seq: int


class Missed(Message):
    """Announcements that this connection does not get: they are not kept any more."""

    kind: Literal["missed"] = "missed"
    from_seq: int
    to_seq: int


class Renumbered(Message):
    """The store was set back, or emptied: announcements are numbered anew, behind `seq`."""

    kind: Literal["renumbered"] = "renumbered"
    seq: int


class Complaint(Message):
    """A message that was not understood; nothing was done."""

    kind: Literal["not_understood"] = "not_understood"
    detail: str


Personal: TypeAlias = Annotated[
    Pong | Subscribed | Resumed | Missed | Renumbered | Complaint, Field(discriminator="kind")
]
"""What concerns one connection alone."""


class Ping(Message):
    """Asks for a `pong`."""

    type: Literal["ping"]
    ref: str | None = Field(default=None, max_length=64)


class Subscribe(Message):
    """Asks for these types alone."""

    type: Literal["subscribe"]
    types: tuple[str, ...] = Field(max_length=64)


class Resume(Message):
    """Asks for what was announced behind a number."""

    type: Literal["resume"]
    seq: int = Field(ge=0)


Asked: TypeAlias = Annotated[Ping | Subscribe | Resume, Field(discriminator="type")]
ASKED: Final[TypeAdapter[Ping | Subscribe | Resume]] = TypeAdapter(Asked)

STATS: Final = "stats_update"


ANNOUNCED: Final[Mapping[str, type[Announced]]] = {
    model.model_fields["type"].default: model for model in get_args(AnyAnnouncement)
}
"""What is announced, by type. In messages the type is in the envelope only."""
TYPES: Final = (STATS, *ANNOUNCED)
"""What can be subscribed to."""


def announced_message(seq: int, raw: bytes) -> tuple[str, bytes]:
    """An announcement as dashboards get it, and its type.

    Raises:
        ValidationError: It is none.
    """
    entry = Entry.model_validate_json(raw)
    kind = entry.what.type
    data = entry.what.model_dump_json(exclude={"type"}).encode()
    return kind, message(kind, data, at=rfc3339(entry.at_ms), seq=seq)


def message(kind: str, data: bytes, *, at: str, seq: int) -> bytes:
    """The envelope of some JSON."""
    return orjson.dumps(
        {"type": kind, "data": orjson.Fragment(data), "timestamp": at, "seq": seq}
    )
