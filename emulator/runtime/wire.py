"""The parts of the Runtime API's wire that are pure: headers of `/next`, error trailers, error reports."""

from __future__ import annotations

import base64
import binascii
import json
import re

from emulator.runtime.invocation import Ending, Invocation, Outcome

# docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+\Z")
TRAILER_TYPE = b"lambda-runtime-function-error-type"
TRAILER_BODY = b"lambda-runtime-function-error-body"

VERSION = "/2018-06-01/runtime"
JSON = [("Content-Type", "application/json")]
ACCEPTED = b'{"status":"OK"}\n'


def error_body(kind: str, message: str) -> bytes:
    """The body of a refusal."""
    return json.dumps({"errorMessage": message, "errorType": kind}).encode() + b"\n"


def next_headers(invocation: Invocation) -> list[tuple[str, str]]:
    headers = [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", invocation.function_arn),
        ("Lambda-Runtime-Trace-Id", invocation.trace_id),
    ]
    if invocation.invocation_id:
        headers.append(("Lambda-Runtime-Invocation-Id", invocation.invocation_id))
    return headers


def outcome_of(trailers: dict[bytes, bytes]) -> Outcome:
    """The end of a streamed response: complete, or an error told in the trailers (its body is base64 of
    JSON).
    """
    if TRAILER_TYPE not in trailers and TRAILER_BODY not in trailers:
        return Outcome(ending=Ending.COMPLETE)
    error_type = trailers.get(TRAILER_TYPE, b"").decode("latin-1")
    if not ERROR_TYPE.match(error_type):
        error_type = f"Runtime.Unknown ({error_type!r} is not of the form Runtime.Xyz or Function.Xyz)"
    try:
        text = base64.b64decode(trailers.get(TRAILER_BODY, b""), validate=True).decode("utf-8", "replace")
    except binascii.Error:
        text = "the error body is not base64"
    return Outcome(ending=Ending.TRAILERS, error_type=error_type, message=text)


def error_outcome(ending: Ending, headers: dict[bytes, bytes], body: bytes) -> Outcome:
    error_type = headers.get(TRAILER_TYPE, b"Runtime.Unknown").decode("latin-1")
    return Outcome(ending=ending, error_type=error_type, message=body.decode("utf-8", "replace"))
