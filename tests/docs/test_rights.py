"""docs/first-deployment.md lists the permissions that `make smoke` needs: those of the calls in the code, and no others."""

from __future__ import annotations

import re

from cdk_app import environments
from cdk_app.config import check
from tests.support.synthesis import ROOT

# Where IAM calls a service differently than boto3 does.
PREFIXES = {"stepfunctions": "states"}
# Made on request only, and listed apart.
DRILL = {"states:StartExecution", "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"}


def called() -> set[str]:
    """The actions of the calls in `clients/deployed`."""
    found = set()
    for path in (ROOT / "clients" / "deployed").glob("*.py"):
        for service, operation in re.findall(r"\.call\(\s*\"(\w+)\",\s*\"(\w+)\"", path.read_text()):
            name = "".join(word.capitalize() for word in operation.split("_"))
            found.add(f"{PREFIXES.get(service, service)}:{name}")
    return found


def test_the_readers_actions_are_those_that_are_called() -> None:
    page = ROOT.joinpath("docs", "first-deployment.md").read_text()
    (listed,) = re.findall(r"```\n(cloudformation:.*?)```", page, re.DOTALL)
    assert set(listed.split()) == called() - DRILL
    assert called() >= DRILL
    assert all(action in page for action in DRILL)


def test_the_environment_of_the_page_is_one_that_can_be_deployed() -> None:
    page = ROOT.joinpath("docs", "first-deployment.md").read_text()
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    environment = eval(text.replace("ACCOUNT", "123456789012"), vars(environments))
    assert check.find("first", (environment,)) is environment
