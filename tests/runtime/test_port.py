import gc
import os
import resource
import select
import socket
import struct
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


def test_a_port_whose_connections_have_just_ended_is_free() -> None:
    (held,) = listen("127.0.0.1", 0, places=1, backlog=8)
    port = port_of(held)
    with held, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        accepted, _ = held.accept()
        accepted.close()  # whoever closes first keeps the port for a minute (TIME_WAIT)
        assert client.recv(1) == b""
    for listener in listen("127.0.0.1", port, places=2, backlog=8):
        listener.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_so_many_connections_wait_at_each_place_as_were_asked_for() -> None:
    for listener in listen("127.0.0.1", 0, places=2, backlog=7):
        with listener:
            told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            assert struct.unpack_from("I", told, 28) == (7,)


def test_where_too_few_files_may_be_open_it_is_told_and_none_is_left() -> None:
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest_free:
        few = lowest_free.fileno() + 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, bounds[1]))
    try:
        with pytest.raises(PortTaken, match="too many open files"):
            listen("127.0.0.1", 0, places=8, backlog=8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
    gc.collect()  # what was left open would be told of


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
def test_a_place_that_is_left_gets_no_connection_until_its_next_gateway_listens() -> None:
    with ExitStack() as closed:
        listeners = listen("127.0.0.1", 0, places=2, backlog=64)
        for listener in listeners:
            closed.enter_context(closing(listener))
        place = Place(listeners[0])
        assert arrivals(listeners, 64) == {*listeners}
        place.leave()
        place.leave()
        assert arrivals(listeners[1:], 64) == {listeners[1]}
        listeners[0].listen(64)  # as its next gateway does
        assert arrivals(listeners, 64) == {*listeners}
