"""Every listener of `make local` and `make demo` against those it is not for: other programs, web pages, rebound names.

The table of docs/local-lambda.md names the tests of this file.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from emulator.fakes.aws import AwsStandIn
from emulator.front.cloudfront import Edge
from emulator.local_lambda import LocalLambda
from emulator.openai.stand_in import OpenAIStandIn
from emulator.runtime.function import Function
from emulator.signing.identities import Identity, local_role_session, local_user

DOUBLE = Path(__file__).parent.parent / "support" / "doubles" / "raw_runtime.py"
USER, ROLE = local_user(), local_role_session()
KEY = "sk-the-real-key"
DOORS = ("function url", "edge", "invoke api", "aws", "openai")


@dataclass(frozen=True, slots=True)
class Everything:
    local: LocalLambda
    aws: AwsStandIn
    openai: OpenAIStandIn
    secret: str

    def port(self, door: str) -> int:
        urls = {
            "function url": self.local.url,
            "edge": self.local.edge_url,
            "invoke api": self.local.invoke_url,
            "aws": self.aws.url,
            "openai": self.openai.url.removesuffix("/v1"),
        }
        return int(urls[door].rpartition(":")[2])


@pytest.fixture(scope="module")
def everything() -> Iterator[Everything]:
    function = Function(
        command=(sys.executable, "-I", "-S", str(DOUBLE)),
        task_root=DOUBLE.parent,
        environment={"STEPS": json.dumps([["echo", "event"]])},
    )
    edge = Edge(header="x-origin", secret=lambda: "s")
    with (
        AwsStandIn() as aws,
        OpenAIStandIn(key=KEY) as openai,
        LocalLambda(function, identities=(USER, ROLE), direct_invokers=(USER,), edge=edge) as local,
    ):
        yield Everything(local, aws, openai, aws.put_secret(KEY))


def exchange(port: int, request: bytes) -> tuple[int, str]:
    """The status and the whole text of what came back for the bytes of one request."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = "".join(f"{name}: {text}\n" for name, text in response.getheaders())
        return response.status, headers + response.read().decode("utf-8", "replace")


def head(method: str, target: str, *lines: bytes, host: str = "127.0.0.1") -> bytes:
    fixed = [f"{method} {target} HTTP/1.1".encode(), f"Host: {host}".encode(), b"Connection: close"]
    return b"\r\n".join([*fixed, *lines]) + b"\r\n\r\n"


# -- web pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1"])
def test_a_name_that_was_rebound_to_this_machine_is_refused(everything: Everything, door: str, host: str) -> None:
    status, text = exchange(everything.port(door), head("GET", "/v1/models", host=host))
    assert status == 403
    assert "send them to 127.0.0.1:" in text


@pytest.mark.parametrize("door", DOORS)
def test_a_rebound_name_is_refused_even_when_it_is_signed(everything: Everything, door: str) -> None:
    signed = USER.sign("GET", "http://evil.example/v1/models", region="eu-central-1")
    lines = [f"{name}: {text}".encode() for name, text in signed.items()]
    status, _ = exchange(everything.port(door), head("GET", "/v1/models", *lines, host="evil.example"))
    assert status == 403


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_a_page_of_another_origin_may_neither_call_nor_read(everything: Everything, door: str, method: str) -> None:
    """POST as text/plain is what a page may send anywhere without asking."""
    lines = [b"Origin: https://evil.example", b"Content-Type: text/plain", b"Access-Control-Request-Method: POST"]
    status, text = exchange(everything.port(door), head(method, "/", *lines, b"Content-Length: 0"))
    assert status in (400, 401, 403)
    assert "access-control" not in text.lower()


