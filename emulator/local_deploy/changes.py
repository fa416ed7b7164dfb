"""What happens to a deployment that goes wrong half-way or is changed: a first attempt that fails, a second name beside the
first, a part that is turned off. Knows the account and the CLI; the steps are told by `command`.
"""

from __future__ import annotations

import os
import subprocess
import sys

from emulator.assembly.deployment import ROOT
from emulator.local_deploy.cdk_cli import CdkCli, LocalDeployError
from emulator.local_deploy.ministack_account import REGION, MiniStackAccount
from emulator.local_deploy.variants import Variant
from emulator.processes import machine

# Runs `make leftovers` with the environment as it is without its edge.
_LEFTOVERS = """
import sys
from dataclasses import replace
from cdk_app import environments
find = environments.find
environments.find = lambda name: replace(find(name), region={region!r}, edge="off", monitoring="on")
from operate.preflight import leftovers
sys.exit(leftovers.main(sys.argv[1:]))
"""


class Changes:
    """For one environment in one account. Each method leaves the account as the next step expects it."""

    def __init__(self, environment: str, account: MiniStackAccount, cdk: CdkCli) -> None:
        self._environment = environment
        self._account = account
        self._cdk = cdk

    def fail_first(self) -> list[str]:
        """A first deployment that fails at its end; what of log groups, secrets and tables it leaves behind."""
        done = self._cdk.attempt("deploy", f"{Variant.BROKEN}/**", "--require-approval", "never")
        if done.returncode == 0:
            raise LocalDeployError("a deployment that cannot succeed has succeeded")
        return self._kept()

    def deploy_beside(self) -> tuple[set[str], set[str]]:
        """The same under a second name, which is then destroyed: the stacks while both are there, and afterwards."""
        self._cdk.run("deploy", f"{Variant.BESIDE}/**", "--require-approval", "never")
        both = self._account.stacks()
        self._cdk.run("destroy", f"{Variant.BESIDE}/**", "--force")
        return both, self._account.stacks()

    def turn_the_edge_off(self) -> tuple[list[str], list[str]]:
        """The environment without its edge: what is left over of it, and what is said when that is removed."""
        self._cdk.run("deploy", f"{Variant.WITHOUT_EDGE}/**", "--require-approval", "never")
        return self._leftovers(), self._leftovers("--remove", "--yes")

    def _kept(self) -> list[str]:
        clients = {name: self._account.client(name) for name in ("logs", "secretsmanager", "dynamodb")}
        groups = [group["logGroupName"] for group in clients["logs"].describe_log_groups()["logGroups"]]
        secrets = [secret["Name"] for secret in clients["secretsmanager"].list_secrets()["SecretList"]]
        tables = clients["dynamodb"].list_tables()["TableNames"]
        kinds = {"log group": groups, "secret": secrets, "table": tables}
        return [f"{kind} {name}" for kind, names in kinds.items() for name in names]

    def _leftovers(self, *arguments: str) -> list[str]:
        program = _LEFTOVERS.format(region=REGION)
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, "--env", self._environment],
            cwd=ROOT,
            env={**machine.taken_over(os.environ), **self._account.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LocalDeployError(f"make leftovers failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.splitlines()
