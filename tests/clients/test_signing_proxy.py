"""The signing proxy as a process of its own, in front of a door that verifies signatures."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.child_process import child
from tests.support.signed_door import CHAT, REGION, Door, sse, unsigned

ROOT = Path(__file__).parent.parent.parent
DISTRIBUTION = f"https://abc.lambda-url.{REGION}.on.aws"


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the response to these bytes, which no HTTP library would send."""
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n"))
                lines = head.lower().splitlines()
                length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
                return int(head.split()[1]), stream.read(length)


@contextlib.contextmanager
def started(target: str, *more: str, **options: Any) -> Iterator[Running]:
    command = [sys.executable, "-m", "clients.signing_proxy", "--target", target, "--port", "0", *more]
    with child(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options) as process:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "ready"
        yield Running(url=ready[1].removesuffix("/v1"), process=process)


@pytest.fixture
def proxy(door: Door, request: pytest.FixtureRequest) -> Iterator[Running]:
    with started(door.url, *getattr(request, "param", [])) as running:
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


def test_proxy_signs_and_streams_event_by_event(door: Door, proxy: Running) -> None:
    seen = b""
    door.go.release()
    with httpx.stream("POST", proxy.url + CHAT, json=unsigned()) as answer:
        for piece in answer.iter_raw():
            seen += piece
            door.go.release()
    assert seen == b"".join(map(sse, ("one", "two", "three", "four"))) + b"data: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-request-id"] == "r1"


def test_proxy_passes_a_cut_stream_on_as_cut(door: Door, proxy: Running) -> None:
    door.go.release(4)
    with (
        httpx.stream("POST", proxy.url + CHAT, json=unsigned("cut")) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        answer.read()


def test_proxy_leaves_when_its_caller_leaves(door: Door, proxy: Running) -> None:
    door.go.release()
    with httpx.stream("POST", proxy.url + CHAT, json=unsigned()) as answer:
        next(answer.iter_raw())
    assert door.left.wait(10)


def test_proxy_keeps_what_is_not_the_callers_to_send(door: Door, proxy: Running) -> None:
    door.go.release(4)
    headers = {"authorization": "Bearer sk-mine", "cookie": "a=b", "openai-beta": "assistants=v2"}
    httpx.post(proxy.url + CHAT, json=unsigned(), headers=headers)
    sent = door.requests[0].headers
    assert sent["openai-beta"] == "assistants=v2"
    assert sent["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert "cookie" not in sent


@pytest.mark.parametrize("proxy", [["--target", "http://127.0.0.1:1"]], indirect=True)
def test_proxy_answers_in_openai_shape_when_the_target_is_not_there(proxy: Running) -> None:
    answer = httpx.post(proxy.url + CHAT, json=unsigned())
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "signing_proxy"


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
def test_proxy_refuses_web_pages(door: Door, proxy: Running, headers: dict[str, str]) -> None:
    assert httpx.post(proxy.url + CHAT, json=unsigned(), headers=headers).status_code == 403
    assert door.requests == []


def test_proxy_refuses_what_lambda_would(door: Door, proxy: Running) -> None:
    answer = httpx.post(proxy.url + CHAT, content=b" " * (6 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "signing_proxy"
    assert door.requests == []


@pytest.mark.parametrize("proxy", [["--token", "s3same"]], indirect=True)
def test_proxy_wants_its_token(door: Door, proxy: Running) -> None:
    door.go.release(4)
    url = proxy.url + CHAT
    assert httpx.post(url, json=unsigned()).status_code == 401
    assert httpx.post(url, json=unsigned(), headers={"authorization": "Bearer other"}).status_code == 401
    assert httpx.post(url, json=unsigned(), headers={"authorization": "Bearer s3same"}).status_code == 200


def failing(target: str, *more: str, **settings: str) -> str:
    """The one line of a proxy that cannot start."""
    command = [sys.executable, "-m", "clients.signing_proxy", "--target", target, "--port", "0", *more]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_proxy_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = failing("https://x.example")
    assert "AWS_ACCESS_KEY_ID" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "settings", "named"),
    [
        ("foo", {}, "the URL is 'foo'"),
        ("", {}, "the URL is ''"),
        (DISTRIBUTION.removeprefix("https://"), {}, "such as https://"),
        (DISTRIBUTION, {"HTTPS_PROXY": "socks5://127.0.0.1:1"}, "HTTPS_PROXY"),
        (DISTRIBUTION, {"AWS_PROFILE": "gone"}, "AWS_PROFILE"),
    ],
)
def test_proxy_that_cannot_work_says_so_at_once(target: str, settings: dict[str, str], named: str) -> None:
    error = failing(target, **settings)
    assert named in error
    assert error.count("\n") == 1


def test_proxy_refuses_a_port_that_is_none(door: Door) -> None:
    assert "'99999' is no port; allowed: 0 to 65535" in failing(door.url, "--port", "99999")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_proxy_ends_on_a_signal_that_its_parent_ignores(door: Door, number: signal.Signals) -> None:
    def ignore() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)

    with started(door.url, preexec_fn=ignore) as running:
        running.process.send_signal(number)
        assert running.process.wait(30) == 0


def test_proxy_lets_a_stream_end_and_a_second_signal_does_not_wait(door: Door) -> None:
    with started(door.url) as running:
        door.go.release()
        with httpx.stream("POST", running.url + CHAT, json=unsigned()) as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            running.process.send_signal(signal.SIGINT)
            door.go.release(3)
            assert (first + b"".join(pieces)).endswith(b"data: [DONE]\n\n")
        assert running.process.wait(30) == 0
    with started(door.url) as running:
        door.streaming.clear()
        with httpx.stream("POST", running.url + CHAT, json=unsigned()):
            assert door.streaming.wait(20)
            running.process.send_signal(signal.SIGTERM)
            # The first one is heard when the proxy no longer listens.
            while True:
                try:
                    socket.create_connection(running.address, timeout=5).close()
                except ConnectionRefusedError:
                    break
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b'{"a": 1}' * 50)),
        ("deflate", zlib.compress(b'{"a": 1}' * 50)),
        ("gzip", b"this is no gzip"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00"),
        ("br", b"\x0b\x02\x80"),
        ("rot13", b"unknown"),
    ],
    ids=["gzip", "deflate", "no gzip", "zstd", "br", "unknown"],
)
def test_proxy_passes_bodies_through_as_they_are(door: Door, proxy: Running, coding: str, packed: bytes) -> None:
    answer = httpx.post(proxy.url + "/v1/echo", content=packed, headers={"content-encoding": coding})
    assert answer.status_code == 404  # signed over the very bytes, or it would be 403
    assert door.bodies == [packed]
    assert door.requests[0].headers["content-encoding"] == coding


