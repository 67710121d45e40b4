"""Reserves the port that the gateways share.

Gateways listen with SO_REUSEPORT, so a second `contextd up` would silently take half of
the first one's connections. The supervisor therefore looks whether the port is free, and
keeps it bound, without listening, while gateways come and go.
"""

import socket


class PortTaken(Exception):
    """Somebody listens there already, or the address is not ours; the message says so."""


def reserve_port(host: str, port: int) -> socket.socket:
    """Bind `port` (0: a free one) for processes of this user that share it.

    Raises:
        PortTaken: Nobody could listen there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Alone in its wish to reuse the port, so it fails where anybody listens.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound = probe.getsockname()
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            reserved.bind(bound)
        except OSError:
            reserved.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortTaken(
            f"Nothing can listen on {host} port {port}: {reason.lower()}. Choose another with "
            "--port or --host (port 0 takes a free one)."
        ) from None
    return reserved
