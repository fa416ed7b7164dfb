"""Runs a relay and records which of its lines one invocation executes: started by `bench.structure`, never by hand.

tracer.py SOURCE PACKAGES SOCKET: SOURCE is the folder that holds `relay/`, PACKAGES the folder of its libraries, SOCKET
where the commands come from. `begin` starts a recording, `end` returns it as one JSON line. Knows no module of the relay
by name, so that every revision can be traced.
"""

from __future__ import annotations

import gc
import itertools
import json
import runpy
import socket
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any


class Recording:
    """The relay's lines and calls in the order in which the main thread executes them."""

    def __init__(self, inside: str) -> None:
        self._inside = inside
        self._lines: set[tuple[str, int]] = set()
        # (file, function) in the order in which control came to them.
        self._visits: list[tuple[str, str]] = []
        self._calls = 0

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        """`sys.settrace`'s function: asks for the lines of the relay's own frames and of no others."""
        file = frame.f_code.co_filename
        if not file.startswith(self._inside):
            return None
        if event == "line":
            self._lines.add((file, frame.f_lineno))
        elif event == "call":
            self._calls += 1
            self._visits.append((file, frame.f_code.co_qualname))
        elif event == "return":
            self._visits.append(self._caller(frame))
        return self.trace

    def _caller(self, frame: FrameType) -> tuple[str, str]:
        """The relay's file and function that control returns to, past the frames of libraries."""
        back = frame.f_back
        while back is not None and not back.f_code.co_filename.startswith(self._inside):
            back = back.f_back
        return (back.f_code.co_filename, back.f_code.co_qualname) if back is not None else ("", "")

    def begin(self) -> None:
        """Forgets what ran so far. From now on nobody collects garbage."""
        gc.disable()
        gc.collect()
        self._lines.clear()
        self._visits.clear()
        self._calls = 0

    def result(self) -> dict[str, Any]:
        """`entered`: each file and how many of its lines ran; `calls`; `garbage`: how many objects are left to the garbage
        collector because they hold one another; `pairs`: how often control passed from one function
        to another one in another file, as [from, to, times], the most frequent first."""
        lines, visits = self._lines.copy(), self._visits.copy()
        files = sorted(file for file, _ in lines)
        pairs = Counter((before, after) for before, after in itertools.pairwise(visits) if before[0] != after[0])
        return {
            "entered": {file[len(self._inside) :]: files.count(file) for file in sorted(set(files))},
            "pairs": [[self._name(before), self._name(after), times] for (before, after), times in pairs.most_common()],
            "calls": self._calls,
            "garbage": gc.collect(),
        }

    def _name(self, visit: tuple[str, str]) -> str:
        file, function = visit
        return f"{file[len(self._inside) :]}:{function}"


def obey(recording: Recording, path: str) -> None:
    """Carries out the commands. Runs in a thread of its own, which is not traced: `sys.settrace` is per thread."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        stream = connection.makefile("rw")
        for line in stream:
            if line.strip() == "begin":
                recording.begin()
                stream.write("{}\n")
            else:
                stream.write(json.dumps(recording.result()) + "\n")
            stream.flush()


def main(source: str, packages: str, path: str) -> None:
    recording = Recording(f"{source}/relay/")
    threading.Thread(target=obey, args=(recording, path), daemon=True).start()
    sys.path.insert(0, source)
    sys.path.append(packages)
    sys.settrace(recording.trace)
    runpy.run_path(f"{source}/relay/__main__.py", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:4])
