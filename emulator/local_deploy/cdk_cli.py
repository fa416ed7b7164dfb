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
    """The commands for one environment. Templates are written into `folder`."""

    def __init__(self, environment: str, account: MiniStackAccount, folder: Path) -> None:
        self._environment = environment
        self._account = account
        self._folder = folder

    def synthesise(self, name: str, *more: str) -> Path:
        """The folder with the templates, called `name`. Raises LocalDeployError."""
        assembly = self._folder / name
        app = f'"{sys.executable}" -m emulator.local_deploy.app'
        self._check(self._start("synth", "**", "--quiet", "--app", app, "--output", str(assembly), *more))
        return assembly

    def run(self, assembly: Path, *arguments: str) -> None:
        """Raises LocalDeployError when it fails."""
        self._check(self.attempt(assembly, *arguments))

    def attempt(self, assembly: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return self._start(*arguments, "--app", str(assembly))

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
