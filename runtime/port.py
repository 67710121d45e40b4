"""Listens on the port that the gateways share, whoever of them comes and goes.

The supervisor holds a listening socket (SO_REUSEPORT) for each gateway's place, and each
gateway of that place accepts its connections. So the kernel spreads connections over the
places, and a connection that arrives while one gateway leaves and the next one comes
waits instead of being refused.
"""

import socket


class PortTaken(Exception):
    """Somebody listens there already, or the address is not ours; the message says so."""


def listen(host: str, port: int, *, places: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, one for each place, on one port (0: a free one).

    Raises:
        PortTaken: Nobody could listen there.
    """
    listeners: list[socket.socket] = []
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Alone in its wish to reuse the port, so it fails where anybody listens.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound = probe.getsockname()
        for _ in range(places):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(listener)
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                listener.setsockopt(socket.SOL_SOCKET, option, 1)
            listener.bind(bound)
        for listener in listeners:
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
