"""The local Lambda, driven over its real sockets, with a raw runtime client as the function."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from emulator.front.delivery import Disconnects
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function, Idle
from emulator.runtime.response_body import EarlyRefusal

DOUBLE = pathlib.Path(__file__).parent.parent / "support" / "doubles" / "raw_runtime.py"
PLAIN = [["begin", None], ["write", "data: 1\n\n"], ["write", "data: 2\n\n"], ["end", None]]


def function(**limits: Any) -> Function:
    return Function(command=(sys.executable, "-I", "-S", str(DOUBLE)), task_root=DOUBLE.parent, **limits)


@pytest.fixture
def one() -> Iterator[LocalLambda]:
    with LocalLambda(function(concurrency=1, timeout=20)) as running:
        yield running


def send(running: LocalLambda, steps: list[Any], **changes: Any) -> httpx.Response:
    body = json.dumps({"do": steps}).encode()
    path = changes.pop("path", "/v1/chat/completions")
    headers = {"content-type": "application/json", **changes.pop("headers", {})}
    signed = running.sign("POST", path, body=body, headers=headers, **changes)
    return httpx.post(running.url + path, content=body, headers=signed, timeout=20)


@contextlib.contextmanager
def stream(running: LocalLambda, steps: list[Any]) -> Iterator[httpx.Response]:
    body = json.dumps({"do": steps}).encode()
    headers = running.sign("POST", "/v1/x", body=body, headers={"content-type": "application/json"})
    with (
        httpx.Client(timeout=20) as client,
        client.stream("POST", running.url + "/v1/x", content=body, headers=headers) as response,
    ):
        yield response


def test_passes_status_headers_cookies_and_body(one: LocalLambda) -> None:
    prelude = {
        "statusCode": 201,
        "headers": {
            "content-type": "text/plain",
            "x-a": "1",
            "content-length": "5",
            "transfer-encoding": "x",
        },
        "multiValueHeaders": {"x-b": ["2", "3"]},
        "cookies": ["a=1; Secure", "b=2"],
    }
    response = send(one, [["begin", prelude], ["write", "hello"], ["end", None]])
    assert (response.status_code, response.text) == (201, "hello")
    assert response.headers["x-a"] == "1"
    assert response.headers.get_list("x-b") == ["2", "3"]
    assert response.headers.get_list("set-cookie") == ["a=1; Secure", "b=2"]
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers
    assert one.logs.wait_for(lambda line: 'reply 202 {"status":"OK"}' in line.text)


def test_finds_the_prelude_in_any_chunking(one: LocalLambda) -> None:
    response = send(one, [["begin_in_pieces", None], ["write", "x"], ["end", None]])
    assert (response.status_code, response.text) == (200, "x")
    assert response.headers["content-type"] == "text/event-stream"


def test_passes_bytes_on_as_they_come(one: LocalLambda) -> None:
    slow = [["begin", None], ["write", "a"], ["sleep", 0.3], ["write", "b"], ["sleep", 0.3], ["write", "c"]]
    began = time.monotonic()
    with stream(one, [*slow, ["end", None]]) as response:
        arrivals = [(data, time.monotonic() - began) for data in response.iter_raw()]
    assert b"".join(data for data, _ in arrivals) == b"abc"
    assert len(arrivals) == 3
    assert arrivals[1][1] - arrivals[0][1] > 0.2
    assert arrivals[2][1] - arrivals[1][1] > 0.2


def test_sends_status_before_the_first_body_byte(one: LocalLambda) -> None:
    with stream(one, [["begin", None], ["sleep", 0.5], ["write", "a"], ["end", None]]) as response:
        headers_at = time.monotonic()
        response.read()
    assert time.monotonic() - headers_at > 0.3


def test_an_answer_that_is_no_prelude_is_passed_raw(one: LocalLambda) -> None:
    response = send(one, [["begin_plain", "text/csv"], ["write", "a,b"], ["end", None]])
    assert (response.status_code, response.text, response.headers["content-type"]) == (200, "a,b", "text/csv")


@pytest.mark.parametrize(
    "raw",
    [
        "not json" + "\0" * 8,
        '{"statusCode":"200"}' + "\0" * 8,
        '{"headers":{"a":1}}' + "\0" * 8,
        "x" * 17_000,
    ],
    ids=["not json", "status a string", "header a number", "too long"],
)
def test_an_invalid_prelude_is_a_502_and_said_in_the_log(one: LocalLambda, raw: str) -> None:
    assert send(one, [["begin_raw", raw], ["end", None]]).status_code == 502
    assert one.logs.wait_for(lambda line: "invalid prelude" in line.text)
    assert send(one, PLAIN).status_code == 200


def test_error_trailers_break_the_stream_after_all_that_was_written(one: LocalLambda) -> None:
    error = {"errorType": "Function.UpstreamCut", "errorMessage": "cut"}
    got = bytearray()

    def read_all() -> None:
        with stream(one, [["begin", None], ["write", "some"], ["fail", error]]) as response:
            for data in response.iter_raw():
                got.extend(data)

    with pytest.raises(httpx.RemoteProtocolError):
        read_all()
    assert got == b"some"
    assert one.logs.wait_for(lambda line: "error trailers Function.UpstreamCut" in line.text)
    assert send(one, PLAIN).text == "data: 1\n\ndata: 2\n\n"


def test_an_error_before_the_answer_is_a_502_without_its_text(one: LocalLambda) -> None:
    response = send(one, [["error", {"errorType": "Runtime.Bug", "errorMessage": "secret words"}]])
    assert (response.status_code, response.text) == (502, "Internal Server Error")
    assert one.counters()["function error"] == 1


def test_a_reset_in_the_answer_breaks_the_stream_and_the_process_goes_on(one: LocalLambda) -> None:
    with (
        pytest.raises(httpx.RemoteProtocolError),
        stream(one, [["begin", None], ["write", "some"], ["sleep", 0.1], ["reset", None]]) as response,
    ):
        response.read()
    pid = one.pids()
    assert send(one, PLAIN).status_code == 200
    assert one.pids() == pid


def test_a_process_killed_in_mid_stream_breaks_it_and_the_next_request_is_served(one: LocalLambda) -> None:
    with (
        pytest.raises(httpx.RemoteProtocolError),
        stream(one, [["begin", None], ["write", "some"], ["kill_self", None]]) as response,
    ):
        response.read()
    assert send(one, PLAIN).status_code == 200
    assert one.counters()["cold starts"] == 2


def test_the_time_out_kills_the_process_and_breaks_the_stream() -> None:
    with LocalLambda(function(concurrency=1, timeout=0.5)) as running:
        running.warm(1)
        pid = running.pids()[0]
        began = time.monotonic()
        with (
            pytest.raises(httpx.RemoteProtocolError),
            stream(running, [["begin", None], ["write", "some"], ["sleep", 60]]) as response,
        ):
            response.read()
        assert 0.4 < time.monotonic() - began < 2
        assert running.logs.wait_for(lambda line: "Task timed out after 0.50 seconds" in line.text)
        assert send(running, PLAIN).status_code == 200
        assert pid not in running.pids()


def test_a_time_out_before_the_answer_is_a_502() -> None:
    with LocalLambda(function(concurrency=1, timeout=0.3)) as running:
        assert send(running, [["sleep", 60]]).status_code == 502
        assert running.counters()["time-out"] == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"path": "invocation/00000000-0000-0000-0000-000000000000/response"}, "reply 400"),
        ({"Lambda_Runtime_Function_Response_Mode": "Streaming"}, "reply 400"),
        ({"Lambda_Runtime_Invocation_Id": "somebody-else"}, "reply 410"),
    ],
    ids=["wrong request id", "wrong mode", "stale invocation id"],
)
def test_a_wrong_response_is_refused(one: LocalLambda, changes: dict[str, str], expected: str) -> None:
    tail = [["error", {"errorType": "Runtime.Refused", "errorMessage": ""}]] if "410" not in expected else []
    response = send(one, [["begin_as", changes], ["end", None], *tail])
    assert response.status_code == 502
    assert one.logs.wait_for(lambda line: line.text.startswith(expected))
    assert send(one, PLAIN).status_code == 200


def test_next_with_an_invocation_open_is_refused(one: LocalLambda) -> None:
    assert send(one, [["next_now", None], *PLAIN]).status_code == 200
    assert one.logs.wait_for(lambda line: "next 403" in line.text and "InvalidStateTransition" in line.text)


def test_error_after_the_response_has_begun_is_refused(one: LocalLambda) -> None:
    error = {"errorType": "Runtime.Late", "errorMessage": ""}
    assert send(one, [*PLAIN, ["error", error]]).status_code == 200
    assert one.logs.wait_for(lambda line: "reply 403" in line.text)


def test_a_response_can_be_refused_early(one: LocalLambda) -> None:
    one.warm(1)
    one.refuse_next_response(EarlyRefusal(status=410, error_type="StaleInvocation", after_bytes=150))
    steps = [["begin", None], ["write", "x" * 200], ["read_reply", None], ["write", "more"]]
    with pytest.raises(httpx.RemoteProtocolError), stream(one, steps) as response:
        response.read()
    assert one.logs.wait_for(lambda line: line.text.startswith("reply 410"))


def test_more_requests_than_the_concurrency_allows_get_429() -> None:
    with LocalLambda(function(concurrency=2)) as running:
        running.warm(2)
        codes: list[int] = []

        def call() -> None:
            codes.append(send(running, [["begin", None], ["sleep", 1.0], ["write", "x"], ["end", None]]).status_code)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200, 200, 429]


def test_a_new_process_starts_only_when_none_is_idle() -> None:
    with LocalLambda(function(concurrency=3)) as running:
        for _ in range(5):
            assert send(running, PLAIN).status_code == 200
        assert running.counters()["cold starts"] == 1
        assert len(running.pids()) == 1


@pytest.mark.parametrize("init", ["exit", "error"])
def test_a_failed_init_is_a_502(init: str) -> None:
    with LocalLambda(function(environment={"INIT": init})) as running:
        assert send(running, PLAIN).status_code == 502
        assert running.counters()["init error"] == 1
        assert send(running, PLAIN).status_code == 502


def test_a_command_that_does_not_exist_is_a_502_that_the_log_explains() -> None:
    broken = Function(command=("/nowhere/bootstrap",), task_root=DOUBLE.parent)
    with LocalLambda(broken) as running:
        assert send(running, PLAIN).status_code == 502
        assert "/nowhere/bootstrap" in running.logs.text()


def test_init_has_a_time_limit() -> None:
    with LocalLambda(function(environment={"INIT": "hang"}, init_timeout=0.3)) as running:
        assert send(running, PLAIN).status_code == 502


def test_the_leaving_caller_is_hidden_from_the_function(one: LocalLambda) -> None:
    many = [["begin", None], ["write_many", ["x" * 100_000, 50, 0.005]], ["end", None]]
    with stream(one, many) as response:
        next(response.iter_raw())
    assert one.logs.wait_for(lambda line: line.text == "all written")
    assert one.logs.wait_for(lambda line: line.text.startswith("reply 202"))


def test_the_leaving_caller_can_be_made_visible() -> None:
    with LocalLambda(function(concurrency=1), disconnects=Disconnects.TOLD) as running:
        with stream(running, [["begin", None], ["write", "x"], ["wait_for_hang_up", None]]) as response:
            next(response.iter_raw())
        assert running.logs.wait_for(lambda line: line.text == "hung up: True")
        assert send(running, PLAIN).status_code == 200


def test_a_slow_caller_slows_the_function_down(one: LocalLambda) -> None:
    flood = json.dumps({"do": [["begin", None], ["write_many", ["x" * 1_000_000, 30, 0]], ["end", None]]}).encode()
    headers = one.sign("POST", "/v1/x", body=flood, headers={"content-type": "application/json"})
    with socket.create_connection(("127.0.0.1", one.port)) as caller:
        lines = [f"{name}: {text}" for name, text in headers.items()]
        host = [] if any(name.lower() == "host" for name in headers) else [f"Host: 127.0.0.1:{one.port}"]
        head = ["POST /v1/x HTTP/1.1", *host, *lines, f"Content-Length: {len(flood)}"]
        caller.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + flood)
        caller.recv(10)
        with pytest.raises(TimeoutError):
            one.logs.wait_for(lambda line: line.text == "all written", timeout=0.5)
        while caller.recv(1 << 20):
            if any(line.text == "all written" for line in one.logs.lines()):
                break
        assert one.logs.wait_for(lambda line: line.text == "all written")


def ticks(running: LocalLambda) -> int:
    return sum(line.text == "tick" for line in running.logs.lines())


def test_between_invocations_the_process_is_frozen(one: LocalLambda) -> None:
    assert send(one, [["tick", 60], ["begin", None], ["sleep", 0.2], ["write", "x"], ["end", None]]).status_code == 200
    state = pathlib.Path(f"/proc/{one.pids()[0]}/stat")
    eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    before = ticks(one)
    assert before > 5
    time.sleep(0.2)
    assert ticks(one) - before <= 1  # one may have been on its way
    assert send(one, [["begin", None], ["sleep", 0.2], ["write", "x"], ["end", None]]).status_code == 200
    assert ticks(one) > before + 5


def test_a_function_may_be_left_awake() -> None:
    with LocalLambda(function(concurrency=1, idle=Idle.AWAKE)) as running:
        assert send(running, [["tick", 60], *PLAIN]).status_code == 200
        before = ticks(running)
        eventually(lambda: ticks(running) > before + 5)


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_caller_who_speaks_http_1_0_gets_an_answer_that_ends_with_the_connection(one: LocalLambda) -> None:
    body = json.dumps({"do": PLAIN}).encode()
    headers = one.sign("POST", "/v1/x", body=body, headers={"content-type": "application/json"})
    lines = [f"{name}: {text}" for name, text in headers.items() if name.lower() != "host"]
    head = ["POST /v1/x HTTP/1.0", f"Host: 127.0.0.1:{one.port}", *lines, f"Content-Length: {len(body)}"]
    with socket.create_connection(("127.0.0.1", one.port)) as caller, caller.makefile("rb") as answer:
        caller.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        assert answer.read().endswith(b"\r\n\r\ndata: 1\n\ndata: 2\n\n")


def test_the_process_sees_lambdas_environment_and_nothing_of_the_developers() -> None:
    settings = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    with LocalLambda(function(environment=settings, memory=256, region="eu-west-1", name="relay")) as running:
        seen: dict[str, str] = send(running, [["echo", "environment"]]).json()
    assert (
        seen.items()
        >= {
            "AWS_REGION": "eu-west-1",
            "AWS_LAMBDA_FUNCTION_NAME": "relay",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "LAMBDA_TASK_ROOT": str(DOUBLE.parent),
            "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
            "TZ": ":UTC",
        }.items()
    )
    leaked = {name for name, text in seen.items() if os.environ.get(name) == text} - {"LANG", "TZ", "PATH"}
    assert leaked - {"LC_CTYPE"} == set()
    assert seen["HOME"] != os.environ.get("HOME")


def test_next_carries_deadline_arn_and_trace(one: LocalLambda) -> None:
    headers = send(one, [["echo", "headers"]]).json()
    left = int(headers["lambda-runtime-deadline-ms"]) / 1000 - time.time()
    assert 15 < left <= 20
    assert headers["lambda-runtime-invoked-function-arn"].startswith("arn:aws:lambda:eu-central-1:")
    assert headers["lambda-runtime-trace-id"].startswith("Root=1-")


def test_output_of_the_process_reaches_the_log(one: LocalLambda) -> None:
    assert send(one, [["say", "hello from the function"], *PLAIN]).status_code == 200
    assert one.logs.wait_for(lambda line: (line.source, line.text) == ("stdout", "hello from the function"))
    assert one.logs.wait_for(lambda line: (line.source, line.text) == ("stderr", "hello from the function"))
    assert {line.pid for line in one.logs.lines("stdout")} == set(one.pids())


def test_a_body_over_six_megabytes_is_a_413(one: LocalLambda) -> None:
    body = b"x" * (6 * 1024 * 1024 + 1)
    headers = one.sign("POST", "/v1/x", body=body)
    assert httpx.post(one.url + "/v1/x", content=body, headers=headers, timeout=20).status_code == 413
    assert one.pids() == []


def test_stopping_leaves_no_process_behind() -> None:
    with LocalLambda(function(concurrency=2)) as running:
        running.warm(2)
        pids = running.pids()
    assert len(pids) == 2
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
