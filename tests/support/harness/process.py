"""One relay process: the bundle, started the way Lambda's exec wrapper is, under the environment a test gives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.harness import canaries


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a process holds: descriptors, threads, resident bytes. Source: proc(5)."""

    descriptors: int
    threads: int
    resident: int


class RelayProcess:
    """Starts on entry, is killed on exit. Everything it writes goes to files below `scratch`.

    With `stdout=subprocess.PIPE` its log goes into a pipe instead, which nobody reads before `read_stdout`.
    """

    def __init__(
        self, bundle: Path, python: Path, environment: Mapping[str, str], scratch: Path, *, stdout: int | None = None
    ) -> None:
        self._command = [str(bundle / "bootstrap"), str(python), "/var/runtime/bootstrap.py"]
        self.temporary = scratch / "tmp"
        self.stdout = scratch / "stdout"
        self.stderr = scratch / "stderr"
        self._environment = {
            "PATH": os.environ["PATH"],
            "LAMBDA_TASK_ROOT": str(bundle),
            "TMPDIR": str(self.temporary),
            "HOME": str(self.temporary),
            **environment,
        }
        self._stdout = stdout
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.temporary.mkdir(parents=True)
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=self._stdout or out, stderr=err
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGCONT)
            self._running.kill()
        self._running.wait(30)
        if self._running.stdout:
            self._running.stdout.close()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Of the relay itself: `bootstrap` execs."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._running.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._running.send_signal(number)

    def freeze(self) -> None:
        """What the service does to an idle environment."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit code, negative for a signal."""
        return self._running.wait(timeout)

    def footprint(self) -> Footprint:
        """What it holds now."""
        root = Path(f"/proc/{self.pid}")
        pages = int((root / "statm").read_text().split()[1])
        return Footprint(
            descriptors=len(list((root / "fd").iterdir())),
            threads=len(list((root / "task").iterdir())),
            resident=pages * os.sysconf("SC_PAGE_SIZE"),
        )

    def wait_footprint(self, is_reached: Callable[[Footprint], bool], timeout: float = 60.0) -> Footprint:
        """Waits until what it holds satisfies `is_reached` and returns it; after `timeout` seconds whatever it holds then.

        A thread that opens a connection ends, and the kernel removes its entry, shortly after the response is over.
        """
        end = time.monotonic() + timeout
        while not is_reached(found := self.footprint()) and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> list[dict[str, Any]]:
        """The lines it has logged; anything on stdout that is not one JSON object per line raises ValueError."""
        return [json.loads(line) for line in self.stdout.read_bytes().splitlines()]

    def read_stdout(self, then: Callable[[], None]) -> list[dict[str, Any]]:
        """Empties the pipe, does `then`, and empties it again: the lines of both."""
        assert self._running.stdout is not None
        descriptor = self._running.stdout.fileno()
        os.set_blocking(descriptor, False)
        read = os.read(descriptor, 1 << 20)
        then()
        return [json.loads(line) for line in (read + os.read(descriptor, 1 << 20)).splitlines()]

    def leaks(self) -> list[str]:
        """Planted secrets in its log, on stderr and in its temporary files."""
        written = [self.stdout.read_bytes(), self.stderr.read_bytes()]
        return [secret for text in written for secret in canaries.leaks(text)] + canaries.leaks_below(self.temporary)
