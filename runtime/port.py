"""Holds the listening sockets of the port that all gateways share.

The supervisor holds a listening socket (SO_REUSEPORT) for each gateway's place, and each
gateway of that place accepts its connections. So the kernel spreads connections over the
places, and a connection that arrives while one gateway leaves and the next one comes
waits instead of being refused. A place that is to stay empty gets no connections.
"""

import contextlib
import socket


class PortTaken(Exception):
    """The port is in use, or the address is not this machine's; the message says which."""


def listen(host: str, port: int, *, places: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, one for each place, on one port (0: a free one).

    Raises:
        PortTaken: The address cannot be listened on.
    """
    listeners: list[socket.socket] = []
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Without SO_REUSEPORT, so it fails where anybody listens.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound = probe.getsockname()
        for _ in range(places):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(listener)
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                listener.setsockopt(socket.SOL_SOCKET, option, 1)
            listener.bind(bound)
            listener.listen(backlog)
    except OSError as error:
        for listener in listeners:
            listener.close()
        reason = error.strerror or str(error)
        raise PortTaken(
            f"Nothing can listen on {host} port {port}: {reason.lower()}. Choose another with "
            "--port or --host (port 0 takes a free one)."
        ) from None
    return listeners


class Place:
    """A listening socket for one gateway after the other."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    @property
    def descriptor(self) -> int:
        """What the gateways of the place inherit."""
        return self._listener.fileno()

    def leave(self) -> None:
        """Take no more connections until the next gateway listens; those that wait are reset.

        The port stays bound.
        """
        with contextlib.suppress(OSError):  # it does not listen
            self._listener.shutdown(socket.SHUT_RDWR)
