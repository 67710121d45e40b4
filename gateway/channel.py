"""What AsyncAPI says about one place where messages come and go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from gateway.parameters import Parameter

Envelope = Literal["none", "event", "event-of-many", "frame", "numbered"]
"""What a message comes in: nothing; a server-sent event, its data JSON; the same, of one of
several contexts (`{context_id, cursor, data}`); a WebSocket message `{id, event, data}`; one
`{type, data, timestamp, seq}`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message."""

    name: str
    """Unique in its channel."""
    model: type[BaseModel]
    envelope: Envelope = "none"
    by_client: bool = False
    """Whether it is the client that sends it."""
    called: str = ""
    """What its envelope calls it, if that is not its name."""

    @property
    def kind(self) -> str:
        """What its envelope calls it."""
        return self.called or self.name


@dataclass(frozen=True, slots=True)
class Channel:
    """One place."""

    name: str
    address: str | None
    """None: the operator's own."""
    title: str
    description: str
    messages: Sequence[Message]
    protocol: Literal["http", "ws"] = "http"
    method: Literal["GET", "POST"] = "GET"
    query: Sequence[Parameter] = ()
    is_guarded: bool = True
    """Whether a credential is asked for."""
