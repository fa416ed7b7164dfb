"""The picture of one run: `python -m bench.plot results.json out.png`. Runs where matplotlib is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

COLOURS = {
    "floor": "#9a9a9a",
    "relay": "#0b6e4f",
    "relay+limits": "#4cb08a",
    "node": "#c8553d",
    "httpx asyncio": "#5b7db1",
    "web adapter": "#8a5a9e",
}
BARS = (
    "start to first next, ms",
    "start to first byte, ms",
    "warm request to first byte, ms",
    "added latency p50 at 100/s, us",
    "CPU per chunk at 100/s, us",
    "CPU per chunk back to back, us",
    "resident memory, MB",
    "large body, MB/s",
)
CURVES = (
    ("chunk size", "CPU per chunk, us"),
    ("chunks a second", "added latency p50, us"),
    ("chunks a second", "CPU per chunk, us"),
    ("processes", "added latency p99, us"),
)


def draw(results: dict[str, Any], out: Path) -> None:
    figure, axes = pyplot.subplots(3, 4, figsize=(18, 11), constrained_layout=True)
    for axis, metric in zip(axes.flat, BARS, strict=False):
        bars(axis, metric, results)
    for axis, (grows, metric) in zip(axes.flat[len(BARS) :], CURVES, strict=True):
        curves(axis, grows, metric, results)
    machine = results["machine"]
    figure.suptitle(
        f"openai-lambda-relay beside its peers: medians, whiskers from lowest to highest "
        f"({machine['cpu']}, {machine['cores']} cores, {machine['python']}, Node {machine['node']}, {machine['date']})"
    )
    figure.savefig(out, dpi=80)


def bars(axis: Any, metric: str, results: dict[str, Any]) -> None:
    seen = results["metrics"].get(metric, {})
    names = [name for name in results["competitors"] if name in seen]
    medians = [seen[name]["median"] for name in names]
    whiskers = [
        [seen[name]["median"] - seen[name]["low"] for name in names],
        [seen[name]["high"] - seen[name]["median"] for name in names],
    ]
    drawn = axis.bar(names, medians, yerr=whiskers, capsize=3, color=[COLOURS.get(name, "#444") for name in names])
    axis.bar_label(drawn, [f"{median:.3g}" for median in medians], padding=3, fontsize=8)
    axis.set_title(metric + (" (more is better)" if metric.endswith("/s") and "latency" not in metric else ""))
    axis.tick_params(axis="x", rotation=25)
    axis.margins(y=0.15)


def curves(axis: Any, grows: str, metric: str, results: dict[str, Any]) -> None:
    for name, points in results["growth"].get(grows, {}).get(metric, {}).items():
        axis.plot(*zip(*points, strict=True), marker="o", label=name, color=COLOURS.get(name, "#444"))
    axis.set(xscale="log", yscale="log", xlabel=grows, title=f"{metric}, by {grows}")
    axis.grid(which="both", alpha=0.2)
    axis.legend(fontsize=7)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
