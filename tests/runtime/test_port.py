import socket

import pytest

from runtime.port import PortTaken, reserve_port


def a_listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def test_gateways_share_the_reserved_port_and_nobody_else_gets_it() -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        port: int = reserved.getsockname()[1]
        with a_listener(port), a_listener(port), socket.socket() as client:
            # The reserved socket does not listen, so it takes no connection away.
            client.connect(("127.0.0.1", port))
        with pytest.raises(PortTaken, match=f"port {port}: address already in use"):
            reserve_port("127.0.0.1", port)


def test_a_port_that_somebody_listens_on_is_taken_although_he_would_share_it() -> None:
    with a_listener(0) as listener, pytest.raises(PortTaken):
        reserve_port("127.0.0.1", listener.getsockname()[1])


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(PortTaken, match="Choose another"):
        reserve_port("192.0.2.1", 0)
