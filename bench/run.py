"""One run of the benchmark: everyone through everything, interleaved, and what came out.

The order of the competitors turns by one with each round, so that nobody always follows the same neighbour.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench import stations
from bench.competitors import ROOT, CannotBuildError, Competitor, python
from bench.environment import FailedError, Fakes, fakes
from bench.stations import Plan, Samples

Results = dict[str, Any]
# metric -> competitor -> one sample per round
Collected = defaultdict[str, defaultdict[str, list[float]]]


def build(makers: Iterable[Callable[[], Competitor]]) -> tuple[list[Competitor], dict[str, str]]:
    """Those that can be built here, and why the others cannot."""
    built, skipped = [], {}
    for make in makers:
        try:
            built.append(make())
        except CannotBuildError as missing:
            skipped[make.__name__.replace("_", " ")] = str(missing)
            say(f"skipped: {make.__name__.replace('_', ' ')}: {missing}")
    return built, skipped


def run(
    competitors: list[Competitor], skipped: dict[str, str], plan: Plan, runtime_api: tuple[str, ...] = ()
) -> Results:
    """All stations. A competitor that fails is dropped from there on, and the results say why.

    `runtime_api` are arguments for bench.fakes.runtime_api.
    """
    began, facts = time.time(), machine()
    trial = Trial(competitors, skipped)
    with fakes(tls=False, runtime_api=runtime_api) as plain:
        for number in range(plan.starts):
            trial.each(number, "start", lambda one: stations.start(one, plain))
        for number in range(plan.rounds):
            trial.each(number, "round", lambda one: stations.whole_round(one, plain, plan))
        for number in range(plan.endurances):
            trial.each(number, "endurance", lambda one: stations.endurance(one, plain, plan.invocations))
        growth = grown(trial.competitors, plain, plan)
    plain_metrics, trial.collected = trial.collected, nested()
    if plan.tls_rounds:
        with fakes(tls=True, runtime_api=runtime_api) as secured:
            for number in range(plan.tls_rounds):
                trial.each(number, "TLS", lambda one: stations.whole_round(one, secured, plan))
    for one in trial.competitors:
        plain_metrics["upload, zipped, kB"][one.name].append(one.package / 1e3)
        plain_metrics["upload beyond the runtime, zipped, kB"][one.name].append(one.own / 1e3)
    return {
        "machine": facts,
        "seconds": round(time.time() - began),
        "competitors": [one.name for one in competitors],
        "skipped": trial.skipped,
        "metrics": summarise(plain_metrics),
        "tls": summarise(trial.collected),
        "growth": growth,
    }


class Trial:
    """Who is still in it, and what was measured so far."""

    def __init__(self, competitors: list[Competitor], skipped: dict[str, str]) -> None:
        self.competitors = list(competitors)
        self.skipped = dict(skipped)
        self.collected = nested()

    def each(self, number: int, title: str, station: Callable[[Competitor], Samples]) -> None:
        say(f"{title} {number + 1} ...")
        turned = self.competitors[number % len(self.competitors) :] + self.competitors[: number % len(self.competitors)]
        for one in turned:
            try:
                samples = station(one)
            except FailedError as failure:
                say(f"failed: {one.name}: {failure}")
                self.competitors.remove(one)
                self.skipped[one.name] = f"failed: {failure}"
                continue
            for metric, value in samples.items():
                self.collected[metric][one.name].append(value)


def grown(competitors: list[Competitor], around: Fakes, plan: Plan) -> dict[str, Any]:
    """what grows -> metric -> competitor -> [[value, sample], ...]"""
    say("growth ...")
    seen: dict[str, dict[str, dict[str, list[list[float]]]]] = {}
    for grows, value, name, samples in stations.growth(competitors, around, plan):
        for metric, sample in samples.items():
            seen.setdefault(grows, {}).setdefault(metric, {}).setdefault(name, []).append([value, sample])
    return seen


def nested() -> Collected:
    return defaultdict(lambda: defaultdict(list))


def summarise(collected: Collected) -> dict[str, dict[str, dict[str, Any]]]:
    """Median and spread (lowest and highest) of each metric for each competitor."""
    return {
        metric: {
            name: {
                "median": statistics.median(samples),
                "low": min(samples),
                "high": max(samples),
                "samples": samples,
            }
            for name, samples in by_name.items()
        }
        for metric, by_name in collected.items()
    }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": _said(str(python()), "--version"),
        "node": _said("node", "--version"),
        "load before": round(os.getloadavg()[0], 2),
    }


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