def test_proxy_adds_no_headers_of_its_own(door: Door, proxy: Running) -> None:
    proxy.exchange(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert {name.lower() for name in door.requests[0].headers} == {
        "host", "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["LOCALHOST", "LocalHost", "127.0.0.1", "localhost:1"])
def test_proxy_knows_its_names_in_any_case(door: Door, proxy: Running, name: str) -> None:
    assert httpx.get(proxy.url + "/v1/models", headers={"host": name}).status_code == 404
    assert len(door.requests) == 1


@pytest.mark.parametrize("proxy", [["--allow-host", "Host.Docker.Internal", "--token", "s3same"]], indirect=True)
def test_proxy_takes_further_names(door: Door, proxy: Running) -> None:
    headers = {"host": "host.docker.internal:9100", "authorization": "Bearer s3same"}
    assert httpx.get(proxy.url + "/v1/models", headers=headers).status_code == 404
    assert httpx.get(proxy.url + "/v1/models", headers={**headers, "host": "evil.example"}).status_code == 403
    assert len(door.requests) == 1


@pytest.mark.parametrize("proxy", [["--token", "s3same"]], indirect=True)
def test_proxy_takes_its_token_as_clients_send_keys(door: Door, proxy: Running) -> None:
    url = proxy.url + "/v1/models"
    for headers in (
        {"authorization": "bearer s3same"}, {"authorization": "BEARER  s3same"}, {"api-key": "s3same"},
        {"authorization": "Bearer other", "api-key": "s3same"},
    ):  # fmt: skip
        assert httpx.get(url, headers=headers).status_code == 404
    assert all("api-key" not in request.headers for request in door.requests)
    for headers in ({"authorization": "s3same"}, {"authorization": "Basic s3same"}, {"api-key": ""}, {"api-key": "x"}):
        assert httpx.get(url, headers=headers).status_code == 401


@pytest.mark.parametrize("proxy", [[], ["--token", "s3same"]], indirect=True, ids=["open", "token"])
def test_proxy_answers_odd_requests_in_openai_shape(door: Door, proxy: Running, request: pytest.FixtureRequest) -> None:
    with_token = "token" in request.node.name
    head = b"Host: localhost\r\nConnection: close\r\n"
    for odd, status in (
        (b"GET /v1/models HTTP/1.1\r\n" + head + b"Authorization: Bearer \xe9\xff\r\n\r\n", 401 if with_token else 404),
        (b"GET http://localhost/v1/models HTTP/1.1\r\n" + head + b"\r\n", 400),
        (b"GET http://evil.example/v1/models HTTP/1.1\r\n" + head + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + head + b"\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\n" + head + b"Content-Type: caf\xe9\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.0\r\n\r\n", 403),
        (b"GET /v1/models HTTP/1.1\r\nHost: \xe9vil\r\nConnection: close\r\n\r\n", 403),
    ):
        answered, body = proxy.exchange(odd)
        assert (answered, odd) == (status, odd)
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_proxy_passes_bytes_above_ascii_on(door: Door, proxy: Running) -> None:
    head = b"Host: localhost\r\nConnection: close\r\nX-Title: caf\xe9\r\nX-Name: caf\xc3\xa9\r\n\r\n"
    assert proxy.exchange(b"GET /v1/models HTTP/1.1\r\n" + head)[0] == 404
    assert dict(door.requests[0].raw_headers)[b"X-Name"] == b"caf\xc3\xa9"


def test_proxy_leaves_no_traceback_of_what_is_no_http(door: Door) -> None:
    with started(door.url, stderr=subprocess.PIPE) as running:
        for odd in (
            b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"GET /v1/caf\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ):
            assert running.exchange(odd)[0] == 400
        running.process.send_signal(signal.SIGTERM)
        assert running.process.stderr is not None
        assert running.process.stderr.read() == ""


@pytest.mark.parametrize("proxy", [[], ["--token", "s3same"]], indirect=True, ids=["open", "token"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "https://evil.example", "sec-fetch-site": "none"},
        {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.nip.io"},
    ],
)
def test_proxy_refuses_foreign_pages_and_rebound_names(door: Door, proxy: Running, headers: dict[str, str]) -> None:
    authorization = {"authorization": "Bearer s3same"}
    answer = httpx.post(proxy.url + CHAT, json=unsigned(), headers={**authorization, **headers})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    preflight = httpx.options(proxy.url + CHAT, headers={**headers, "access-control-request-method": "POST"})
    assert preflight.status_code == 403
    assert door.requests == []


def test_proxy_answers_websockets_with_426_before_it_signs(door: Door, proxy: Running) -> None:
    upgrade = {"connection": "Upgrade", "sec-websocket-key": "eA==", "sec-websocket-version": "13"}
    answer = httpx.get(proxy.url + "/v1/responses", headers={**upgrade, "upgrade": "WebSocket"})
    assert answer.status_code == 426
    assert answer.json()["error"]["code"] == "websockets_not_supported"
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("HTTP/1.1", "upgrade")
    assert door.requests == []
    # Java's HTTP client offers HTTP/2 with each first request.
    assert httpx.get(proxy.url + "/v1/models", headers={**upgrade, "upgrade": "h2c"}).status_code == 404


@pytest.mark.parametrize("proxy", [["--sign-host", "other.example"]], indirect=True)
def test_proxy_words_awss_refusals_as_openais_errors(door: Door, proxy: Running) -> None:
    answer = httpx.post(proxy.url + CHAT, json=unsigned())
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith("AWS: Forbidden: ")
    assert "lambda:InvokeFunctionUrl" in answer.json()["error"]["message"]


class CompanyProxy:
    """Notes whom it is asked to connect with, and refuses."""

    def __enter__(self) -> CompanyProxy:
        self.heads: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.heads.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", "http://user:pass@", ""])
def test_proxy_goes_through_the_companys(monkeypatch: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    with CompanyProxy() as company:
        monkeypatch.setenv(name, scheme + company.address)
        with started(DISTRIBUTION) as running:
            answer = httpx.get(running.url + "/v1/models", trust_env=False)
    assert answer.status_code == 502
    (head,) = company.heads
    assert head.startswith(f"CONNECT abc.lambda-url.{REGION}.on.aws:443 HTTP/1.1\r\n".encode())
    assert (b"\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n" in head.lower()) == ("user" in scheme)


def test_proxy_leaves_the_companys_out_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, door: Door
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with CompanyProxy() as company:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{company.address}")
        with started(door.url) as running:  # this machine
            assert httpx.get(running.url + "/v1/models", trust_env=False).status_code == 404
        monkeypatch.setenv("NO_PROXY", "example.com,.on.aws")
        with started(DISTRIBUTION) as running:
            answer = httpx.get(running.url + "/v1/models", trust_env=False)
    assert (answer.status_code, company.heads) == (502, [])
    assert "cannot be reached" in answer.json()["error"]["message"]
