"""Results as text. Knows their shape; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from bench.targets import verdicts


def text(results: dict[str, Any]) -> str:
    """The whole report."""
    lines = [", ".join(f"{name} {value}" for name, value in results["machine"].items())]
    lines += [f"{results['seconds']} s; each figure: median (lowest-highest)", ""]
    lines += table(results["metrics"], results["competitors"])
    if results["tls"]:
        lines += ["", "With TLS to OpenAI:", *table(results["tls"], results["competitors"])]
    lines += ["", "How it grows:", *growth(results["growth"], results["competitors"])]
    lines += ["", "Targets:", *targets(results)]
    lines += [f"skipped {name}: {why}" for name, why in results["skipped"].items()]
    return "\n".join(lines) + "\n"


def table(metrics: dict[str, Any], competitors: list[str]) -> Iterator[str]:
    present = [name for name in competitors if any(name in seen for seen in metrics.values())]
    rows = [
        [metric, *(figure(seen[name]) if name in seen else "-" for name in present)] for metric, seen in metrics.items()
    ]
    yield from aligned([["", *present], *rows])


def growth(grown: dict[str, Any], competitors: list[str]) -> Iterator[str]:
    for grows, metrics in grown.items():
        for metric, seen in metrics.items():
            present = [name for name in competitors if name in seen]
            values = [value for value, _ in seen[present[0]]]
            rows = [[name, *(short(sample) for _, sample in seen[name])] for name in present]
            yield from aligned([[f"{metric} by {grows}", *(f"{value:g}" for value in values)], *rows])
            yield ""


def targets(results: dict[str, Any]) -> Iterator[str]:
    for verdict in verdicts(results):
        yield f"{'met   ' if verdict.met else 'MISSED'} {verdict.text}: {spread(verdict.ratios)}"


def aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *others]).rstrip()


def figure(seen: dict[str, Any]) -> str:
    return spread(seen["samples"])


def spread(samples: Sequence[float]) -> str:
    """Median (lowest-highest); of one sample, itself."""
    median = short(statistics.median(samples))
    return median if len(samples) == 1 else f"{median} ({short(min(samples))}-{short(max(samples))})"


def short(value: float) -> str:
    """Three significant digits, never in exponent form."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def agreement(runs: list[dict[str, Any]]) -> Iterator[str]:
    """The targets in several runs, and whether the spreads of each two of them touch."""
    judged = [{verdict.text: verdict for verdict in verdicts(run)} for run in runs]
    rows = [["", *(f"run {number}" for number in range(1, len(runs) + 1)), ""]]
    for text in judged[0]:
        seen = [one[text] for one in judged if text in one]
        touch = max(min(one.ratios) for one in seen) <= min(max(one.ratios) for one in seen)
        cells = [f"{'' if one.met else 'MISSED '}{spread(one.ratios)}" for one in seen]
        rows.append([text, *cells, *["-"] * (len(runs) - len(seen)), "" if touch else "apart"])
    yield from aligned(rows)


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What differs between two runs beyond their spreads: "disjoint" means that the two ranges do not even touch."""
    rows = [["", "before", "after", "ratio", ""]]
    for metric, seen in new["metrics"].items():
        for name, after in seen.items():
            before = old["metrics"].get(metric, {}).get(name)
            if before:
                apart = after["low"] > before["high"] or after["high"] < before["low"]
                ratio = after["median"] / before["median"] if before["median"] else float("nan")
                rows.append(
                    [f"{name}: {metric}", figure(before), figure(after), f"{ratio:.2f}", "disjoint" if apart else ""]
                )
    yield from aligned(rows)
