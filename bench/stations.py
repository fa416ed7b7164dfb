"""What is measured, and how. Knows environments and streams; knows nothing of who competes or how results look.

Every function returns samples by metric; a metric's name ends in its unit. One environment passes through all
stations in the same order, so that each metric is taken from processes of the same age.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench.competitors import Competitor
from bench.environment import Environment, Fakes, environment
from bench.fakes.events import Stream

Samples = dict[str, float]

SHORT = Stream(count=3)
# Long enough that what one invocation costs by itself is lost in it.
BACK_TO_BACK = Stream(count=20_000)
# 32 MB in events of 64 KiB, such as images come in.
LARGE = Stream(count=500, size=65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. `paced` maps events a second to how many of them are sent."""

    rounds: int
    starts: int
    warm: int
    paced: dict[int, int]
    invocations: int
    endurances: int
    tls_rounds: int
    sizes: tuple[int, ...]
    rates: tuple[int, ...]
    processes: tuple[int, ...]


# On two cores: 8 to 9 minutes, and under 2.
FULL = Plan(
    rounds=5,
    starts=8,
    warm=30,
    paced={20: 20, 100: 150, 1000: 1000},
    invocations=1000,
    endurances=3,
    tls_rounds=5,
    sizes=(250, 1_000, 4_000, 16_000, 65_536),
    rates=(20, 50, 100, 200, 500, 1000, 2000),
    processes=(1, 2, 4, 8),
)
QUICK = Plan(
    rounds=2,
    starts=2,
    warm=15,
    paced={100: 100, 1000: 500},
    invocations=100,
    endurances=1,
    tls_rounds=1,
    sizes=(250, 4_000, 65_536),
    rates=(100, 1000),
    processes=(1, 4),
)


def start(competitor: Competitor, around: Fakes) -> Samples:
    """A fresh process, up to the first byte of its first answer."""
    with environment(competitor, around) as env:
        return first_request(env)


def first_request(env: Environment) -> Samples:
    first = env.invoke(SHORT)
    started, answered = env.waiting - env.spawned, first["first"] - first["sent"]
    return {
        "start to first next, ms": started / 1e6,
        "first request to first byte, ms": answered / 1e6,
        "start to first byte, ms": (started + answered) / 1e6,
    }


def whole_round(competitor: Competitor, around: Fakes, plan: Plan) -> Samples:
    """A fresh process through every station."""
    with environment(competitor, around) as env:
        samples = first_request(env) | warm(env, plan.warm)
        for rate, count in plan.paced.items():
            samples |= paced(env, rate, count)
        samples |= back_to_back(env) | large(env)
        return samples | {"resident memory, MB": env.memory() / 1e6}


def warm(env: Environment, count: int) -> Samples:
    reports = [env.invoke(SHORT) for _ in range(count)]
    return {
        "warm request to first byte, ms": statistics.median(r["first"] - r["sent"] for r in reports) / 1e6,
        "last byte to next, ms": statistics.median(r["next"] - r["last"] for r in reports) / 1e6,
    }


def paced(env: Environment, rate: int, count: int) -> Samples:
    before = env.cpu()
    ages = sorted(env.invoke(Stream(count=count, rate=rate))["latencies"])
    return {
        f"added latency p50 at {rate}/s, us": percentile(ages, 50) / 1e3,
        f"added latency p99 at {rate}/s, us": percentile(ages, 99) / 1e3,
        f"CPU per chunk at {rate}/s, us": (env.cpu() - before) / count / 1e3,
    }


def back_to_back(env: Environment) -> Samples:
    before = env.cpu()
    env.invoke(BACK_TO_BACK)
    return {"CPU per chunk back to back, us": (env.cpu() - before) / BACK_TO_BACK.count / 1e3}


def large(env: Environment) -> Samples:
    before = env.cpu()
    report = env.invoke(LARGE)
    megabytes = LARGE.count * LARGE.size / 1e6
    return {
        "large body, MB/s": megabytes / ((report["last"] - report["first"]) / 1e9),
        "CPU per MB of a large body, ms": (env.cpu() - before) / megabytes / 1e6,
    }


def endurance(competitor: Competitor, around: Fakes, count: int) -> Samples:
    """Many invocations of one process: what each costs, and what stays behind."""
    with environment(competitor, around) as env:
        for _ in range(count // 10):  # what is loaded or cached on first use is no growth
            env.invoke(SHORT)
        memory, before = env.memory(), env.cpu()
        for _ in range(count):
            env.invoke(SHORT)
        return {
            "CPU per invocation, us": (env.cpu() - before) / count / 1e3,
            "memory growth per 1000 invocations, MB": (env.memory() - memory) / 1e6 * 1000 / count,
        }


def by_size(env: Environment, size: int) -> Samples:
    """Back to back, about as many bytes at each size."""
    stream = Stream(count=max(200, 4_000_000 // size), size=size)
    before = env.cpu()
    env.invoke(stream)
    return {"CPU per chunk, us": (env.cpu() - before) / stream.count / 1e3}


def by_rate(env: Environment, rate: int) -> Samples:
    samples = paced(env, rate, max(20, rate // 2))
    return {name.replace(f" at {rate}/s", ""): value for name, value in samples.items()}


def by_processes(competitor: Competitor, around: Fakes, count: int) -> Samples:
    """`count` environments of one function, each with a stream of 100 events a second at the same time."""
    stream = Stream(count=100, rate=100)
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        envs = [stack.enter_context(environment(competitor, around)) for _ in range(count)]
        for env in envs:
            env.invoke(SHORT)
        before = sum(env.cpu() for env in envs)
        reports = list(pool.map(lambda env: env.invoke(stream), envs))
        used = sum(env.cpu() for env in envs) - before
    ages = sorted(age for report in reports for age in report["latencies"])
    return {
        "added latency p50, us": percentile(ages, 50) / 1e3,
        "added latency p99, us": percentile(ages, 99) / 1e3,
        "CPU per chunk, us": used / stream.count / count / 1e3,
    }


def percentile(ordered: list[int], percent: int) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def growth(competitors: Iterable[Competitor], around: Fakes, plan: Plan) -> Iterator[tuple[str, int, str, Samples]]:
    """(what grows, its value, competitor, samples), the competitors interleaved."""
    known = list(competitors)
    with ExitStack() as stack:
        envs: dict[str, Any] = {one.name: stack.enter_context(environment(one, around)) for one in known}
        for env in envs.values():
            env.invoke(SHORT)
        for size in plan.sizes:
            yield from (("chunk size", size, name, by_size(env, size)) for name, env in envs.items())
        for rate in plan.rates:
            yield from (("chunks a second", rate, name, by_rate(env, rate)) for name, env in envs.items())
    for count in plan.processes:
        yield from (("processes", count, one.name, by_processes(one, around, count)) for one in known)
