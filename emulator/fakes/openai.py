"""aimock as OpenAI: real fixtures, real pacing, API keys. For byte-exact faults there is `raw_upstream`.

with OpenAIStandIn(key="sk-...") as openai:
    ... OPENAI_BASE_URL=openai.url ...
    openai.journal()      # the requests it got, as aimock recorded them
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import httpx

from emulator.fakes.readiness import StandInError, wait_for_text
from emulator.processes import child_process

ROOT = Path(__file__).resolve().parent.parent.parent
AIMOCK = ROOT / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
DEMO_FIXTURES = Path(__file__).resolve().parent / "fixtures" / "demo.json"
NAME = "the OpenAI stand-in (aimock)"


class OpenAIStandIn:
    """Answers only requests that carry `key`. It starts in the background: `url` waits for it."""

    def __init__(self, *, key: str, fixtures: Path = DEMO_FIXTURES) -> None:
        self._key = key
        self._fixtures = fixtures
        self._origin = ""

    def __enter__(self) -> Self:
        node = shutil.which("node")
        if node is None:
            raise StandInError("node is not on PATH: Node >= 20 runs the stand-in for OpenAI")
        if not AIMOCK.exists():
            raise StandInError("node_modules is missing: run `npm ci` (make does it)")
        self._folder = TemporaryDirectory(prefix="openai-stand-in-")
        self._log = Path(self._folder.name, "log")
        variables = {"AIMOCK_API_KEYS": self._key, "HOME": self._folder.name, "PATH": str(Path(node).parent)}
        command = [node, str(AIMOCK), "--port", "0", "--fixtures", str(self._fixtures), "--validate-on-load"]
        self._process = child_process.start_logged(command, env=variables, log=self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child_process.stop_logged(self._process)
        self._folder.cleanup()

    @property
    def url(self) -> str:
        if not self._origin:
            line = wait_for_text(NAME, self._process, self._log, "server listening on http://")
            self._origin = line.rpartition(" ")[2]
        return f"{self._origin}/v1"

    @property
    def pid(self) -> int:
        return self._process.pid

    def journal(self) -> list[dict[str, Any]]:
        origin = self.url.removesuffix("/v1")
        headers = {"authorization": f"Bearer {self._key}"}
        entries: list[dict[str, Any]] = httpx.get(f"{origin}/__aimock/journal", headers=headers).json()
        return entries
