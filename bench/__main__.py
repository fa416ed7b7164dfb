"""`make bench` and `make bench QUICK=1`: everyone beside everyone. Writes build/bench/results.{json,txt,png}.

python -m bench [--quick] [--only NAME ...]     run
python -m bench --compare OLD.json NEW.json     what changed between two runs
python -m bench --agree RUN.json RUN.json ...   whether the targets' ratios agree in several runs
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench import competitors, report
from bench.run import build, run, say
from bench.stations import FULL, QUICK

BEGIN, END = "<!-- the last run -->", "<!-- end of it -->"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, wider spread")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="of: " + ", ".join(one.__name__ for one in competitors.ALL)
    )
    parser.add_argument("--at-once", action="store_true", help="the Runtime API acknowledges without TCP's usual delay")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="RESULTS")
    parser.add_argument("--agree", nargs="+", type=Path, metavar="RESULTS")
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args(arguments)
    if given.publish:
        publish()
        return 0
    if given.compare:
        print("\n".join(report.changes(*(json.loads(path.read_text()) for path in given.compare))))
        return 0
    if given.agree:
        print("\n".join(report.agreement([json.loads(path.read_text()) for path in given.agree])))
        return 0
    makers = [one for one in competitors.ALL if not given.only or one.__name__ in given.only]
    built, skipped = build(makers)
    results = run(built, skipped, QUICK if given.quick else FULL, ("at-once",) if given.at_once else ())
    text = report.text(results)
    (competitors.BUILD / "results.json").write_text(json.dumps(results, indent=1))
    (competitors.BUILD / "results.txt").write_text(text)
    print(text)
    plot()
    return 0


def publish() -> None:
    """Copies the last run's picture and figures to docs/, and its text between the marks in docs/performance.md."""
    page = competitors.ROOT / "docs" / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    text = (competitors.BUILD / "results.txt").read_text()
    page.write_text(f"{before}{BEGIN}\n```\n{text}```\n{END}{rest.partition(END)[2]}")
    for suffix in ("json", "png"):
        shutil.copy(competitors.BUILD / f"results.{suffix}", page.with_suffix(f".{suffix}"))


def plot() -> None:
    """In the peers' virtual environment, which has matplotlib; without it there is no picture."""
    inside = competitors.BUILD / "python" / "bin" / "python"
    out = competitors.BUILD / "results.png"
    if inside.exists():
        files = [str(competitors.BUILD / "results.json"), str(out)]
        subprocess.run([str(inside), "-m", "bench.plot", *files], cwd=competitors.ROOT, check=False)
        say(f"plot: {out.relative_to(competitors.ROOT)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
