"""The pinned CDK CLI, run against the account that MiniStack plays. Knows nothing of what is deployed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from emulator.assembly.deployment import ROOT
from emulator.errors import EmulatorError
from emulator.local_deploy.ministack_account import MiniStackAccount
from emulator.processes import machine


class LocalDeployError(EmulatorError):
    """A step failed. The text is for a person and ends with what the CLI said."""


class CdkCli:
    """The commands for one environment. Templates are written below `folder`."""

    def __init__(self, environment: str, account: MiniStackAccount, folder: Path) -> None:
        self._environment = environment
        self._account = account
        self._assembly = folder / "assembly"

    def synthesise(self) -> None:
        """Writes the templates of all variants at once: the CDK takes seconds to start. Raises LocalDeployError."""
        app = f'"{sys.executable}" -m emulator.local_deploy.app'
        self._check(self._start("synth", "**", "--quiet", "--app", app, "--output", str(self._assembly)))

    def run(self, *arguments: str) -> None:
        """Raises LocalDeployError when it fails."""
        self._check(self.attempt(*arguments))

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return self._start(*arguments, "--app", str(self._assembly))

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
        fixed = ["--no-notices", "--no-color", "--ci", "-c", f"env={self._environment}"]
        return subprocess.run(
            [*command, *fixed],
            cwd=ROOT,
            env={**machine.taken_over(os.environ), **self._account.environment()},
            capture_output=True,
            text=True,
            check=False,
        )

    def _check(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise LocalDeployError(f"cdk {done.args[1]} failed with {done.returncode}:\n{tail}")
