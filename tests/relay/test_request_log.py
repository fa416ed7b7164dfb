"""The one line per request: its outcome from a fixed set, its metrics as CloudWatch takes them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from relay import request_log
from relay.errors import ErrorKind, RelayError
from relay.lambda_runtime.client import ResponseRefusedError, RuntimeApiError
from relay.log import Log
from relay.models import Caller, Request, Usage
from relay.request_log import RequestLog, outcome_of

from tests.support.doubles.exchange import Wire

OUTCOMES = {"ok", "bug", "response_refused", "response_lost", *(kind.name.lower() for kind in ErrorKind)}


class Written:
    """A record and the line it comes to."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        self.wire = Wire()
        self.reply = self.wire.reply()
        self.record = RequestLog(request_id="id", function="relay", reply=self.reply, log=Log(fd=write_fd))
        self._write_fd = write_fd

    def line(self, failure: BaseException | None = None) -> dict[str, Any]:
        self.record.finish(failure)
        os.close(self._write_fd)
        with os.fdopen(self.read_fd) as lines:
            return dict(json.loads(lines.read()))


def test_a_good_answer_is_told_in_full() -> None:
    written = Written()
    caller = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn")
    written.record.request(Request(id="id", method="POST", path="/v1/responses", caller=caller), "hash")
    written.record.model("gpt-5", stream=True)
    written.record.upstream(200)
    written.record.usage(Usage(input=5, cached_input=1, output=7, reasoning=2))
    written.record.cost("0.01")
    written.reply.begin(200, {})
    written.reply.write(b"hello")
    line = written.line()
    assert (
        line.items()
        >= {
            "event": "request",
            "requestId": "id",
            "function": "relay",
            "method": "POST",
            "path": "/v1/responses",
            "caller": "hash",
            "model": "gpt-5",
            "stream": True,
            "upstreamStatus": 200,
            "InputTokens": 5,
            "OutputTokens": 7,
            "cachedTokens": 1,
            "reasoningTokens": 2,
            "usd": "0.01",
            "outcome": "ok",
            "status": 200,
            "Requests": 1,
            "Failures": 0,
            "StreamCuts": 0,
            "Bytes": 5,
        }.items()
    )
    assert line["TimeToFirstByte"] <= line["Duration"]


def test_metrics_are_numbers_that_are_really_in_the_line() -> None:
    written = Written()
    written.record.usage(Usage(input=5, output=7))
    line = written.line()
    [definition] = line["_aws"]["CloudWatchMetrics"]
    assert definition["Dimensions"] == [["function"]]
    assert line["function"] == "relay"
    names = [metric["Name"] for metric in definition["Metrics"]]
    assert {"Requests", "Failures", "Duration", "InputTokens", "OutputTokens"} <= set(names)
    assert "TimeToFirstByte" not in names
    assert all(isinstance(line[name], int | float) for name in names)
    assert line["_aws"]["Timestamp"] > 1_700_000_000_000


@pytest.mark.parametrize("kind", ErrorKind)
def test_an_expected_failure_is_named_by_its_kind(kind: ErrorKind) -> None:
    assert outcome_of(RelayError(kind)) == kind.name.lower()


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (None, "ok"),
        (ResponseRefusedError(413), "response_refused"),
        (RuntimeApiError("gone"), "response_lost"),
        (ValueError("the prompt"), "bug"),
        (KeyboardInterrupt(), "bug"),
    ],
)
def test_other_outcomes_are_few(failure: BaseException | None, outcome: str) -> None:
    assert outcome_of(failure) == outcome
    line = Written().line(failure)
    assert line["outcome"] == outcome
    assert line["Failures"] == int(outcome != "ok")
    assert "the prompt" not in json.dumps(line)


def test_what_counts_as_a_failure_is_an_outcome() -> None:
    assert request_log._OURS < OUTCOMES


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.spec.status >= 500])
def test_every_failure_of_ours_or_openais_is_counted(kind: ErrorKind) -> None:
    told = {ErrorKind.SHUTDOWN, ErrorKind.STOPPED, ErrorKind.INTERNAL}  # wanted by the operator; logged as "bug"
    assert Written().line(RelayError(kind))["Failures"] == int(kind not in told)


def test_a_refusal_is_no_failure() -> None:
    assert Written().line(RelayError(ErrorKind.BAD_REQUEST))["Failures"] == 0


def test_a_cut_stream_is_counted_and_its_cause_told() -> None:
    written = Written()
    written.reply.begin(200, {})
    line = written.line(RelayError(ErrorKind.UPSTREAM_BROKEN, "public", log="reset " * 100))
    assert (line["StreamCuts"], line["Failures"]) == (1, 1)
    assert line["cause"].startswith("reset")
    assert len(line["cause"]) <= 300
    assert "public" not in json.dumps(line)


def test_an_error_in_the_stream_is_no_success() -> None:
    written = Written()
    written.reply.begin(200, {})
    written.record.in_stream(RelayError(ErrorKind.UPSTREAM_ERROR))
    line = written.line()
    assert (line["outcome"], line["StreamCuts"], line["Failures"]) == ("upstream_error", 1, 1)


def test_unknown_usage_is_not_zero_usage() -> None:
    written = Written()
    written.record.usage(None)
    assert "InputTokens" not in written.line()


def test_long_names_are_cut() -> None:
    written = Written()
    caller = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn")
    written.record.request(Request(id="id", method="P" * 500, path="/" * 5000, caller=caller), "hash")
    written.record.model("m" * 5000, stream=False)
    line = written.line()
    assert (len(line["method"]), len(line["path"]), len(line["model"])) == (10, 100, 80)
