"""What goes over a dashboard's WebSocket, as AsyncAPI describes it."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from dashboard.messages import (
    ANNOUNCED,
    STATS,
    Complaint,
    ConnectionAck,
    Missed,
    Ping,
    Pong,
    Renumbered,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
)
from dashboard.sockets import PERSONAL
from dashboard.views import Stats
from gateway import TICKET, Channel, Message

_ASKED: Final[Mapping[str, type[BaseModel]]] = {
    "ping": Ping,
    "subscribe": Subscribe,
    "resume": Resume,
}
_PERSONAL: Final[Mapping[str, type[BaseModel]]] = {
    model.model_fields["kind"].default: model
    for model in (Pong, Subscribed, Resumed, Missed, Renumbered, Complaint)
}


def dashboard_channel(address: str) -> Channel:
    """The dashboards that are served at an address."""
    return Channel(
        *("dashboard", address, "The WebSocket of dashboards"),
        "First `connection_ack`, then `stats_update` and what is announced; `personal` is to "
        "one connection alone. `seq` is the number to `resume` from, on any gateway.",
        (
            Message("connection_ack", ConnectionAck, "numbered"),
            Message(STATS, Stats, "numbered"),
            *(Message(kind, model, "numbered") for kind, model in ANNOUNCED.items()),
            *(
                Message(f"{PERSONAL}-{kind}", model, "numbered", called=PERSONAL)
                for kind, model in _PERSONAL.items()
            ),
            *(Message(kind, model, by_client=True) for kind, model in _ASKED.items()),
        ),
        protocol="ws",
        query=(TICKET,),
    )
