"""The CPU shares of memory sizes: that they are those of Lambda, that they bind, and what is read out of a run."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bench import cost, memory_sizes
from bench.cpu_share import CannotLimitError, cpu_share, quota_microseconds
from bench.memory_sizes import P99, RESIDENT, WARM
from bench.scale import Site
from cdk_app.environments import ENVIRONMENTS

DEFAULT_MB = min(environment.memory_mb for environment in ENVIRONMENTS)
GOOD = {P99: [800.0], WARM: [1.0], RESIDENT: [30.0]}
LATE = {**GOOD, P99: [12_000.0]}
BUSY = 'python3 -c "import time\nwhile time.process_time() < 0.05: pass"'


def run(**by_size: dict[str, list[float]]) -> dict[str, Any]:
    sizes = {size.strip("_"): {"relay": samples} for size, samples in by_size.items()}
    return {"machine": {}, "seconds": 1, "competitors": ["relay"], "sizes": sizes, "skipped": {}}


def test_a_vcpu_is_1769_mb() -> None:
    assert quota_microseconds(1769) == 20_000
    assert quota_microseconds(256) == 2_894


def test_a_process_gets_its_share_and_no_more() -> None:
    try:
        with cpu_share(256) as before:
            began = time.monotonic()
            subprocess.run([*before, "sh", "-c", BUSY], check=True)
            took = time.monotonic() - began
    except CannotLimitError as missing:
        pytest.skip(str(missing))
    # 50 ms of work at 14.5 % of a CPU, less what the first period gives.
    assert took > 0.25


def test_a_machine_that_limits_nothing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CannotLimitError, match="needs root"), cpu_share(256, tmp_path / "none"):
        pass


@pytest.mark.parametrize(
    ("sizes", "least"),
    [
        ({"_128": GOOD, "_256": GOOD}, 128),
        ({"_128": LATE, "_256": GOOD}, 256),
        ({"_128": GOOD, "_256": LATE, "_512": GOOD}, 512),
        ({"_128": GOOD, "_256": LATE}, None),
        ({"_128": {**GOOD, RESIDENT: [110.0]}, "_256": GOOD}, 256),
        ({"_128": {**GOOD, WARM: [51.0]}, "_256": {}, "_512": GOOD}, 512),
    ],
)
def test_the_least_memory_is_one_from_which_all_are_good(sizes: dict[str, Any], least: int | None) -> None:
    assert memory_sizes.smallest(run(**sizes), "relay") == least


def test_the_text_has_a_column_for_each_size_and_says_who_was_left_out() -> None:
    results = run(_128=LATE, _256=GOOD) | {"skipped": {"node": "needs node and npm"}}
    text = memory_sizes.text(results)
    assert "relay" in text
    assert "128 MB" in text
    assert "12000" in text
    assert "streams well from 256 MB" in text
    assert "skipped node: needs node and npm" in text


def test_the_published_run_is_the_one_on_the_page_and_bears_out_the_default() -> None:
    if not memory_sizes.PUBLISHED.exists():
        pytest.skip("no run has been published")
    results = json.loads(memory_sizes.PUBLISHED.read_text())
    page = memory_sizes.PAGE.read_text()
    shown = page.partition(memory_sizes.BEGIN)[2].partition(memory_sizes.END)[0]
    assert shown == f"```\n{memory_sizes.text(results)}```\n"
    least = memory_sizes.smallest(results, "relay+limits")
    assert least is not None
    assert least <= DEFAULT_MB


def test_the_fleet_on_paper_has_the_default_memory() -> None:
    assert Site().memory_gb * 1024 == DEFAULT_MB
    assert DEFAULT_MB in cost.MEMORY_MB
