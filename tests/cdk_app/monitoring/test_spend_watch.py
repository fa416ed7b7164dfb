"""The spend watch over days of spending: run by the minute on a table that the relay's own ledger fills, with CloudWatch as
it is documented. What it replaced, an alarm on the sum of what requests report, runs beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from relay.pricing.money import PICO

from cdk_app.monitoring import spend_states
from cdk_app.monitoring.spend_states import Watched
from operate.limits_table import Caller
from tests.support import dynamo
from tests.support.cloudwatch_model import Alarm, Metrics
from tests.support.operator_desk import Desk
from tests.support.state_machine import StateMachine
from tests.support.synthesis import EVERYTHING, Synthesised

LIMIT, WARNED = 100, 50
NOON = datetime(2026, 11, 27, 12)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with dynamo.ministack() as url:
        yield url


class Day:
    """A relay with a table, its watch and its alarms, minute by minute."""

    def __init__(self, desk: Desk, alarms: Mapping[str, Any], *, limit: int | None = LIMIT) -> None:
        self.desk = desk
        self.now = NOON
        self.reserved: int | None = 7
        self.metrics = Metrics()
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.alarms = {name: Alarm(alarms[name], self.metrics) for name in ("Spend", "Stop", "SpendWatch")}
        self.dynamodb = boto3.client(
            "dynamodb", endpoint_url=desk.url, region_name=dynamo.REGION, aws_access_key_id="test",
            aws_secret_access_key="test",
        )  # fmt: skip
        watched = Watched(
            partition="aws", table=desk.table, function="relay", namespace="OpenAILambdaRelay", limit_usd=limit,
            concurrency=7,
        )  # fmt: skip
        self.machine = StateMachine(spend_states.definition(watched), self._call)

    def _call(self, action: str, arguments: Mapping[str, Any]) -> Any:
        self.calls.append(action)
        if action in self.failing:
            raise RuntimeError(f"{action} fails")
        service, _, operation = action.partition(":")
        if service == "dynamodb":
            return getattr(self.dynamodb, re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower())(**arguments)
        if action == "cloudwatch:putMetricData":
            assert arguments["Namespace"] == "OpenAILambdaRelay"
            for one in arguments["MetricData"]:
                assert one["Dimensions"] == [{"Name": "function", "Value": "relay"}]
                at = datetime.fromisoformat(one["Timestamp"]).replace(tzinfo=None)
                self.metrics.put(one["MetricName"], at, one["Value"])
            return {}
        assert arguments["FunctionName"] == "relay"
        self.reserved = {"lambda:putFunctionConcurrency": arguments.get("ReservedConcurrentExecutions")}.get(action)
        return {}

    def run(self, **given: Any) -> Any:
        """One execution now."""
        return self.machine.run(self.now.isoformat(timespec="milliseconds") + "Z", given)

    def minutes(self, count: int) -> None:
        """Time passes: the schedule runs the watch once a minute, and CloudWatch looks at the alarms."""
        for _ in range(count):
            self.now += timedelta(minutes=1)
            try:
                self.run(source="aws.events")
                self.metrics.put("ExecutionsSucceeded", self.now, 1)
            except RuntimeError:
                pass
            for alarm in self.alarms.values():
                alarm.evaluate(self.now + timedelta(minutes=1))

    def spend(self, usd: float, who: str = "ann") -> None:
        """A request of that price, if the relay lets it in; by the relay's own ledger."""
        if self.reserved == 0:
            return
        self.desk.now = int((self.now - datetime(1970, 1, 1)).total_seconds() * 1000)
        caller = Caller(key=f"123456789012/{who}", subject=f"123456789012:user/{who}")
        self.desk.serve(caller, usd=round(usd * PICO))
        self.metrics.put("Spend", self.now, usd)


@pytest.fixture
def alarms(templates: dict[str, Synthesised]) -> dict[str, Any]:
    """Of the environment whose limits are those of this file, by name."""
    assert (EVERYTHING.alarms.usd_per_day, EVERYTHING.alarms.stop_at_usd_per_day) == (WARNED, LIMIT)
    resources = templates[EVERYTHING.name].stacks["monitoring"]["Resources"].values()
    found = (one["Properties"] for one in resources if one["Type"] == "AWS::CloudWatch::Alarm")
    return {one["AlarmName"].rpartition("-")[2]: one for one in found}


