"""The request to stop, as a descriptor."""

from __future__ import annotations

import select
import signal

from relay.lambda_runtime.shutdown import Stop


def test_a_request_makes_the_descriptor_readable_for_good() -> None:
    stop = Stop()
    assert select.select([stop.fd], [], [], 0)[0] == []
    assert not stop.requested
    for _ in range(2):
        stop.request()
        assert select.select([stop.fd], [], [], 5)[0] == [stop.fd]
    assert stop.requested


def test_a_signal_is_seen_although_python_has_not_run_its_handler_yet() -> None:
    """It comes just before a poll(2) that has no end: nothing but the descriptor ends that."""
    stop, before = Stop(), signal.getsignal(signal.SIGUSR1)
    stop.on(signal.SIGUSR1)
    try:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        signal.raise_signal(signal.SIGUSR1)
        assert select.select([stop.fd], [], [], 5)[0] == [stop.fd]
        assert not stop.requested
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
