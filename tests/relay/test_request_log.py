"""The one line per request: its outcome from a fixed set, its metrics as CloudWatch takes them."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from relay.errors import ErrorKind, NotHttpError, Outcome, RelayError
from relay.lambda_runtime.errors import ResponseRefusedError, RuntimeApiError
from relay.log import Log
from relay.models import Caller, Delivery, Request, Usage
from relay.request_log import RequestLog, outcome_of

NOTHING = Delivery(status=0, body_bytes=0, first_byte_at=0.0)


class Written:
    """A record and the line it comes to."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        self.delivery = NOTHING
        log = Log("ERROR", fd=write_fd)  # no level silences what metrics, alarms and the dashboard live on
        self.record = RequestLog(request_id="id", function="relay", delivery=lambda: self.delivery, log=log)
        self._write_fd = write_fd

    def line(self, failure: BaseException | None = None) -> dict[str, Any]:
        self.record.write(failure)
        os.close(self._write_fd)
        with os.fdopen(self.read_fd) as lines:
            return dict(json.loads(lines.read()))


def test_a_good_answer_is_told_in_full() -> None:
    written = Written()
    caller = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn")
    written.record.request(Request(id="id", method="POST", path="/v1/responses", caller=caller), "hash")
    written.record.model("gpt-5", stream=True)
    written.record.upstream(200)
    written.record.response(Usage(input=5, cached_input=1, output=7, reasoning=2), None)
    written.record.settled("0.01")
    written.delivery = Delivery(status=200, body_bytes=5, first_byte_at=time.monotonic())
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
    written.record.response(Usage(input=5, output=7), None)
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
        (NotHttpError("no request"), "not_http"),
        (ValueError("the prompt"), "bug"),
        (KeyboardInterrupt(), "bug"),
    ],
)
def test_other_outcomes_are_few(failure: BaseException | None, outcome: str) -> None:
    assert outcome_of(failure) == outcome
    line = Written().line(failure)
    assert line["outcome"] == outcome
    assert line["Failures"] == int(outcome not in ("ok", "not_http"))
    assert "the prompt" not in json.dumps(line)


def test_no_two_outcomes_have_one_word() -> None:
    words = [outcome.word for outcome in Outcome] + [kind.name.lower() for kind in ErrorKind]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.spec.status >= 500])
def test_every_failure_of_ours_or_openais_is_counted(kind: ErrorKind) -> None:
    wanted_by_the_operator = {ErrorKind.SHUTDOWN, ErrorKind.STOPPED}
    assert Written().line(RelayError(kind))["Failures"] == int(kind not in wanted_by_the_operator)


@pytest.mark.parametrize("kind", ErrorKind)
def test_what_aws_stores_did_not_do_is_counted_apart(kind: ErrorKind) -> None:
    stores = {ErrorKind.KEY_UNAVAILABLE, ErrorKind.EDGE_UNAVAILABLE, ErrorKind.STORE_UNAVAILABLE}
    assert Written().line(RelayError(kind))["StoreFailures"] == int(kind in stores)


def test_a_refusal_is_no_failure() -> None:
    assert Written().line(RelayError(ErrorKind.BAD_REQUEST))["Failures"] == 0


def test_a_cut_stream_is_counted_and_its_cause_told() -> None:
    written = Written()
    written.delivery = NOTHING.changed(status=200)
    line = written.line(RelayError(ErrorKind.UPSTREAM_BROKEN, "public", log="reset " * 100))
    assert (line["StreamCuts"], line["Failures"]) == (1, 1)
    assert line["cause"].startswith("reset")
    assert len(line["cause"]) <= 300
    assert "public" not in json.dumps(line)


def test_an_error_in_the_stream_is_no_success() -> None:
    written = Written()
    written.delivery = NOTHING.changed(status=200)
    written.record.response(None, RelayError(ErrorKind.UPSTREAM_ERROR))
    line = written.line()
    assert (line["outcome"], line["StreamCuts"], line["Failures"]) == ("upstream_error", 1, 1)


def test_unknown_usage_is_not_zero_usage() -> None:
    written = Written()
    written.record.response(None, None)
    assert "InputTokens" not in written.line()


def test_long_names_are_cut() -> None:
    written = Written()
    caller = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn")
    written.record.request(Request(id="id", method="P" * 500, path="/" * 5000, caller=caller), "hash")
    written.record.model("m" * 5000, stream=False)
    line = written.line()
    assert (len(line["method"]), len(line["path"]), len(line["model"])) == (10, 100, 80)
