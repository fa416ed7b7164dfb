"""Connecting by a given time, with resolvers that are slow, wrong or silent."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from relay.errors import ErrorKind, RelayError
from relay.net.connect import Addresses, Ahead, connect, resolve, wrap_tls
from relay.net.wait import Wait

from emulator.fakes.raw_upstream import BlackHole


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def address(port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))


def in_a_second() -> Wait:
    return Wait(deadline=time.monotonic() + 1.0)


def test_connects_without_delay_of_small_writes(listener: socket.socket) -> None:
    with connect("localhost", listener.getsockname()[1], in_a_second()) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_tries_one_address_after_the_other(listener: socket.socket) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        addresses = [address(closed.getsockname()[1]), address(listener.getsockname()[1])]
        with connect("a-host", 1, in_a_second(), lambda host, port: addresses) as sock:
            assert sock.getpeername() == listener.getsockname()


def test_raises_the_last_refusal() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            connect("127.0.0.1", closed.getsockname()[1], in_a_second())


def test_gives_up_a_slow_resolver_in_time() -> None:
    answer = threading.Event()

    def slow(host: str, port: int) -> Addresses:
        answer.wait(5)
        return []

    started = time.monotonic()
    with pytest.raises(TimeoutError, match="a-host was not resolved in time"):
        connect("a-host", 1, Wait(deadline=started + 0.2), slow)
    assert time.monotonic() - started < 2
    answer.set()


def test_passes_on_what_the_resolver_raises() -> None:
    def failing(host: str, port: int) -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(socket.gaierror):
        resolve("a-host", 1, in_a_second(), failing)


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "..", "\ud800"])
def test_a_name_that_cannot_be_one_is_a_failure_to_connect(name: str) -> None:
    with pytest.raises(OSError, match="no name of a host"):
        connect(name, 1, in_a_second())


# -- asked to stop


@pytest.fixture
def stopping() -> Iterator[Wait]:
    """The wait of a process that has been asked to stop."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    yield Wait(deadline=time.monotonic() + 30, stop_fd=reading)
    os.close(reading)
    os.close(writing)


def assert_ends_at_once(work: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises(RelayError) as raised:
        work()
    assert raised.value.kind is ErrorKind.SHUTDOWN
    assert time.monotonic() - started < 5


def test_a_request_to_stop_ends_the_resolver(stopping: Wait) -> None:
    answer = threading.Event()

    def slow(host: str, port: int) -> Addresses:
        answer.wait(30)
        return []

    assert_ends_at_once(lambda: connect("a-host", 1, stopping, slow))
    answer.set()


def test_a_request_to_stop_ends_the_connecting(stopping: Wait) -> None:
    with BlackHole() as hole:
        addresses = [address(int(hole.url.rpartition(":")[2].partition("/")[0]))]
        assert_ends_at_once(lambda: connect("a-host", 1, stopping, lambda host, port: addresses))


def test_a_request_to_stop_ends_the_handshake_and_closes(stopping: Wait) -> None:
    ours, peer = socket.socketpair()
    with peer:
        assert_ends_at_once(lambda: wrap_tls(ours, ssl.create_default_context(), "localhost", stopping))
        while peer.recv(65_536):
            pass  # the greeting, and then the end
    assert ours.fileno() == -1


def test_a_request_to_stop_ends_the_wait_for_what_is_connected_ahead(stopping: Wait, making: Making) -> None:
    assert_ends_at_once(lambda: making.ahead.take(stopping))
    making.allowed.set()
    making.peer.settimeout(5.0)
    assert making.peer.recv(1) == b"", "it is closed when it is there"


class Making:
    """A connection that is being made ahead, and is there once `allowed` is set; `peer` is its other end."""

    def __init__(self) -> None:
        self.ours, self.peer = socket.socketpair()
        self.allowed = threading.Event()
        self.ahead = Ahead(self._make)

    def _make(self) -> socket.socket:
        self.allowed.wait(5.0)
        return self.ours

    def close(self) -> None:
        self.ours.close()
        self.peer.close()


@pytest.fixture
def making() -> Iterator[Making]:
    made = Making()
    yield made
    made.close()


@pytest.mark.parametrize("dropped", ["while it connects", "when it is there"])
def test_a_connection_that_is_dropped_is_closed(making: Making, dropped: str) -> None:
    if dropped == "while it connects":
        making.ahead.drop()
    making.allowed.set()
    if dropped == "when it is there":
        making.peer.settimeout(0.05)
        with pytest.raises(TimeoutError):
            making.peer.recv(1)
        making.ahead.drop()
    making.peer.settimeout(5.0)
    assert making.peer.recv(1) == b""
    assert making.ahead.take(in_a_second()) is None


def test_a_connection_is_taken_once_and_waited_for(making: Making) -> None:
    threading.Timer(0.05, making.allowed.set).start()
    assert making.ahead.take(in_a_second()) is making.ours
    assert making.ahead.take(in_a_second()) is None


def test_what_cannot_be_made_is_not_there() -> None:
    def make() -> socket.socket:
        raise OSError("no")

    assert Ahead(make).take(in_a_second()) is None
