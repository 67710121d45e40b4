import os
import select
import socket
import sys
from contextlib import ExitStack, closing

import pytest

from runtime.port import Place, PortTaken, listen


def a_listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_all_places_listen_on_one_port_and_nobody_else_gets_it() -> None:
    with ExitStack() as closed:
        listeners = listen("127.0.0.1", 0, places=3, backlog=8)
        for listener in listeners:
            closed.enter_context(closing(listener))
        (port,) = {port_of(listener) for listener in listeners}
        with pytest.raises(PortTaken, match=f"port {port}: address already in use"):
            listen("127.0.0.1", port, places=1, backlog=8)


def test_p13_a_connection_waits_while_one_process_leaves_and_the_next_one_comes() -> None:
    (held,) = listen("127.0.0.1", 0, places=1, backlog=8)
    with held, socket.socket() as client:
        leaving = socket.socket(fileno=os.dup(held.fileno()))
        client.connect(("127.0.0.1", port_of(held)))
        leaving.close()
        with socket.socket(fileno=os.dup(held.fileno())) as coming:
            accepted, _ = coming.accept()
            with accepted:
                client.sendall(b"still here")
                assert accepted.recv(32) == b"still here"


def test_without_places_it_is_only_looked_whether_the_port_is_free() -> None:
    assert listen("127.0.0.1", 0, places=0, backlog=0) == []


def test_a_port_that_somebody_listens_on_is_taken_although_he_would_share_it() -> None:
    with a_listener(0) as listener, pytest.raises(PortTaken):
        listen("127.0.0.1", port_of(listener), places=1, backlog=8)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(PortTaken, match="Choose another"):
        listen("192.0.2.1", 0, places=1, backlog=8)


def arrivals(listeners: list[socket.socket], count: int) -> set[socket.socket]:
    """Connect so often; the listeners that had one to accept."""
    found: set[socket.socket] = set()
    for _ in range(count):
        with socket.create_connection(listeners[0].getsockname(), timeout=5):
            ready, _, _ = select.select(listeners, [], [], 5)
            (listener,) = ready
            accepted, _ = listener.accept()
            accepted.close()
            found.add(listener)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")
def test_a_place_that_is_left_gets_no_connection_until_it_comes_back() -> None:
    with ExitStack() as closed:
        listeners = listen("127.0.0.1", 0, places=2, backlog=64)
        for listener in listeners:
            closed.enter_context(closing(listener))
        place = Place(listeners[0])
        assert arrivals(listeners, 64) == {*listeners}
        place.leave()
        place.leave()
        assert arrivals(listeners[1:], 64) == {listeners[1]}
        place.come_back()
        place.come_back()
        # Its next gateway has yet to listen: until then nobody waits there.
        assert arrivals(listeners[1:], 64) == {listeners[1]}
        listeners[0].listen(64)
        assert arrivals(listeners, 64) == {*listeners}
