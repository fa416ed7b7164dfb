"""OpenAI for those who have this run's key: aimock's fixtures and pace, behind a door that answers every served endpoint.

with OpenAIStandIn(key="sk-...") as openai:
    ... OPENAI_BASE_URL=openai.url ...
    openai.journal()      # the requests that aimock got, as it recorded them

For byte-exact faults there is `raw_upstream`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import httpx

from emulator.fakes.readiness import StandInError, wait_for_text
from emulator.openai.door import OpenAIDoor
from emulator.processes import child_process
from emulator.processes.loop_thread import LoopThread

ROOT = Path(__file__).resolve().parent.parent.parent
AIMOCK = ROOT / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
DEMO_FIXTURES = Path(__file__).resolve().parent / "fixtures" / "demo.json"
NAME = "the OpenAI stand-in (aimock)"


class OpenAIStandIn:
    """Answers only requests that carry `key`. aimock starts in the background: `url` waits for it.

    `fixtures` is a file of a user's own, in aimock's format, which comes before everything that is made up.
    """

    def __init__(self, *, key: str, fixtures: Path | None = None) -> None:
        self._key = key
        self._fixtures = fixtures
        self._origin = ""

    def __enter__(self) -> Self:
        node = shutil.which("node")
        if node is None:
            raise StandInError("node is not on PATH: Node >= 20 runs the stand-in for OpenAI")
        if not AIMOCK.exists():
            raise StandInError("node_modules is missing: run `npm ci` (make does it)")
        if self._fixtures is not None and not self._fixtures.is_file():
            raise StandInError(f"there is no file {self._fixtures}: --fixtures takes a JSON file in aimock's format")
        self._folder = TemporaryDirectory(prefix="openai-stand-in-")
        self._log = Path(self._folder.name, "log")
        variables = {"AIMOCK_API_KEYS": self._key, "HOME": self._folder.name, "PATH": str(Path(node).parent)}
        fixtures = str((self._fixtures or DEMO_FIXTURES).resolve())
        command = [node, str(AIMOCK), "--port", "0", "--fixtures", fixtures, "--validate-on-load"]
        self._process = child_process.start_logged(command, env=variables, log=self._log)
        self._loop = LoopThread()
        self._door = OpenAIDoor(self._key, self._wait_for_aimock, fixtures_first=self._fixtures is not None)
        self._loop.run(self._door.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._door.close())
        self._loop.close()
        child_process.stop_logged(self._process)
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Raises StandInError when aimock does not start."""
        self._wait_for_aimock()
        return f"http://127.0.0.1:{self._door.port}/v1"

    @property
    def pid(self) -> int:
        return self._process.pid

    def journal(self) -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {self._key}"}
        url = f"{self._wait_for_aimock()}/__aimock/journal"
        entries: list[dict[str, Any]] = httpx.get(url, headers=headers, trust_env=False).json()
        return entries

    def _wait_for_aimock(self) -> str:
        """Its origin, once it serves."""
        if not self._origin:
            line = wait_for_text(NAME, self._process, self._log, "server listening on http://")
            self._origin = line.rpartition(" ")[2]
        return self._origin
