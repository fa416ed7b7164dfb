"""The benchmark's stopwatch: that it sees a spoilt stream, reads ages right, and judges targets by the right parties."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import report, scale, simulate, stations, targets
from bench.fakes import aws, http1, runtime_api
from bench.fakes.events import DONE, SMALLEST, Stream, digest
from bench.run import summarise

STREAM = Stream(count=3, size=SMALLEST + 10)


def chunked(*contents: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(content), content) for content in contents)


def answer(*contents: bytes, at: int = 2_000) -> runtime_api.Answer:
    pieces = [chunked(content) for content in contents] + [b"0\r\n\r\n"]
    return runtime_api.Answer(path="/response", chunked=True, pieces=pieces, at=[at] * len(pieces))


def whole(sent: int = 1_000) -> list[bytes]:
    prelude = b'{"statusCode":200}' + bytes(8)
    return [prelude, *(STREAM.event(number, sent) for number in range(STREAM.count)), DONE]


def test_an_intact_stream_is_recognised_and_its_events_are_dated() -> None:
    seen = runtime_api.report(answer(*whole()), STREAM, sent=500, next_=3_000)
    assert (seen.intact, seen.problem) == (True, "")
    assert seen.latencies == [1_000] * 3
    assert (seen.sent, seen.first, seen.last, seen.next) == (500, 2_000, 2_000, 3_000)


def test_an_event_is_dated_by_the_read_in_which_it_ended() -> None:
    one = answer(*whole())
    one.at = list(range(2_000, 2_000 + 100 * len(one.pieces), 100))
    assert runtime_api.report(one, STREAM, sent=0, next_=0).latencies == [1_100, 1_200, 1_300]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda parts: parts[:2] + parts[3:],
        lambda parts: parts[:-1],
        lambda parts: [parts[0], parts[1].replace(b"gpt-4o", b"gpt-4p"), *parts[2:]],
        lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
        lambda parts: [parts[0].replace(b"200", b"503"), *parts[1:]],
        lambda parts: [parts[0].rstrip(b"\0"), *parts[1:]],
    ],
    ids=["lost", "cut", "changed", "swapped", "status", "no NULs"],
)
def test_a_spoilt_stream_is_noticed(spoil: Any) -> None:
    assert not runtime_api.report(answer(*spoil(whole())), STREAM, sent=0, next_=0).intact


def test_an_error_is_no_answer() -> None:
    one = runtime_api.Answer(path="/2018-06-01/runtime/invocation/1/error", chunked=False, pieces=[b"{}"], at=[1])
    assert not runtime_api.report(one, STREAM, sent=0, next_=0).intact


@pytest.mark.parametrize(
    "end", [b"\r\n0\r\n\r\n", b"x\r\n0\r\nLambda-Runtime-Function-Error-Type: A.B\r\nb: c\r\n\r\n"]
)
def test_the_end_of_an_answer_is_seen_with_and_without_trailers(end: bytes) -> None:
    assert runtime_api.END.search(end)
    assert not runtime_api.END.search(end[:-2])


def test_dechunk_is_the_inverse_of_chunking_and_strict() -> None:
    assert http1.dechunk(chunked(b"a", b"bc\r\n") + b"0\r\n\r\n") == b"abc\r\n"
    for malformed in (chunked(b"a"), b"1\r\nab0\r\n\r\n", b"x\r\n", b""):
        with pytest.raises(ValueError, match=r"."):
            http1.dechunk(malformed)


def test_a_stream_is_described_in_a_message_and_keeps_its_size() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": STREAM.prompt()}]}).encode()
    assert Stream.from_body(body) == STREAM
    assert len(STREAM.event(1, 12)) == STREAM.size
    assert digest(b"".join(whole(sent=77)[1:])) == STREAM.digest()


def test_percentile_is_the_nearest_rank() -> None:
    ordered = list(range(1, 101))
    assert [stations.percentile(ordered, p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert stations.percentile([7], 99) == 7


def test_targets_compare_the_right_parties() -> None:
    metric = "warm request to first byte, ms"
    results = {"metrics": summarise({metric: {"relay": [6.0], "node": [10.0]}})}  # type: ignore[arg-type]
    assert [verdict.met for verdict in targets.verdicts(results)] == [True]
    results = {"metrics": summarise({metric: {"relay": [6.1], "node": [10.0]}})}  # type: ignore[arg-type]
    assert [verdict.met for verdict in targets.verdicts(results)] == [False]


def test_ratios_are_those_of_the_rounds() -> None:
    """The machine is three times as slow in the second round; the round in which Node failed counts for nobody."""
    seen = {"warm request to first byte, ms": {"relay": [5.0, 16.5, 5.5, 99.0], "node": [10.0, 30.0, 10.0]}}
    (verdict,) = targets.verdicts({"metrics": summarise(seen)})  # type: ignore[arg-type]
    assert verdict.ratios == (0.5, 0.55, 0.55)
    assert list(report.targets({"metrics": summarise(seen)})) == [  # type: ignore[arg-type]
        "met    warm request to first byte, ms: relay <= 0.6 x node: 0.55 (0.50-0.55)"
    ]


def test_runs_agree_when_their_spreads_touch() -> None:
    def run(*relay: float) -> dict[str, Any]:
        seen = {"warm request to first byte, ms": {"relay": list(relay), "node": [10.0] * len(relay)}}
        return {"metrics": summarise(seen)}  # type: ignore[arg-type]

    *_, agreeing = report.agreement([run(4.0, 5.0), run(5.0, 6.0), run(4.5, 7.5)])
    assert not agreeing.endswith("apart")
    *_, apart = report.agreement([run(4.0, 5.0), run(5.0, 6.0), run(5.5, 7.5)])
    assert apart.endswith("MISSED 0.65 (0.55-0.75)  apart")


def test_more_is_better_where_it_is() -> None:
    seen = {"large body, MB/s": {"relay+limits": [200.0], "web adapter": [100.0]}}
    (verdict,) = targets.verdicts({"metrics": summarise(seen)})  # type: ignore[arg-type]
    assert verdict.met


def test_runs_differ_when_their_spreads_do_not_touch() -> None:
    def run(*samples: float) -> dict[str, Any]:
        return {"metrics": summarise({"m": {"relay": list(samples)}})}  # type: ignore[arg-type]

    assert "disjoint" not in "".join(report.changes(run(1, 2), run(2, 3)))
    assert "disjoint" in "".join(report.changes(run(1, 2), run(3, 4)))


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (1234.5, "1234"), (-5.53, "-5.53")])
def test_figures_are_short(value: float, text: str) -> None:
    assert report.short(value) == text


def test_a_fleet_follows_littles_law() -> None:
    load = scale.Load(users=600, requests_per_minute=1, tokens=400, tokens_per_second=100, first_token_seconds=1)
    assert (load.requests_per_second, load.seconds, load.streams) == (10, 5, 50)
    seen = simulate.Fleet(load, scale.Site(), 1).run(2000, 2000, 1)
    settled = seen.concurrency[1000:]
    assert sum(settled) / len(settled) == pytest.approx(50, rel=0.05)
    assert not seen.refused


def test_refusals_follow_erlang() -> None:
    load, site = scale.Load(users=1000), scale.Site(concurrency=50)
    seen = simulate.Fleet(load, site, 1).run(5000, 5000, 1)
    expected = scale.blocked(load.streams, 50)
    assert seen.share(seen.refused["concurrency"]) == pytest.approx(expected, rel=0.1)
    assert scale.limits(load, site)[0].name.startswith("concurrency")


@pytest.mark.parametrize(
    ("setting", "first", "why"),
    [
        ("openai_rpm=60", "OpenAI requests a minute", "OpenAI"),
        ("writes_per_second=2", "DynamoDB partition of the busiest caller", "DynamoDB partition"),
    ],
)
def test_model_and_simulation_name_the_same_first_limit(setting: str, first: str, why: str) -> None:
    load, site = scale.changed(scale.Load(), scale.Site(), [setting])
    assert scale.limits(load, site)[0].name == first
    assert simulate.Fleet(load, site, 1).run(300, 300, 1).refused.most_common(1)[0][0] == why


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="unknown: user"):
        scale.changed(scale.Load(), scale.Site(), ["user=3"])


def test_the_table_does_what_the_ledger_builds_on() -> None:
    table, key = aws.Table(), {"pk": {"S": "a"}, "sk": {"S": "b"}}
    names = {"#0": "pk", "#1": "open", "#2": "id", "#3": "n"}
    new = {"Key": key, "ExpressionAttributeNames": names, "ConditionExpression": "attribute_not_exists(#0)"}
    new |= {"UpdateExpression": "SET #1 = :0", "ExpressionAttributeValues": {":0": {"M": {}}}}
    grow = {"Key": key, "ExpressionAttributeNames": names, "ConditionExpression": "size(#1) < :4"}
    grow |= {"UpdateExpression": "SET #1.#2 = :0, #3 = if_not_exists(#3, :1) + :2"}
    grow |= {"ExpressionAttributeValues": {":0": {"S": "x"}, ":1": {"N": "0"}, ":2": {"N": "2"}}}
    shrink = {"Key": key, "ExpressionAttributeNames": names, "UpdateExpression": "REMOVE #1.#2, #3"}
    with pytest.raises(aws.ConditionFailedError):
        table.call("UpdateItem", grow)
    table.call("UpdateItem", new)
    with pytest.raises(aws.ConditionFailedError):
        table.call("UpdateItem", new)
    table.call("UpdateItem", grow)
    item = table.call("UpdateItem", grow)["Attributes"]
    assert (item["open"], item["n"]) == ({"M": {"id": {"S": "x"}}}, {"N": "4"})
    assert table.call("UpdateItem", shrink)["Attributes"] == {**key, "open": {"M": {}}}
