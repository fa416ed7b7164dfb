"""`python -m bench.figures`: the relay's own figures in half a minute, without its peers. Needs `make bundle`."""

from __future__ import annotations

import dataclasses
import sys

from bench import competitors, report
from bench.run import build, run
from bench.stations import QUICK


def main() -> int:
    built, skipped = build([competitors.relay, competitors.relay_with_limits])
    if not built:
        print("error: there is nothing to measure", file=sys.stderr)
        return 1
    plan = dataclasses.replace(QUICK, rounds=3, starts=5, tls_rounds=0, sizes=(), rates=(), processes=())
    results = run(built, skipped, plan)
    print("\n".join(report.table(results["metrics"], results["competitors"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
