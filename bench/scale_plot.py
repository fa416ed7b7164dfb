"""The fleet's picture: `python -m bench.scale_plot OUT.png`, in the virtual environment that has matplotlib."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from bench.scale import Load, Site, busiest, costs, limits, managed
from bench.simulate import Fleet

USERS = [round(10 ** (exponent / 8)) for exponent in range(8, 41)]
SIMULATED = [10, 100, 1_000, 5_000]


def draw(out: str) -> None:
    figure, (streams, shares, dollars) = pyplot.subplots(1, 3, figsize=(18, 5.5), constrained_layout=True)
    site = Site()
    loads = [dataclasses.replace(Load(), users=users) for users in USERS]
    concurrency(streams, loads, site)
    first_limits(shares, loads, site)
    money(dollars, loads, site)
    for axis in (streams, shares, dollars):
        axis.set(xscale="log", yscale="log", xlabel="users (one request every two minutes each)")
        axis.grid(which="both", alpha=0.2)
        axis.legend(fontsize=8)
    figure.savefig(out, dpi=80)


def concurrency(axis: Any, loads: list[Load], site: Site) -> None:
    axis.plot(USERS, [load.streams for load in loads], label="mean (Little's law)")
    axis.plot(USERS, [busiest(load.streams) for load in loads], label="busiest moment in 1000")
    runs = [Fleet(dataclasses.replace(Load(), users=users), site, 1).run(900, 900, 1) for users in SIMULATED]
    axis.plot(SIMULATED, [max(run.concurrency) for run in runs], "x", color="black", label="simulated maximum")
    axis.axhline(site.concurrency, color="#c8553d", linestyle="--", label="an account's usable concurrency")
    axis.axhline(10, color="#c8553d", linestyle=":", label="a new account's")
    axis.set_title("streams at the same time = environments")


def first_limits(axis: Any, loads: list[Load], site: Site) -> None:
    for name in [limit.name for limit in limits(loads[0], site)]:
        found = [next(limit.share for limit in limits(load, site) if limit.name == name) for load in loads]
        axis.plot(USERS, found, label=name)
    axis.axhline(1, color="black", linestyle="--")
    axis.set_title("share used of each limit")
    axis.set_ylim(bottom=1e-4)


def money(axis: Any, loads: list[Load], site: Site) -> None:
    for name in costs(loads[0], site):
        axis.plot(USERS, [costs(load, site)[name] for load in loads], label=name)
    axis.plot(USERS, [managed(load, site) for load in loads], "--", color="black", label="Lambda, managed instances")
    axis.set_title("dollars a month")


if __name__ == "__main__":
    draw(sys.argv[1])
