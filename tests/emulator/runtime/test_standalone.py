"""The Runtime API alone, as tests of a runtime client use it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from emulator.runtime.invocation import Ending
from emulator.runtime.response_body import EarlyRefusal
from emulator.runtime.standalone import RuntimeApiOnly

BASE = "/2018-06-01/runtime"


@pytest.fixture
def api() -> Iterator[RuntimeApiOnly]:
    with RuntimeApiOnly() as running:
        yield running


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def connect(api: RuntimeApiOnly) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(api.address, timeout=10)


def take_next(client: http.client.HTTPConnection) -> tuple[dict[str, str], bytes]:
    client.request("GET", f"{BASE}/invocation/next")
    response = client.getresponse()
    assert response.status == 200
    return {name.lower(): text for name, text in response.getheaders()}, response.read()


def respond(
    client: http.client.HTTPConnection, request_id: str, body: bytes, **headers: str
) -> tuple[int, dict[str, str]]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    client.request("POST", f"{BASE}/invocation/{request_id}/response", body=body, headers=named)
    response = client.getresponse()
    return response.status, json.loads(response.read())


def test_an_invocation_there_and_back(api: RuntimeApiOnly) -> None:
    coming = api.begin(b'{"x":1}')
    client = connect(api)
    headers, event = take_next(client)
    assert event == b'{"x":1}'
    status, body = respond(client, headers["lambda-runtime-aws-request-id"], b"hello", Content_Type="text/plain")
    received = coming.result(5)
    client.close()
    assert (status, body) == (202, {"status": "OK"})
    assert (received.outcome.ending, received.data, received.content_type) == (Ending.COMPLETE, b"hello", "text/plain")
    assert api.calls() == ["GET next", "POST response 202"]


def test_next_waits_and_survives_a_client_that_gave_up_waiting(api: RuntimeApiOnly) -> None:
    impatient = connect(api)
    impatient.request("GET", f"{BASE}/invocation/next")
    eventually(api.waiting)
    impatient.close()
    eventually(lambda: not api.waiting())
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    respond(client, headers["lambda-runtime-aws-request-id"], b"x")
    client.close()
    assert coming.result(5).data == b"x"


def test_a_response_without_an_invocation_is_forbidden(api: RuntimeApiOnly) -> None:
    client = connect(api)
    status, body = respond(client, "some-id", b"x")
    client.close()
    assert (status, body["errorType"]) == (403, "InvalidStateTransition")


def test_a_second_response_is_forbidden(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    codes = [respond(client, headers["lambda-runtime-aws-request-id"], b"x")[0] for _ in range(2)]
    client.close()
    assert codes == [202, 403]
    assert coming.result(5).outcome.ending is Ending.COMPLETE


def test_a_buffered_response_over_six_megabytes_is_a_413(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    status, body = respond(client, headers["lambda-runtime-aws-request-id"], b"x" * (7 * 1024 * 1024))
    client.close()
    assert (status, body["errorType"]) == (413, "RequestEntityTooLarge")
    assert coming.result(5).outcome.ending is Ending.REFUSED


def test_a_superseded_invocation_is_a_410_and_next_goes_on(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    api.supersede()
    echo = {"Lambda_Runtime_Invocation_Id": headers["lambda-runtime-invocation-id"]}
    status, _ = respond(client, headers["lambda-runtime-aws-request-id"], b"x", **echo)
    assert status == 410
    assert coming.result(5).outcome.ending is Ending.REFUSED
    again = api.begin(b"{}")
    headers, _ = take_next(client)
    respond(client, headers["lambda-runtime-aws-request-id"], b"y")
    client.close()
    assert again.result(5).data == b"y"


def test_an_early_refusal_arrives_while_the_body_is_still_written(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    api.refuse_next_response(EarlyRefusal(status=413, error_type="TooLarge", after_bytes=3))
    client.putrequest("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response")
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    client.send(b"5\r\nhello\r\n")
    response = client.getresponse()
    assert response.status == 413
    assert coming.result(5).data == b"hello"
    client.close()


def test_a_malformed_chunk_is_a_truncated_request(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    client.putrequest("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response")
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    client.send(b"zz\r\n")
    assert client.getresponse().status == 400
    assert coming.result(5).outcome.error_type == "TruncatedHTTPRequest"
    client.close()


def test_trailers_are_read_and_a_wrong_error_type_is_named(api: RuntimeApiOnly) -> None:
    coming = api.begin(b"{}")
    client = connect(api)
    headers, _ = take_next(client)
    client.putrequest("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response")
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    client.send(b"1\r\nx\r\n0\r\nLambda-Runtime-Function-Error-Type: oops\r\n\r\n")
    assert client.getresponse().status == 202
    client.close()
    outcome = coming.result(5).outcome
    assert outcome.ending is Ending.TRAILERS
    assert "'oops' is not of the form" in outcome.error_type


def test_an_init_error_is_taken_once_and_only_at_the_start(api: RuntimeApiOnly) -> None:
    client = connect(api)
    codes = []
    for _ in range(2):
        client.request("POST", f"{BASE}/init/error", body=b"{}")
        response = client.getresponse()
        response.read()
        codes.append(response.status)
    client.close()
    assert codes == [202, 403]
    assert api.api.init_error is not None


def test_unknown_paths_are_a_404(api: RuntimeApiOnly) -> None:
    client = connect(api)
    client.request("GET", "/2018-06-01/elsewhere")
    assert client.getresponse().status == 404
    client.close()


def test_two_hundred_invocations_leave_nothing_behind(api: RuntimeApiOnly) -> None:
    client = connect(api)
    before = threading.active_count()
    for number in range(200):
        coming = api.begin(b"{}")
        headers, _ = take_next(client)
        respond(client, headers["lambda-runtime-aws-request-id"], str(number).encode())
        assert coming.result(5).data == str(number).encode()
    client.close()
    assert threading.active_count() <= before + 1
