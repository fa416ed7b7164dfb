"""Upstream cannot be reached, or only over a connection that has died meanwhile. Through the real relay process."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdk_app.bundle import certificates
from cdk_app.bundle.build import CERTIFICATES
from emulator.fakes.raw_upstream import (
    BlackHole,
    Close,
    RawUpstream,
    Reset,
    Send,
    Stall,
    chat_stream,
    chunk,
    head,
    json_answer,
)
from tests.support.harness import canaries
from tests.support.harness.fault_cases import EVENTS, GOOD, WHOLE
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import HEARTBEAT, Cut, Refused, Whole
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RelayFixture

NewRelay = Callable[..., AbstractContextManager[RelayFixture]]
UNREACHABLE = Refused(502, "upstream_unreachable", "true")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of ours on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@fault("connection refused", "always", UNREACHABLE.text)
def test_refused(new_relay: NewRelay, node: EventSourceParser, closed_port: int) -> None:
    with new_relay(settings={"OPENAI_BASE_URL": f"http://127.0.0.1:{closed_port}/v1"}) as relay_fixture:
        exchange = relay_fixture.serve()
        UNREACHABLE.check(exchange, b"", node)
        UNREACHABLE.check(relay_fixture.serve(), b"", node)


@fault("connecting hangs", "always", f"{UNREACHABLE.text} after 4 s, or before the deadline")
def test_black_hole(new_relay: NewRelay, node: EventSourceParser) -> None:
    with BlackHole() as hole, new_relay(settings={"OPENAI_BASE_URL": hole.url}) as relay_fixture:
        assert relay_fixture.api.wait_idle(10.0)
        exchange = relay_fixture.serve(deadline=1.5)
        UNREACHABLE.check(exchange, b"", node)
        assert exchange.over_at - exchange.handed_out_at <= 1.5 + relay_fixture.cpu_wait()
        exchange = relay_fixture.serve(deadline=20)
        UNREACHABLE.check(exchange, b"", node)
        assert 3.5 <= exchange.over_at - exchange.handed_out_at <= 4.5 + relay_fixture.cpu_wait()


@fault("the name has no address", "always", UNREACHABLE.text)
def test_no_address(new_relay: NewRelay, node: EventSourceParser) -> None:
    with new_relay(settings={"OPENAI_BASE_URL": "https://no-such-host.invalid/v1"}) as relay_fixture:
        exchange = relay_fixture.serve()
        UNREACHABLE.check(exchange, b"", node)
        assert exchange.over_at - exchange.handed_out_at <= 4.5 + relay_fixture.cpu_wait()
        assert relay_fixture.relay.wait_footprint(lambda now: now.threads == 1).threads == 1


# -- TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority of our own, and what it vouches for: the name "localhost"."""

    certificate: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    at = tmp_path_factory.mktemp("tls")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", str(at / "key.pem"), "-out", str(at / "certificate.pem")]
    subject = ["-subj", "/CN=a test's own authority", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(at / "certificate.pem", at / "key.pem")
    return Authority(certificate=at / "certificate.pem", server=server)


@pytest.fixture(scope="module")
def trusting_bundle(bundle: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with one certificate more. There is no setting for that: the relay trusts what the bundle brings."""
    copy = tmp_path_factory.mktemp("trusting") / "lambda"
    shutil.copytree(bundle, copy)
    certificates.add(authority.certificate, copy / CERTIFICATES)
    return copy


@fault("bad TLS: a certificate nobody vouches for", "handshake", UNREACHABLE.text)
def test_unknown_certificate(new_relay: NewRelay, node: EventSourceParser, authority: Authority) -> None:
    with new_relay(upstream=RawUpstream(tls=authority.server)) as relay_fixture:
        UNREACHABLE.check(relay_fixture.serve(), b"", node)
        assert not relay_fixture.upstream.requests


@fault("bad TLS: a certificate for another name", "handshake", UNREACHABLE.text)
def test_wrong_name(new_relay: NewRelay, node: EventSourceParser, authority: Authority, trusting_bundle: Path) -> None:
    """Anybody can get a certificate; that it is for OpenAI's name is what counts."""
    with RawUpstream(tls=authority.server) as upstream:
        settings = {"OPENAI_BASE_URL": f"https://127.0.0.1:{upstream.port}/v1"}
        with new_relay(settings=settings, bundle=trusting_bundle) as relay_fixture:
            UNREACHABLE.check(relay_fixture.serve(), b"", node)
            assert not upstream.requests


def test_the_authority_of_awss_endpoints_does_not_vouch_for_openai(
    new_relay: NewRelay, node: EventSourceParser, authority: Authority
) -> None:
    """AWS_CA_BUNDLE: the secret is read over TLS that it verifies, and OpenAI behind the same authority is not trusted."""
    secret = json_answer(200, {"SecretString": canaries.KEY})
    with RawUpstream(tls=authority.server, path="") as secrets:
        secrets.answer(*secret)
        settings = {"AWS_CA_BUNDLE": str(authority.certificate), "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets.url}
        with new_relay(upstream=RawUpstream(tls=authority.server), settings=settings) as relay_fixture:
            UNREACHABLE.check(relay_fixture.serve(), b"", node)
            assert len(secrets.requests) == 1
            assert not relay_fixture.upstream.requests


@fault("bad TLS: no TLS at all", "handshake", UNREACHABLE.text)
def test_no_tls(new_relay: NewRelay, node: EventSourceParser) -> None:
    with (
        RawUpstream() as plain,
        new_relay(settings={"OPENAI_BASE_URL": f"https://localhost:{plain.port}/v1"}) as relay_fixture,
    ):
        for _ in range(2):  # what was never connected may be tried again, once
            plain.greet_next(Send(b"SSH-2.0-OpenSSH_9\r\n"), Stall())
        UNREACHABLE.check(relay_fixture.serve(), b"", node)


@fault("bad TLS: silence", "handshake", f"{UNREACHABLE.text} after 4 s, or before the deadline")
def test_silent_handshake(new_relay: NewRelay, node: EventSourceParser) -> None:
    with (
        RawUpstream() as plain,
        new_relay(settings={"OPENAI_BASE_URL": f"https://localhost:{plain.port}/v1"}) as relay_fixture,
    ):
        plain.greet_next(Stall())
        assert relay_fixture.api.wait_idle(10.0)
        exchange = relay_fixture.serve(deadline=1.5)
        UNREACHABLE.check(exchange, b"", node)
        assert exchange.over_at - exchange.handed_out_at <= 1.5 + relay_fixture.cpu_wait()


def test_over_tls(new_relay: NewRelay, node: EventSourceParser, authority: Authority, trusting_bundle: Path) -> None:
    """What TLS adds to the faults of a stream: bytes that are read ahead, and an end without a close_notify."""
    with new_relay(upstream=RawUpstream(tls=authority.server), bundle=trusting_bundle) as relay_fixture:
        for _ in range(3):
            relay_fixture.upstream.answer(*GOOD)
            Whole().check(relay_fixture.serve(), WHOLE, node)
        assert relay_fixture.upstream.connections == 1
        for end in (Close(), Reset()):
            relay_fixture.upstream.answer(*GOOD[:2], end)
            Cut("upstream_broken").check(relay_fixture.serve(), EVENTS[0], node)
        big = [EVENTS[0], b'data: {"x":"' + b"x" * 300_000 + b'"}\n\n', *EVENTS[1:]]
        relay_fixture.upstream.answer(*GOOD[:1], *(Send(chunk(each)) for each in big), *GOOD[-1:])
        assert HEARTBEAT.sub(b"", relay_fixture.serve().body) == b"".join(big)
        relay_fixture.upstream.answer(*GOOD[:2], Stall())
        Cut("deadline_exceeded").check(relay_fixture.serve(deadline=1.0), EVENTS[0], node)
        relay_fixture.assert_serves()


# -- connections that are kept


@fault("the kept connection is closed or reset", "while idle", "a new one; sent once")
@pytest.mark.parametrize("end", [Close(), Reset()])
def test_kept_connection_ended(relay_fixture: RelayFixture, end: Close | Reset) -> None:
    relay_fixture.upstream.answer(*GOOD, end)
    assert HEARTBEAT.sub(b"", relay_fixture.serve().body) == WHOLE
    assert relay_fixture.upstream.requests[-1].wait_over() in ("closed", "reset")
    connections, requests = relay_fixture.upstream.connections, len(relay_fixture.upstream.requests)
    relay_fixture.assert_serves()
    assert relay_fixture.upstream.connections == connections + 1
    assert len(relay_fixture.upstream.requests) == requests + 1


@fault("the kept connection is closed or reset", "as the request arrives", "502 `upstream_broken`; never sent twice")
@pytest.mark.parametrize("end", [Close(), Reset()])
def test_kept_connection_ends_with_the_request(
    relay_fixture: RelayFixture, node: EventSourceParser, end: Close | Reset
) -> None:
    relay_fixture.assert_serves()
    connections, requests = relay_fixture.upstream.connections, len(relay_fixture.upstream.requests)
    relay_fixture.upstream.answer(end)
    Refused(502, "upstream_broken", "false").check(relay_fixture.serve(), b"", node)
    assert (relay_fixture.upstream.connections, len(relay_fixture.upstream.requests)) == (connections, requests + 1)
    relay_fixture.assert_serves()


@fault("the environment is frozen", "between invocations, for longer than a connection may idle", "a new connection")
def test_frozen_while_idle(relay_fixture: RelayFixture) -> None:
    relay_fixture.assert_serves()
    connections = relay_fixture.upstream.connections
    relay_fixture.assert_serves()
    assert relay_fixture.upstream.connections == connections
    assert relay_fixture.api.wait_idle(10.0)  # Lambda freezes who waits for work, and nobody else
    relay_fixture.relay.freeze()
    threading.Event().wait(3.2)
    relay_fixture.relay.thaw()
    relay_fixture.assert_serves()
    assert relay_fixture.upstream.connections == connections + 1


def test_a_connection_that_was_not_read_to_its_end_is_not_used_again(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer(Send(head(500, [("content-length", "100")])), Send(b"x" * 99), Stall())
    assert relay_fixture.serve().status == 502
    connections = relay_fixture.upstream.connections
    relay_fixture.upstream.answer(*chat_stream("x"))
    assert relay_fixture.serve().status == 200
    assert relay_fixture.upstream.connections == connections + 1