@pytest.fixture
def day(url: str, alarms: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Day:
    from tests.support.operator_desk import environment

    for name, text in environment(url).items():
        monkeypatch.setenv(name, text)
    return Day(Desk(url, capsys), alarms)


def old_alarm(metrics: Metrics, **changes: Any) -> Alarm:
    """What was there before: the sum of what requests reported in a day that slides."""
    return Alarm(
        {
            "MetricName": "Spend", "Statistic": "Sum", "Period": 86_400, "EvaluationPeriods": 1, "Threshold": LIMIT,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching",
        },
        metrics, **changes,
    )  # fmt: skip


def test_at_the_limit_the_relay_is_stopped_within_a_minute_and_somebody_is_told(day: Day) -> None:
    for _ in range(9):
        day.spend(11)
        day.minutes(1)
    assert day.reserved == 7, "99 of 100"
    assert len(day.alarms["Spend"].told) == 1
    day.spend(1, "bob")
    day.minutes(1)
    assert day.reserved == 0
    day.minutes(1)
    assert [at - day.now <= timedelta(minutes=2) for at in day.alarms["Stop"].told] == [True]


def test_the_day_is_the_utc_day_of_the_budgets(day: Day) -> None:
    """A sliding day would stop the morning for what the evening before has spent."""
    day.now = datetime(2026, 11, 27, 22)
    old = old_alarm(day.metrics)
    day.spend(90)
    day.minutes(119)
    day.now = datetime(2026, 11, 28, 0, 1)
    day.spend(60)
    day.minutes(2)
    old.evaluate(day.now)
    assert day.reserved == 7
    assert day.run()["usd"] == 60
    assert old.state == "ALARM", "as it was, 150 dollars in 24 hours would have stopped it"
    day.now = datetime(2026, 11, 28, 23, 57)
    day.spend(39.999999)
    day.minutes(1)
    assert day.reserved == 7
    day.spend(0.000001)
    day.minutes(1)
    assert day.reserved == 0


def test_a_window_by_the_clock_would_come_a_day_late(day: Day) -> None:
    """CloudWatch's own UTC day evaluates complete days only."""
    by_the_clock = old_alarm(day.metrics, window="wall clock")
    day.spend(1000)
    for hours in range(12):
        by_the_clock.evaluate(NOON + timedelta(hours=hours))
    assert by_the_clock.told == []
    by_the_clock.evaluate(datetime(2026, 11, 28, 0, 1))
    assert len(by_the_clock.told) == 1


def test_after_a_resume_it_stops_again_when_as_much_again_is_spent(day: Day) -> None:
    old = old_alarm(day.metrics)
    day.spend(110)
    day.minutes(2)
    old.evaluate(day.now)
    assert (day.reserved, len(old.told)) == (0, 1)
    day.minutes(5)
    assert day.run(resume=True)["stopped"] is False
    assert day.reserved == 7
    day.minutes(5)
    assert day.reserved == 7, "it stays resumed"
    assert day.alarms["Stop"].state == "OK"
    day.spend(99)
    day.minutes(2)
    assert day.reserved == 7
    day.spend(1)
    day.minutes(2)
    old.evaluate(day.now)
    assert day.reserved == 0
    assert len(day.alarms["Stop"].told) == 2
    assert len(old.told) == 1, "the alarm that was there before has been in ALARM all the time, and says nothing"


def test_a_resume_holds_for_its_day_only(day: Day) -> None:
    day.spend(110)
    day.minutes(1)
    day.run(resume=True)
    day.now = datetime(2026, 11, 28, 9)
    day.spend(100)
    day.minutes(1)
    assert day.reserved == 0


def test_what_nobody_settled_counts(day: Day) -> None:
    """A process that dies leaves its upper bound booked, and no line in the log says so."""
    day.desk.now = int((day.now - datetime(1970, 1, 1)).total_seconds() * 1000)
    for _ in range(3):
        day.desk.reserve()  # a dollar each, and nobody comes back
    assert day.run()["usd"] == 3
    day.desk.now += 3_600_000
    day.desk.ledger.sweep("123456789012/AROACI")
    assert day.run()["usd"] == 3
    assert day.metrics.between("Spend", NOON - timedelta(days=1), NOON + timedelta(days=1)) == []


def test_what_an_operator_corrects_counts(day: Day) -> None:
    day.desk.now = int((day.now - datetime(1970, 1, 1)).total_seconds() * 1000)
    admitted = day.desk.reserve()
    record = {"a": admitted.entry.at, "m": "gpt-5-mini", "e": "/v1/responses", "o": "ok", "u": PICO // 4, "t": 12}
    record |= {"bu": PICO, "bt": 50, "s": 0, "k": 0, "v": "", "c": {}, "id": admitted.entry.id}
    day.desk.now += 3_600_000
    day.desk.ledger.sweep("123456789012/AROACI")
    assert day.run()["usd"] == 1
    line = json.dumps({"event": "settle_failed", "caller": "123456789012/AROACI", "record": record})
    day.desk.run("replay", given=line)
    assert day.run()["usd"] == 0.25


@pytest.mark.parametrize("callers", [0, 1, spend_states.PAGE, spend_states.PAGE + 1, 2 * spend_states.PAGE + 1])
def test_however_many_callers_there_are_each_counts_once(callers: int, day: Day) -> None:
    name = {"S": f"d:{day.now.date()}:usd"}["S"]
    for number in range(callers):
        key = f"123456789012/AIDA{number:04}"
        listed = {"pk": {"S": "callers"}, "sk": {"S": key}}
        account = {"pk": {"S": f"caller#{key}"}, "sk": {"S": "state"}, name: {"N": str(PICO)}}
        day.dynamodb.put_item(TableName=day.desk.table, Item=listed)
        if number % 10:  # a caller whose first request was refused has no account, or none of today
            day.dynamodb.put_item(TableName=day.desk.table, Item=account)
    assert day.run()["usd"] == sum(1 for number in range(callers) if number % 10)


def test_accounts_that_dynamodb_was_too_busy_for_are_asked_for_again(day: Day) -> None:
    for who in ("ann", "bob", "eve"):
        day.spend(2, who)
    call, asked = day.machine._call, []

    def busy(action: str, arguments: Mapping[str, Any]) -> Any:
        result = call(action, arguments)
        if action == "dynamodb:batchGetItem":
            asked.append(len(arguments["RequestItems"][day.desk.table]["Keys"]))
            if len(asked) == 1:
                keys = arguments["RequestItems"][day.desk.table]["Keys"][1:]
                kept = dict(arguments["RequestItems"])
                kept[day.desk.table] = {
                    **kept[day.desk.table],
                    "Keys": keys[:0] or arguments["RequestItems"][day.desk.table]["Keys"][:1],
                }
                result = {**call(action, {"RequestItems": kept}), "UnprocessedKeys": {day.desk.table: {"Keys": keys}}}
        return result

    day.machine = StateMachine(day.machine._definition, busy)
    assert day.run()["usd"] == 6
    assert asked == [3, 2]


def test_a_drill_stops_whatever_was_spent_and_a_resume_takes_it_back(day: Day) -> None:
    assert day.run(drill=True) == {"day": "2026-11-27", "usd": 0, "stopped": False} | {"stopped": True}
    assert day.reserved == 0
    day.run(resume=True)
    assert day.reserved == 7


def test_without_a_limit_it_tells_and_stops_nothing(day: Day, alarms: dict[str, Any]) -> None:
    watch = Day(day.desk, alarms, limit=None)
    watch.spend(10_000)
    watch.minutes(1)
    assert watch.run(drill=True)["stopped"] is False
    assert watch.reserved == 7
    assert watch.alarms["Spend"].state == "ALARM"
    assert not [call for call in watch.calls if call.startswith("lambda:")]


def test_an_environment_without_a_cap_is_let_go_on_without_one(day: Day) -> None:
    uncapped = Watched(
        partition="aws", table=day.desk.table, function="relay", namespace="OpenAILambdaRelay", limit_usd=1,
        concurrency=None,
    )  # fmt: skip
    day.machine = StateMachine(spend_states.definition(uncapped), day._call)
    day.run(resume=True)
    assert "lambda:deleteFunctionConcurrency" in day.calls


def test_its_own_failure_is_told_and_it_goes_on_by_itself(day: Day) -> None:
    day.minutes(10)
    assert day.alarms["SpendWatch"].told == []
    day.failing = {"lambda:putFunctionConcurrency"}
    day.spend(100)
    day.minutes(9)
    assert day.alarms["SpendWatch"].told == []
    day.minutes(3)
    assert len(day.alarms["SpendWatch"].told) == 1
    assert day.calls.count("lambda:putFunctionConcurrency") >= 5, "each time it is tried again"
    day.failing = set()
    day.minutes(1)
    assert day.reserved == 0
    day.minutes(12)
    assert day.alarms["SpendWatch"].state == "OK"


def test_a_watch_that_does_not_run_is_told(day: Day) -> None:
    alarm = day.alarms["SpendWatch"]
    for minutes in range(15):
        alarm.evaluate(NOON + timedelta(minutes=minutes))
    assert alarm.told


@pytest.mark.parametrize("action", ["dynamodb:query", "dynamodb:batchGetItem", "dynamodb:getItem"])
def test_what_fails_once_is_tried_again(action: str, day: Day) -> None:
    day.spend(100)
    call = day._call
    failed: list[str] = []

    def once(name: str, arguments: Mapping[str, Any]) -> Any:
        if name == action and not failed:
            failed.append(name)
            raise RuntimeError("throttled")
        return call(name, arguments)

    StateMachine(day.machine._definition, once).run("2026-11-27T12:00:00.000Z", {})
    assert failed
    assert day.reserved == 0


def test_it_stops_before_it_tells(day: Day) -> None:
    day.failing = {"cloudwatch:putMetricData"}
    day.spend(100)
    day.minutes(1)
    assert day.reserved == 0
