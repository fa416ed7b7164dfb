"""The same fleet, lived through: requests arrive, environments start, are used again and are let go.

Answers what arithmetic cannot: how many requests meet a cold start, and what a burst does. `python -m bench.simulate`.
Knows bench.scale's Load and Site. The same seed gives the same run.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field

from bench.report import aligned
from bench.scale import Load, Site, changed

# How long Lambda keeps an idle environment is not published; minutes have been seen.
IDLE_SECONDS = 300
# Answers differ in length by about this much (standard deviation of the logarithm).
SPREAD = 0.8


@dataclass(slots=True)
class Bucket:
    """A token bucket that is full at first: at most `size` at once and `rate` a second."""

    rate: float
    size: float
    level: float = 0
    at: float = 0

    def __post_init__(self) -> None:
        self.level = self.size

    def take(self, now: float, amount: float) -> bool:
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < amount:
            return False
        self.level -= amount
        return True


@dataclass(slots=True)
class Seen:
    """What happened. `concurrency` is sampled at each arrival, which is what an arriving request sees."""

    served: int = 0
    cold: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    concurrency: list[int] = field(default_factory=list)

    def share(self, count: int) -> float:
        return count / max(1, self.served + sum(self.refused.values()))


class Fleet:
    """Environments, and the limits in the order in which a request meets them."""

    def __init__(self, load: Load, site: Site, seed: int) -> None:
        self._load, self._site = load, site
        self._random = random.Random(seed)
        self._busy: list[float] = []  # when each will be free
        self._idle: list[float] = []  # since when; the last used is used first
        self._url = Bucket(10 * site.concurrency, 10 * site.concurrency)
        self._scaling = Bucket(site.scaling_per_second, 10 * site.scaling_per_second)
        self._callers = [Bucket(site.writes_per_second, site.writes_per_second) for _ in range(load.callers)]
        self._weights = [1 / n for n in range(1, load.callers + 1)]
        self._rpm = Bucket(site.openai_rpm / 60, site.openai_rpm)
        self._tpm = Bucket(site.openai_tpm / 60, site.openai_tpm)

    def run(self, seconds: float, burst_at: float, burst: float) -> Seen:
        """From nothing running. From `burst_at` on, `burst` times the load."""
        seen, now = Seen(), 0.0
        while True:
            now += self._random.expovariate(self._load.requests_per_second * (burst if now >= burst_at else 1))
            if now > seconds:
                return seen
            self._arrive(now, seen)

    def _arrive(self, now: float, seen: Seen) -> None:
        while self._busy and self._busy[0] <= now:
            self._idle.append(heapq.heappop(self._busy))
        while self._idle and now - self._idle[0] > IDLE_SECONDS:
            self._idle.pop(0)
        seen.concurrency.append(len(self._busy))
        tokens = self._load.tokens * self._random.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        seconds = self._load.first_token_seconds + tokens / self._load.tokens_per_second
        why = self._refusal(now, tokens, seen)
        if why:
            seen.refused[why] += 1
            # What is refused by a store or by OpenAI has still used an environment, for a moment.
            return
        seen.served += 1
        heapq.heappush(self._busy, now + seconds)

    def _refusal(self, now: float, tokens: float, seen: Seen) -> str:
        if not self._url.take(now, 1):
            return "Function URL rate"
        if len(self._busy) >= self._site.concurrency:
            return "concurrency"
        caller = self._random.choices(self._callers, self._weights)[0]
        if not caller.take(now, self._site.writes_per_request):
            return "DynamoDB partition"
        if not self._rpm.take(now, 1) or not self._tpm.take(now, self._load.prompt_tokens + tokens):
            return "OpenAI"
        if self._idle:
            self._idle.pop()
        elif self._scaling.take(now, 1):
            seen.cold += 1
        else:
            return "scaling rate"
        return ""


def row(load: Load, site: Site, seconds: float, burst: float, seed: int) -> list[str]:
    seen = Fleet(load, site, seed).run(seconds, seconds / 2, burst)
    settled = seen.concurrency[len(seen.concurrency) // 4 :] or [0]
    refused = ", ".join(f"{why} {seen.share(count):.1%}" for why, count in seen.refused.most_common()) or "none"
    return [
        str(load.users),
        f"x{burst:g}",
        f"{statistics.mean(settled):.0f}",
        f"{sorted(settled)[min(len(settled) - 1, math.floor(len(settled) * 0.999))]}",
        f"{seen.share(seen.cold):.2%}",
        refused,
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--burst", type=float, nargs="+", default=[1, 3], help="the second half's load, as a multiple")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any field of Load or Site")
    given = parser.parse_args(arguments)
    table = [["users", "burst", "streams", "99.9 %", "cold starts", "refused"]]
    for users in given.users:
        for burst in given.burst:
            load, site = changed(Load(), Site(), [*given.set, f"users={users}"])
            table.append(row(load, site, given.seconds, burst, given.seed))
    print("\n".join(aligned(table)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
