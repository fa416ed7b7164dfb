"""What the relay has set out to reach, as ratios within one run. Knows metric names and the shape of results.

A ratio is taken in each round, where both were measured within seconds of one another, and the median counts: a machine
that is slower for a minute slows both. Unless said otherwise the relay competes with all its features on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PLAIN, FULL = "relay", "relay+limits"
CLEAR_OF = "web adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`ours` has to be at most `limit` times `theirs` in `metric`; without `theirs`, at most `limit` itself."""

    metric: str
    limit: float
    theirs: str = ""
    ours: str = FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`ratios` are those of the rounds."""

    text: str
    ratios: tuple[float, ...]
    limit: float

    @property
    def reached(self) -> float:
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        return self.reached <= self.limit


TARGETS = (
    Target(metric="warm request to first byte, ms", ours=PLAIN, limit=0.6, theirs="node"),
    Target(metric="first request to first byte, ms", limit=0.3, theirs="node"),
    Target(metric="added latency p50 at 100/s, us", limit=0.6, theirs="node"),
    Target(metric="added latency p50 at 100/s, us", limit=1.5, theirs="floor"),
    Target(metric="added latency p99 at 100/s, us", limit=1.0, theirs="node"),
    Target(metric="CPU per chunk at 100/s, us", limit=0.45, theirs="node"),
    Target(metric="CPU per chunk back to back, us", limit=2.0, theirs="node"),
    Target(metric="resident memory, MB", limit=0.6, theirs="node"),
    Target(metric="start to first next, ms", limit=1.3, theirs="node"),
    Target(metric="start to first next, ms", limit=0.4, theirs=CLEAR_OF),
    Target(metric="start to first byte, ms", limit=1.5, theirs="node"),
    Target(metric="upload beyond the runtime, zipped, kB", limit=2000),
)
# Of these, more is better.
MORE_IS_BETTER = {"large body, MB/s"}


def verdicts(results: dict[str, Any]) -> Iterator[Verdict]:
    """One for each target whose parties were both measured."""
    metrics = results["metrics"]
    for target in TARGETS:
        seen = metrics.get(target.metric, {})
        if target.ours in seen and (not target.theirs or target.theirs in seen):
            ours = seen[target.ours]["samples"]
            theirs = seen[target.theirs]["samples"] if target.theirs else [1.0] * len(ours)
            against = f" x {target.theirs}" if target.theirs else ""
            yield Verdict(
                text=f"{target.metric}: {target.ours} <= {target.limit:g}{against}",
                ratios=_ratios(ours, theirs),
                limit=target.limit,
            )
    yield from _clear(metrics)


def _clear(metrics: dict[str, Any]) -> Iterator[Verdict]:
    """Better than Lambda Web Adapter with FastAPI in every metric."""
    for metric, seen in metrics.items():
        if FULL in seen and CLEAR_OF in seen and seen[CLEAR_OF]["low"] > 0:
            ours, theirs = seen[FULL]["samples"], seen[CLEAR_OF]["samples"]
            ratios = _ratios(theirs, ours) if metric in MORE_IS_BETTER else _ratios(ours, theirs)
            yield Verdict(text=f"{metric}: {FULL} better than {CLEAR_OF}", ratios=ratios, limit=1.0)


def _ratios(ours: list[float], theirs: list[float]) -> tuple[float, ...]:
    """Round by round. Who failed in a round is out of all later ones, so the first rounds are common."""
    return tuple(one / other for one, other in zip(ours, theirs, strict=False))
