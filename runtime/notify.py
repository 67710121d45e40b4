"""Tells systemd our state, where it started us with Type=notify (see sd_notify(3))."""

import os
import socket

NOTIFY_SOCKET = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send a state such as `READY=1`; does nothing where systemd does not listen."""
    address = os.environ.get(NOTIFY_SOCKET)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return  # it is told for its own good; without it systemd times out, and says so