# -- what is no request to a door ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("target", ["http://127.0.0.1/v1/models", "https://api.openai.com/v1/models", "*"])
def test_a_target_that_is_no_path_is_a_400(everything: Everything, door: str, target: str) -> None:
    status, text = exchange(everything.port(door), head("OPTIONS" if target == "*" else "GET", target))
    assert status == 400
    assert '"Message"' in text


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: AWS4-HMAC-SHA256 Credential=\xff\xfe/20260101/eu-central-1/lambda/aws4_request, "
        b"SignedHeaders=host;x-amz-date, Signature=\xff",
        b"Authorization: Gr\xfc\xdfe",
        b"X-Amz-Security-Token: \xff\xc3\xa9",
        b"X-Amz-Date: \xff",
        b"X-Amz-Target: \xff.GetSecretValue",
    ],
    ids=["credential", "authorization", "token", "date", "target"],
)
def test_bytes_above_ascii_are_refused_in_awss_words(
    everything: Everything, door: str, line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    signed = ROLE.sign("POST", f"http://127.0.0.1:{everything.port(door)}/", region="eu-central-1")
    name = line.partition(b":")[0].lower()
    others = [f"{key}: {text}".encode() for key, text in signed.items() if key.lower().encode() != name]
    status, text = exchange(everything.port(door), head("POST", "/", line, *others, b"Content-Length: 0"))
    assert status in (400, 401, 403)
    assert '"message"' in text.lower()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"G\xff / HTTP/1.1\r\n\r\n",
    ],
    ids=["header", "TLS", "method"],
)
def test_what_is_not_http_is_a_400_without_a_traceback(
    everything: Everything, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    status, text = exchange(everything.port("function url"), request_bytes + b"\r\n\r\n")
    assert status == 400
    assert "trouble" not in text
    assert "Traceback" not in capfd.readouterr().err


# -- bodies as they were sent --------------------------------------------------------------------------------------------

PLAIN = b'{"model":"gpt-5-mini"}'


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        ("zstd", b"\x28\xb5\x2f\xfd" + PLAIN),
        ("br", b"\x0b\x0a\x80" + PLAIN),
        ("gzip", PLAIN),
        ("unheard-of", PLAIN),
    ],
    ids=["gzip", "deflate", "zstd", "br", "false gzip", "unknown"],
)
@pytest.mark.parametrize("door", ["function url", "edge"])
def test_a_body_reaches_the_function_as_it_was_signed(
    everything: Everything, door: str, coding: str, body: bytes
) -> None:
    headers = {"content-type": "application/json", "content-encoding": coding}
    signed = everything.local.sign("POST", "/v1/x", body=body, headers=headers)
    response = httpx.post(f"http://127.0.0.1:{everything.port(door)}/v1/x", content=body, headers=signed, timeout=30)
    assert response.status_code == 200
    event = json.loads(response.content)
    given = event["body"].encode()
    assert (base64.b64decode(given) if event["isBase64Encoded"] else given) == body
    assert event["headers"]["content-encoding"] == coding


def test_a_path_with_two_slashes_is_signed_as_one_and_passed_on_as_it_is(everything: Everything) -> None:
    signed = everything.local.sign("GET", "//v1/models")
    response = httpx.get(everything.local.url + "//v1/models", headers=signed, timeout=30)
    assert (response.status_code, json.loads(response.content)["rawPath"]) == (200, "//v1/models")


# -- other programs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_on_the_loopback_interface_only(everything: Everything, door: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", everything.port(door)), timeout=5)


def ask_aws(
    everything: Everything, who: Identity | None, service: str, target: str, region: str = "eu-central-1"
) -> httpx.Response:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
    body = json.dumps({"SecretId": everything.secret}).encode()
    url = f"{everything.aws.url}/"
    signed = who.sign("POST", url, region=region, body=body, headers=headers, service=service) if who else headers
    return httpx.post(url, content=body, headers=signed)


READ = "secretsmanager.GetSecretValue"


@pytest.mark.parametrize("who", ["function", "operator"])
def test_the_aws_stand_in_serves_the_holders_of_this_runs_credentials(everything: Everything, who: str) -> None:
    response = ask_aws(everything, getattr(everything.aws, who), "secretsmanager", READ)
    assert response.json()["SecretString"] == KEY
    assert "access-control-allow-origin" not in response.headers


def with_secret(identity: Identity, secret: str) -> Identity:
    return Identity(access_key=identity.access_key, secret_key=secret, unique_id="AIDAX", arn="arn:aws:iam::1:user/x")


