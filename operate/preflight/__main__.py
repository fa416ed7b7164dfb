"""What `make deploy` asks the account before it starts: whether the concurrency that an environment reserves is there.

A new account has a quota of 10 concurrent executions, of which none can be reserved; the first deployment would fail
after minutes and be rolled back. Asks Lambda only, and only here: synth knows no account. What cannot be found out is
said and stops nothing; the deployment itself will tell.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cdk_app import environments
from cdk_app.config import names
from cdk_app.config.environment import ConfigurationError, Environment
from operate.aws import EXPECTED, Account, OperatorError, told
from operate.preflight import leftovers

KEPT_UNRESERVED = 100
"""Concurrent executions that an account keeps for functions without a reservation; an account with fewer keeps all.
Source: docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html."""

_QUOTA = "L-B99A9384"  # "Concurrent executions" of the service `lambda`
_DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """An account's quota in one region, what no function has reserved of it, and what this environment has by now."""

    quota: int
    unreserved: int
    ours: int

    @property
    def reservable(self) -> int:
        """How much this environment may reserve."""
        return max(0, self.unreserved + self.ours - min(KEPT_UNRESERVED, self.quota))


class NotAskedError(Exception):
    """The account was not asked. The text says why."""


def problem(environment: Environment, found: Concurrency, region: str) -> str:
    """One line that says what to change; "" when the environment can be deployed."""
    wanted = environment.reserved_in_all
    if not wanted or wanted <= found.reservable:
        return ""
    less = f"set reserved_concurrency to {found.reservable} at most" if found.reservable else (
        "set reserved_concurrency=None and give Waiver(rule='no-concurrency-cap', reason=...)"
    )  # fmt: skip
    own = _words(environment)
    return (
        f"{environment.name}: reserved_concurrency is {own}, and this account can reserve {found.reservable} in {region} "
        f"(its quota is {found.quota}, and {min(KEPT_UNRESERVED, found.quota)} stay unreserved): {less} in "
        "cdk_app/environments.py, or ask for a higher quota: aws service-quotas request-service-quota-increase "
        f"--region {region} --service-code lambda --quota-code {_QUOTA} --desired-value {_enough(wanted, found)}"
    )


def _words(environment: Environment) -> str:
    """ "5", or "5, with the API's authorizer 10"."""
    own, in_all = environment.reserved_concurrency, environment.reserved_in_all
    return str(own) if own == in_all else f"{own}, with the API's authorizer {in_all}"


def ask(account: Account, environment: Environment) -> Concurrency:
    """What the account says. Raises NotAskedError, or OperatorError for credentials that do not work."""
    client = account.client("lambda")
    limits = _answer(client.get_account_settings)["AccountLimit"]
    return Concurrency(
        quota=limits["ConcurrentExecutions"],
        unreserved=limits["UnreservedConcurrentExecutions"],
        ours=_reserved(account, client, environment),
    )


def _reserved(account: Account, client: Any, environment: Environment) -> int:
    """What a deployment of the environment that is there has reserved; 0 when there is none, or nobody may say."""
    stack = names.relay_stack(environment.name)
    try:
        described = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
        functions = [outputs[name] for name in ("FunctionName", "KeyAuthorizer") if name in outputs]
        answers = [client.get_function_concurrency(FunctionName=name) for name in functions]
        return sum(int(answer.get("ReservedConcurrentExecutions", 0)) for answer in answers)
    except (ClientError, KeyError, IndexError, *EXPECTED):
        return 0


def _answer(call: Any) -> Any:
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _DENIED:
            raise NotAskedError("these credentials may not call lambda:GetAccountSettings") from None
        raise OperatorError(told(error)) from None
    except EXPECTED as error:
        raise NotAskedError(told(error)) from None


def _enough(wanted: int, found: Concurrency) -> int:
    return max(1000, found.quota, wanted + found.quota - found.unreserved - found.ours + KEPT_UNRESERVED)


def _left(account: Account, environment: Environment) -> list[leftovers.Stack]:
    """Nothing where nobody may say: a deployment does not depend on it."""
    try:
        return list(leftovers.leftovers(account, environment))
    except OperatorError:
        return []


def main(arguments: list[str]) -> int:
    """Exit code 1 when the environment cannot be deployed, with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m operate.preflight", description=__doc__)
    parser.add_argument("--env", default="dev", help="an environment of cdk_app/environments.py (dev)")
    given = parser.parse_args(arguments)
    try:
        environment = environments.find(given.env)
        account = Account(profile=None, region=environment.region)
        found = ask(account, environment)
    except NotAskedError as reason:
        print(f"note: the account's quota was not checked: {reason}", file=sys.stderr)
        return 0
    except (ConfigurationError, OperatorError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    for name, client in _left(account, environment):
        print(
            f"note: {name} in {client.meta.region_name} is deployed, and {environment.name} builds it no more: "
            f"make leftovers ENV={environment.name} removes it",
            file=sys.stderr,
        )
    line = problem(environment, found, account.client("lambda").meta.region_name)
    if line:
        print(f"error: {line}", file=sys.stderr)
    return 1 if line else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
