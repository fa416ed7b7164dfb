"""How the relay and its peers stream under the CPU of Lambda's memory sizes, with TLS and limits.

python -m bench.memory_sizes [--rounds N] [--only NAME ...]    run: some minutes; writes build/bench/memory-sizes.json
python -m bench.memory_sizes --publish                         the last run into docs/, which `make cost` then reads

Needs `make bundle`, and root on Linux; elsewhere it says so and measures nothing. Compare within a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import competitors, stations
from bench.competitors import BUILD, ROOT, Competitor
from bench.cpu_share import CannotLimitError, cpu_share
from bench.environment import FailedError, Fakes, environment, fakes
from bench.fakes.events import Stream
from bench.report import aligned, short
from bench.run import build, machine, say
from bench.stations import Samples

SIZES_MB = (128, 192, 256, 384, 512, 1024)
MAKERS = (competitors.relay_with_limits, competitors.node, competitors.web_adapter)
RESULTS = BUILD / "memory-sizes.json"
PUBLISHED = ROOT / "docs" / "memory-sizes.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- memory sizes -->\n", "<!-- end of memory sizes -->"
RATE = 100
BURST = Stream(count=6000)
START, FIRST, WARM = "start to first next, ms", "first request to first byte, ms", "warm request to first byte, ms"
P50, P99 = f"added latency p50 at {RATE}/s, us", f"added latency p99 at {RATE}/s, us"
RESIDENT, THROUGHPUT = "resident memory, MB", "events/s back to back"
SHOWN = (START, FIRST, WARM, P50, P99, f"CPU per chunk at {RATE}/s, us", THROUGHPUT, RESIDENT)

# A stream is good when 99 of 100 events leave before the next one comes, and the first byte comes before anybody notices;
# and when there is memory for a second stream's buffers.
MOST_P99_US = 1e6 / RATE
MOST_WARM_MS = 50.0
MOST_RESIDENT = 0.8

# size -> competitor -> metric -> one sample a round
Sizes = dict[str, dict[str, dict[str, list[float]]]]


def measure(competitor: Competitor, around: Fakes, memory_mb: int) -> Samples:
    """One fresh process under the share of `memory_mb`. Raises FailedError and CannotLimitError."""
    with cpu_share(memory_mb) as before:
        limited = dataclasses.replace(competitor, start=(*before, *competitor.start))
        with environment(limited, around) as env:
            samples = stations.first_request(env) | stations.warm(env, 15) | stations.paced(env, RATE, 2 * RATE)
            burst = env.invoke(BURST)
            seconds = (burst["last"] - burst["sent"]) / 1e9
            return samples | {THROUGHPUT: BURST.count / seconds, RESIDENT: env.memory() / 1e6}


def run(built: list[Competitor], skipped: dict[str, str], rounds: int) -> dict[str, Any]:
    """Every competitor at every size, interleaved. Whoever fails at a size is left out there, and the results say why."""
    began, facts = time.time(), machine()
    sizes: Sizes = {str(size): {one.name: {} for one in built} for size in SIZES_MB}
    failed: dict[str, str] = {}
    # Acknowledged at once, or one peer's figures would be those of TCP's delays: docs/performance.md, "Reading it".
    with fakes(tls=True, runtime_api=("at-once",)) as around:
        for number in range(rounds):
            for size in SIZES_MB:
                say(f"round {number + 1}: {size} MB ...")
                for one in built[number % len(built) :] + built[: number % len(built)]:
                    if f"{one.name} at {size} MB" in failed:
                        continue
                    try:
                        samples = measure(one, around, size)
                    except FailedError as failure:
                        failed[f"{one.name} at {size} MB"] = str(failure)
                        continue
                    for metric, value in samples.items():
                        sizes[str(size)][one.name].setdefault(metric, []).append(value)
    return {
        "machine": facts,
        "seconds": round(time.time() - began),
        "competitors": [one.name for one in built],
        "sizes": sizes,
        "skipped": skipped | failed,
    }


def streams_well(samples: dict[str, list[float]], memory_mb: int) -> bool:
    """Whether the best round stays below what a caller would notice: other work on the machine only makes rounds worse."""
    if not samples:
        return False
    p99, warm, resident = (min(samples[name]) for name in (P99, WARM, RESIDENT))
    return p99 <= MOST_P99_US and warm <= MOST_WARM_MS and resident <= MOST_RESIDENT * memory_mb


def smallest(results: dict[str, Any], name: str) -> int | None:
    """The least memory from which on `name` streams well at every size; None when it never does."""
    good = None
    for size in sorted(map(int, results["sizes"]), reverse=True):
        if not streams_well(results["sizes"][str(size)].get(name, {}), size):
            break
        good = size
    return good


def text(results: dict[str, Any]) -> str:
    """The tables, one for each competitor."""
    facts = results["machine"]
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), f"{results['seconds']} s; medians", ""]
    for name in results["competitors"]:
        lines += [*_table(results, name), ""]
    lines += [f"{name}: streams well from {_size(smallest(results, name))}" for name in results["competitors"]]
    lines += [f"skipped {name}: {why}" for name, why in results["skipped"].items()]
    return "\n".join(lines) + "\n"


def _table(results: dict[str, Any], name: str) -> Iterator[str]:
    sizes = [int(size) for size in results["sizes"]]
    rows = [[name, *(f"{size} MB" for size in sizes)]]
    for metric in SHOWN:
        samples = (results["sizes"][str(size)].get(name, {}).get(metric) for size in sizes)
        rows.append([metric, *(short(statistics.median(one)) if one else "-" for one in samples)])
    yield from aligned(rows)


def _size(memory_mb: int | None) -> str:
    return "no size" if memory_mb is None else f"{memory_mb} MB"


def publish() -> None:
    """Copy the last run to docs/, and its text between the marks of docs/performance.md; then write docs/cost.md."""
    results = json.loads(RESULTS.read_text())
    shutil.copy(RESULTS, PUBLISHED)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}```\n{text(results)}```\n{END}{rest.partition(END)[2]}")
    subprocess.run([sys.executable, "-m", "bench.cost"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory_sizes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of: " + ", ".join(one.__name__ for one in MAKERS))
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args(arguments)
    if given.publish:
        publish()
        return 0
    built, skipped = build([one for one in MAKERS if not given.only or one.__name__ in given.only])
    if not built:
        return 1
    try:
        results = run(built, skipped, given.rounds)
    except CannotLimitError as missing:
        say(f"skipped: {missing}")
        return 0
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(text(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
