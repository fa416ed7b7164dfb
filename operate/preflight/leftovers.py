"""Stacks of an environment that are deployed and that its configuration does not build any more: an edge or a monitoring that
was turned off. `cdk destroy` knows only what the app builds, so they would run, and cost, for ever.

`python -m operate.preflight.leftovers` lists them; with --remove it removes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, TextIO

from botocore.exceptions import ClientError

from cdk_app import environments
from cdk_app.config import names
from cdk_app.config.environment import ConfigurationError, Environment
from operate.aws import Account, OperatorError, expected, told

# CloudFront takes minutes to give a distribution up.
_REMOVING_MINUTES = 45

Stack = tuple[str, Any]
"""Name, and the CloudFormation client of its region."""


def leftovers(account: Account, environment: Environment) -> Iterator[Stack]:
    """Each stack that is there and not built any more. Raises OperatorError."""
    for name, client in _not_built(account, environment):
        try:
            status = expected(partial(client.describe_stacks, StackName=name))["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in str(error):
                continue
            raise OperatorError(f"the stack {name} cannot be read ({told(error)})") from None
        if status != "DELETE_COMPLETE":
            yield name, client


def _not_built(account: Account, environment: Environment) -> Iterator[Stack]:
    if environment.edge == "off":
        yield names.edge_stack(environment.name), account.client("cloudformation", region=names.EDGE_REGION)
    if environment.monitoring == "off":
        yield names.monitoring_stack(environment.name), account.client("cloudformation")


def remove(stacks: list[Stack]) -> None:
    """Deletes them and waits until they are gone. Raises OperatorError."""
    for name, client in stacks:
        try:
            expected(partial(client.delete_stack, StackName=name))
            waiter = client.get_waiter("stack_delete_complete")
            waiter.wait(StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": _REMOVING_MINUTES * 12})
        except ClientError as error:
            raise OperatorError(f"the stack {name} cannot be removed ({told(error)})") from None
        except Exception as error:  # the waiter's own, which says no more than that it failed
            raise OperatorError(f"the stack {name} was not removed: look at its events ({error})") from None


def main(arguments: list[str], answers: TextIO = sys.stdin) -> int:
    """Exit code 1 when something went wrong, or nobody said yes."""
    parser = argparse.ArgumentParser(prog="python -m operate.preflight.leftovers", description=__doc__)
    parser.add_argument("--env", default="dev", help="an environment of cdk_app/environments.py (dev)")
    parser.add_argument("--remove", action="store_true", help="remove them, after asking")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    given = parser.parse_args(arguments)
    try:
        environment = environments.find(given.env)
        account = Account(profile=None, region=environment.region)
        found = list(leftovers(account, environment))
        for name, client in found:
            print(f"{name} in {client.meta.region_name}: deployed, and not part of {environment.name} any more")
        if found and given.remove:
            if not given.yes and not _agreed(answers):
                return 1
            remove(found)
            print("removed")
    except (ConfigurationError, OperatorError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


def _agreed(answers: TextIO) -> bool:
    print("remove (y/n)? ", end="", flush=True)
    return answers.readline().strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