@pytest.mark.parametrize(
    "attempt",
    [
        lambda it: ask_aws(it, None, "secretsmanager", READ),
        lambda it: ask_aws(it, with_secret(local_user(), "local"), "secretsmanager", READ),
        lambda it: ask_aws(it, with_secret(it.aws.operator, "local-function-secret"), "secretsmanager", READ),
        lambda it: ask_aws(it, with_secret(it.aws.function, it.aws.function.secret_key), "secretsmanager", READ),
        lambda it: ask_aws(it, it.local.identities[0], "secretsmanager", READ),
        lambda it: ask_aws(it, it.aws.operator, "dynamodb", READ),
        lambda it: ask_aws(it, it.aws.operator, "secretsmanager", READ, region="us-east-1"),
        lambda it: ask_aws(it, it.aws.operator, "sts", "AWSSecurityTokenServiceV20110615.GetCallerIdentity"),
        lambda it: httpx.post(f"{it.aws.url}/2015-03-31/functions", json={"FunctionName": "f"}),
        lambda it: httpx.post(f"{it.aws.url}/_ministack/reset"),
        lambda it: httpx.get(f"{it.aws.url}/_ministack/health"),
        lambda it: httpx.put(f"{it.aws.url}/bucket"),
    ],
    ids=[
        "unsigned",
        "made-up credentials",
        "a key's name with another secret",
        "without the session token",
        "a caller of the Function URL",
        "another service's scope",
        "another region",
        "another service",
        "Lambda's API",
        "MiniStack's reset",
        "MiniStack's health",
        "S3",
    ],
)
def test_nobody_else_reads_from_the_aws_stand_in(
    everything: Everything, attempt: Callable[[Everything], httpx.Response]
) -> None:
    response = attempt(everything)
    assert response.status_code in (400, 403)
    assert KEY not in response.text


def test_ministack_is_one_process_that_ends_with_ours(everything: Everything) -> None:
    """The kernel kills our children when we are killed, and theirs not."""
    (task,) = Path(f"/proc/{everything.aws.pid}/task").glob(str(everything.aws.pid))
    assert task.joinpath("children").read_text().split() == []


def test_ministack_itself_listens_where_only_this_user_can_go(everything: Everything) -> None:
    descriptors = {path.readlink().name for path in Path(f"/proc/{everything.aws.pid}/fd").iterdir()}
    inodes = {name.removeprefix("socket:[").rstrip("]") for name in descriptors if name.startswith("socket:[")}
    for table in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        assert not [row for row in rows if row[9] in inodes and row[3] == "0A"]
    (path,) = {
        row[-1]
        for row in (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
        if row[6] in inodes and row[-1].endswith("/socket")
    }
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("key", ["", "sk-wrong", KEY.upper()])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/__aimock/journal", "/health"])
def test_the_openai_stand_in_serves_whoever_has_this_runs_key(everything: Everything, key: str, path: str) -> None:
    origin = everything.openai.url.removesuffix("/v1")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    assert httpx.post(origin + path, json={"model": "m"}, headers=headers).status_code == 401
    assert httpx.get(origin + "/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


def runtime_api(local: LocalLambda) -> str:
    """The address as the function's process was told it."""
    (pid, *_) = local.pids()
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (address,) = [text.partition(b"=")[2].decode() for text in variables if text.startswith(b"AWS_LAMBDA_RUNTIME_API=")]
    return address


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "invocation/next"), ("POST", "init/error"), ("POST", "invocation/x/response")]
)
def test_no_other_program_speaks_to_the_runtime_api(everything: Everything, method: str, path: str) -> None:
    everything.local.warm(1)
    with pytest.raises(httpx.TransportError):
        httpx.request(method, f"http://{runtime_api(everything.local)}/2018-06-01/runtime/{path}", timeout=10)
    assert httpx.get(everything.local.url + "/v1/x", headers=everything.local.sign("GET", "/v1/x")).status_code == 200


def test_only_the_direct_invokers_reach_the_invoke_api(everything: Everything) -> None:
    url = f"{everything.local.invoke_url}/2015-03-31/functions/local/invocations"
    answers = {}
    for name, who in (("invoker", USER), ("other", ROLE), ("nobody", local_user(number=7))):
        answers[name] = httpx.post(url, content=b"{}", headers=who.sign("POST", url, region="eu-central-1", body=b"{}"))
    assert [answers[name].status_code for name in ("invoker", "other", "nobody")] == [200, 403, 403]
    assert httpx.post(url, content=b"{}").status_code == 403


def test_without_direct_invokers_there_is_no_invoke_api() -> None:
    function = Function(command=(sys.executable, "-I", "-S", str(DOUBLE)), task_root=DOUBLE.parent)
    with LocalLambda(function) as local, pytest.raises(LookupError):
        _ = local.invoke_url
