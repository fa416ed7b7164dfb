"""The AWS account behind the endpoint: its stacks, found by the Function URL, and what may be read of them.

Whatever is not allowed or not there ends a check with one line that names the permission; nothing is written here but on
request (the drill of the spend watch).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cdk_app.config import names
from clients.signing import explained_error


class UnavailableError(Exception):
    """AWS does not tell. The text is one line for a person; `cure` says what to change."""

    def __init__(self, text: str, cure: str = "") -> None:
        super().__init__(text)
        self.cure = cure


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack as it is deployed: outputs, and each resource's type and physical name by its logical name."""

    name: str
    region: str
    outputs: Mapping[str, str] = field(default_factory=dict)

    def output(self, name: str) -> str:
        """The output of that name. Raises UnavailableError where the stack has none, as after a failed deployment."""
        if name not in self.outputs:
            raise UnavailableError(f"the stack {self.name} has no output {name}", "Deploy it again.")
        return self.outputs[name]

    @property
    def environment(self) -> str:
        return self.name.removeprefix(f"{names.PROJECT}-")


class Account:
    """What AWS tells about one deployment. Every method raises UnavailableError."""

    def __init__(self, session: boto3.Session, region: str) -> None:
        self._session = session
        self.region = region

    def call(self, service: str, operation: str, *, region: str = "", **parameters: Any) -> Any:
        """Call one operation, such as ("lambda", "get_policy")."""
        config = Config(retries={"mode": "standard"}, connect_timeout=5, read_timeout=20)
        try:
            client = self._session.client(service, region_name=region or self.region, config=config)
            return getattr(client, operation)(**parameters)
        except ClientError as error:
            raise _unavailable(error) from None
        except (BotoCoreError, OSError, ValueError) as error:
            raise UnavailableError(str(explained_error(error))) from None

    def relay(self, function_url: str) -> Stack:
        """The stack whose output FunctionUrl is this one's."""
        token: dict[str, str] = {}
        while True:
            page = self.call("cloudformation", "describe_stacks", **token)
            for described in page["Stacks"]:
                stack = _stack(described, self.region)
                if _host(stack.outputs.get("FunctionUrl", "")) == _host(function_url):
                    return stack
            if not page.get("NextToken"):
                break
            token = {"NextToken": page["NextToken"]}
        raise UnavailableError(
            f"no stack in {self.region} has this Function URL as its output",
            "Choose the account with --profile, and the region with --region.",
        )

    def stack(self, name: str, region: str = "") -> Stack | None:
        """The stack of that name; None where there is none."""
        try:
            described = self.call("cloudformation", "describe_stacks", region=region, StackName=name)["Stacks"]
        except UnavailableError as error:
            if "does not exist" in str(error):
                return None
            raise
        return _stack(described[0], region or self.region)

    def template(self, stack: Stack) -> Mapping[str, Any]:
        """The resources of the stack's template, by logical name."""
        body = self.call("cloudformation", "get_template", region=stack.region, StackName=stack.name)["TemplateBody"]
        template = body if isinstance(body, Mapping) else json.loads(body)
        resources: Mapping[str, Any] = template["Resources"]
        return resources

    def resources(self, stack: Stack, kind: str) -> Iterator[tuple[str, str]]:
        """The logical and the physical name of each resource of that type."""
        token: dict[str, str] = {}
        while True:
            page = self.call(
                "cloudformation", "list_stack_resources", region=stack.region, StackName=stack.name, **token
            )
            for one in page["StackResourceSummaries"]:
                if one["ResourceType"] == kind:
                    yield one["LogicalResourceId"], one["PhysicalResourceId"]
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}


def _unavailable(error: ClientError) -> UnavailableError:
    described = error.response.get("Error", {})
    code, message = described.get("Code", ""), str(described.get("Message", "")).rstrip(".")
    denied = code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
    action = f"{error.operation_name}: " if error.operation_name not in message else ""
    cure = "Give these credentials the rights that docs/first-deployment.md lists." if denied else ""
    return UnavailableError(f"{action}{code}: {message}", cure)


def _stack(described: Mapping[str, Any], region: str) -> Stack:
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
    return Stack(name=described["StackName"], region=region, outputs=outputs)


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()
