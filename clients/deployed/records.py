"""What the requests of this run have left in CloudWatch: their records, what Lambda says of them, and their metrics."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clients.deployed.deployment import Deployment
from clients.report import Finding, judged, observed, skipped

NAMESPACE = "OpenAILambdaRelay"
# What every record of a streamed response has: docs/monitoring.md, "The log".
FIELDS = ("timestamp", "level", "event", "requestId", "function", "method", "path", "caller", "model", "stream", "way",
          "outcome", "status", "upstreamStatus", "Requests", "Failures", "Duration", "TimeToFirstByte", "Bytes")  # fmt: skip
# Between the clocks of this machine and of AWS.
CLOCK_SECONDS = 60.0


@dataclass(slots=True)
class Notes:
    """What the other checks leave for this one: the ids of their requests by what they were, and a word to look for."""

    canary: str
    began: float = field(default_factory=time.time)
    ids: dict[str, str] = field(default_factory=dict)


def log(deployed: Deployment, notes: Notes) -> Iterator[Finding]:
    """The record of each request is there, whole, and holds nothing of the prompt."""
    if not notes.ids:
        yield skipped("each request leaves its record", "no request of this run was streamed")
        return
    group = deployed.configuration().get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{deployed.function}"
    found = {what: _record(deployed, group, id, notes) for what, id in notes.ids.items()}
    missing = [what for what, record in found.items() if record is None]
    yield judged("each request leaves its record in the log", not missing, f"{len(found)} requests, without: {missing}")
    records = {what: record for what, record in found.items() if record is not None}
    if "stream" in records:
        record = records["stream"]
        without = [name for name in FIELDS if name not in record]
        yield judged("a record has its fields", not without, f"{len(record)} fields, without: {without}")
    hits = _lines(deployed, group, notes.canary, notes)
    yield judged("the log holds nothing of a prompt", not hits, f"{len(hits)} lines have a word of this run's prompt")
    if "left" in records:
        record = records["left"]
        seen = f"outcome {record.get('outcome')}, {record.get('Bytes')} bytes, {record.get('Duration')} ms"
        yield observed("what a stream whose caller has left comes to", seen)
    if "cut" in records:
        yield from _report(deployed, group, notes)


def _report(deployed: Deployment, group: str, notes: Notes) -> Iterator[Finding]:
    """What Lambda itself made of the stream that was cut, which it hears in the trailers alone."""
    reports = [
        line for line in _lines(deployed, group, notes.ids["cut"], notes) if line.get("type") == "platform.report"
    ]
    promise = "Lambda counts a stream that was cut as an error"
    if not reports:
        yield skipped(promise, "the line platform.report has not come")
        return
    told = reports[0].get("record", {})
    yield judged(promise, told.get("status") == "error", f"status {told.get('status')}, {told.get('errorType', '')}")


def _record(deployed: Deployment, group: str, id: str, notes: Notes) -> Mapping[str, Any] | None:
    def find() -> Mapping[str, Any] | None:
        lines = _lines(deployed, group, id, notes)
        return next((line for line in lines if line.get("event") == "request"), None)

    return deployed.patiently(find)


def _lines(deployed: Deployment, group: str, term: str, notes: Notes) -> Sequence[Mapping[str, Any]]:
    """The lines since this run began that hold `term`, those that are JSON as their values."""
    began = int((notes.began - CLOCK_SECONDS) * 1000)
    found: list[Mapping[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = deployed.account.call(
            "logs", "filter_log_events", logGroupName=group, startTime=began, filterPattern=f'"{term}"', **token
        )
        found += [_parsed(one["message"]) for one in page["events"] if term in one["message"]]
        if not page.get("nextToken"):
            return found
        token = {"nextToken": page["nextToken"]}


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def metrics(deployed: Deployment, notes: Notes) -> Iterator[Finding]:
    """The records arrive as metrics: those that alarms and the dashboard read."""
    promise = "the requests of this run arrive as metrics"
    if not notes.ids:
        yield skipped(promise, "no request of this run was streamed")
        return
    wanted = len(notes.ids)
    sums = deployed.patiently(lambda: _enough(_sums(deployed, notes), wanted)) or _sums(deployed, notes)
    yield judged(
        promise,
        sums["Requests"] >= wanted and sums["TimeToFirstByte"] > 0,
        f"Requests {sums['Requests']:g} of {wanted}, TimeToFirstByte in {sums['TimeToFirstByte']:g} samples",
        "Look for lines with `_aws` in the log; metrics come out of them a minute or two later.",
        **{f"{name}_arrived": value for name, value in sums.items()},
    )


def _enough(sums: dict[str, float], wanted: int) -> dict[str, float] | None:
    return sums if sums["Requests"] >= wanted else None


def _sums(deployed: Deployment, notes: Notes) -> dict[str, float]:
    moment = datetime.datetime.now(datetime.UTC)
    began = datetime.datetime.fromtimestamp(notes.began - CLOCK_SECONDS, datetime.UTC).replace(second=0, microsecond=0)
    statistics = {"Requests": "Sum", "TimeToFirstByte": "SampleCount"}
    sums = {}
    for name, statistic in statistics.items():
        points = deployed.account.call(
            "cloudwatch", "get_metric_statistics", Namespace=NAMESPACE, MetricName=name,
            Dimensions=[{"Name": "function", "Value": deployed.function}], Period=60, Statistics=[statistic],
            StartTime=began, EndTime=moment + datetime.timedelta(minutes=1),
        )["Datapoints"]  # fmt: skip
        sums[name] = float(sum(point[statistic] for point in points))
    return sums
