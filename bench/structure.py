"""How much of the relay a reader has to hold: `python -m bench.structure [--against REV]`.

Counts what one warm streamed chat request enters in a real relay process, without limits and with every limit set, and
how large the rooms are. `--against` counts the same at another revision beside it. Takes some ten seconds, no bundle.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.competitors import BUILD, ROOT, Competitor
from bench.environment import environment, fakes
from bench.fakes.events import Stream

TRACER = Path(__file__).with_name("tracer.py")
EVERY_LIMIT = {"rpm": 10**6, "concurrent": 10, "tokens_day": 10**12, "usd_day": 10**6, "usd_month": 10**6}
WITH_LIMITS = {"TABLE_NAME": "bench", "CALLER_POLICIES": json.dumps({"default": EVERY_LIMIT})}
# Requests before the one that is counted, so that connections, the key and the account's item are there.
WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one request executes: files, distinct lines, changes of file by a call or a return, calls.

    `garbage` are objects that are left to the garbage collector, because they hold one another. `pairs` are the changes of
    file by their functions: ("from.py:function", "to.py:function", how often), most frequent first.
    """

    files: int
    lines: int
    moves: int
    calls: int
    garbage: int
    entered: dict[str, int]
    pairs: list[tuple[str, str, int]]


def trace(source: Path, variables: dict[str, str]) -> Request:
    """Traces one streamed chat request of the relay in `source` (the folder that holds `relay/`)."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/commands"
        listener.bind(path)
        listener.listen()
        packages = sysconfig.get_path("purelib")
        start = (sys.executable, "-I", "-S", str(TRACER), str(source), packages, path)
        relay = Competitor(name="traced relay", start=start, environment=variables, package=0, own=0)
        with fakes(tls=False) as around, environment(relay, around) as process:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw") as commands:
                for _ in range(WARM_UP):
                    process.invoke(Stream(count=3))
                _command(commands, "begin")
                process.invoke(Stream(count=3))
                result = _command(commands, "end")
    entered = result["entered"]
    return Request(
        files=len(entered),
        lines=sum(entered.values()),
        moves=sum(times for _, _, times in result["pairs"]),
        calls=result["calls"],
        garbage=result["garbage"],
        entered=entered,
        pairs=[(before, after, times) for before, after, times in result["pairs"]],
    )


def _command(stream: Any, name: str) -> dict[str, Any]:
    stream.write(name + "\n")
    stream.flush()
    result: dict[str, Any] = json.loads(stream.readline())
    return result


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def rooms(source: Path) -> dict[str, list[Path]]:
    """The files of each room below `relay/`; `relay` itself stands for the files beside the rooms."""
    found: dict[str, list[Path]] = {}
    for path in sorted((source / "relay").rglob("*.py")):
        if path.name != "__init__.py":
            found.setdefault(path.parent.relative_to(source).as_posix(), []).append(path)
    return found


def any_names(path: Path) -> int:
    """How often a file names the type `Any`, its import apart."""
    return sum(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(ast.parse(path.read_text())))


def broad_excepts(path: Path) -> list[int]:
    """The lines that catch every exception."""
    lines = enumerate(path.read_text().splitlines(), start=1)
    return [number for number, line in lines if re.match(r"\s*except(\s+\(?(Base)?Exception\b.*)?:", line)]


def unexplained_excepts(path: Path) -> list[int]:
    """Those of them that have no comment on the line, above it or below it."""
    lines = ["", *path.read_text().splitlines(), ""]
    return [n for n in broad_excepts(path) if not any("#" in line for line in lines[n - 1 : n + 2])]


def sizes(source: Path) -> dict[str, int]:
    """The figures of the text alone."""
    by_room = rooms(source)
    paths = [path for files in by_room.values() for path in files]
    return {
        "files": len(paths),
        "lines": sum(map(lines_of, paths)),
        "longest file, lines": max(map(lines_of, paths)),
        "most files in a room": max(map(len, by_room.values())),
        "most lines in a room": max(sum(map(lines_of, files)) for files in by_room.values()),
        "Any": sum(map(any_names, paths)),
        "broad excepts": sum(len(broad_excepts(path)) for path in paths),
        "broad excepts without a reason": sum(len(unexplained_excepts(path)) for path in paths),
    }


def figures(source: Path) -> dict[str, int]:
    """Everything that is compared, by its title."""
    result: dict[str, int] = {}
    for title, variables in (("request", {}), ("request with limits", WITH_LIMITS)):
        request = trace(source, variables)
        result |= {
            f"{title}: {name}": getattr(request, name) for name in ("files", "lines", "moves", "calls", "garbage")
        }
    return result | sizes(source)


def extract(revision: str, folder: str) -> Path:
    """`lambda_src/` of a revision, written below `folder`."""
    command = ["git", "archive", "--format=tar", revision, "lambda_src"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return Path(folder).resolve() / "lambda_src"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.structure", description=__doc__)
    parser.add_argument("--against", metavar="REV", help="a git revision to count beside the working copy")
    parser.add_argument("--files", action="store_true", help="list the files that a request with limits enters")
    parser.add_argument("--pairs", action="store_true", help="list the moves between files of a request with limits")
    options = parser.parse_args(arguments)
    source = ROOT / "lambda_src"
    columns = {"now": figures(source)}
    if options.against:
        with tempfile.TemporaryDirectory() as folder:
            columns = {options.against: figures(extract(options.against, folder)), **columns}
    print(f"{'':32}" + "".join(f"{name:>12}" for name in columns))
    for title in columns["now"]:
        print(f"{title:32}" + "".join(f"{column[title]:12}" for column in columns.values()))
    for room, paths in rooms(source).items():
        print(f"{room:32}{len(paths):5} files{sum(map(lines_of, paths)):6} lines")
    request = trace(source, WITH_LIMITS) if options.files or options.pairs else None
    if request and options.files:
        for file, lines in request.entered.items():
            print(f"{file:40}{lines:5} lines")
    if request and options.pairs:
        for before, after, times in request.pairs:
            print(f"{times:5} {before} -> {after}")


if __name__ == "__main__":
    main(sys.argv[1:])
