"""CloudWatch's alarms as their documentation describes them, as far as this project's alarms use them. Not AWS's code.

docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring, pages "Using Amazon CloudWatch alarms" and "Alarm evaluation window":
an alarm is evaluated every minute; a sliding window ends now and has the length of its periods; a wall clock window has
complete periods only; missing data counts as the alarm says; actions are taken when the state *changes*, and only then.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

MINUTE = timedelta(minutes=1)
MIDNIGHT = datetime(2026, 1, 1)
STATISTICS: Mapping[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}


@dataclass(slots=True)
class Metrics:
    """Every value that was put, by metric, with its time."""

    values: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)

    def put(self, name: str, at: datetime, value: float) -> None:
        self.values.setdefault(name, []).append((at, value))

    def between(self, name: str, begin: datetime, end: datetime) -> list[float]:
        return [value for at, value in self.values.get(name, []) if begin <= at < end]


class Alarm:
    """`properties` as in the template. `told` is the times at which its actions were taken."""

    def __init__(
        self, properties: Mapping[str, Any], metrics: Metrics, *, window: Literal["sliding", "wall clock"] = "sliding"
    ) -> None:
        self._properties = properties
        self._metrics = metrics
        self._window = window
        self.state = "OK"
        self.told: list[datetime] = []

    def evaluate(self, now: datetime) -> None:
        period = timedelta(seconds=self._properties["Period"])
        # A period of a minute or more is complete when it is judged; a longer one moves by the minute.
        end = now.replace(second=0, microsecond=0)
        if self._window == "wall clock":
            end -= (end - MIDNIGHT) % period
        periods = self._properties["EvaluationPeriods"]
        judged = [self._judge(end - period * (n + 1), end - period * n) for n in range(periods)]
        state = "ALARM" if all(judged) else "OK"
        if state == "ALARM" and self.state != "ALARM":
            self.told.append(now)
        self.state = state

    def _judge(self, begin: datetime, end: datetime) -> bool:
        found = self._metrics.between(self._properties["MetricName"], begin, end)
        if not found:
            return bool(self._properties["TreatMissingData"] == "breaching")
        value = STATISTICS[self._properties["Statistic"]](found)
        comparison = COMPARISONS[self._properties["ComparisonOperator"]]
        return comparison(value, float(self._properties["Threshold"]))
