"""The templates of the environment "everything", deployed to an AWS account of MiniStack's, and what a run leaves there."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import pytest

from cdk_app.config import names
from clients.deployed import deployment
from clients.deployed.account import Account
from clients.deployed.deployment import Deployment
from clients.deployed.records import Notes
from clients.report import Finding, Result
from emulator.local_deploy.ministack_account import MiniStackAccount
from tests.support.synthesis import Synthesised

ENVIRONMENT = "everything"
REGION = "eu-central-1"
RELAY, EDGE, MONITORING = (
    name(ENVIRONMENT) for name in (names.relay_stack, names.edge_stack, names.monitoring_stack)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """`deployed` is what the checks get; the rest is for changing what they look at."""

    cloud: MiniStackAccount
    session: boto3.Session
    deployed: Deployment

    def client(self, service: str, region: str = REGION) -> Any:
        return self.session.client(
            service, region_name=region, endpoint_url=self.cloud.url, verify=str(self.cloud.ca_file)
        )

    @property
    def log_group(self) -> str:
        return str(self.deployed.configuration()["LoggingConfig"]["LogGroup"])

    def write(self, *lines: str) -> None:
        """Writes to the function's log group as Lambda would."""
        logs = self.client("logs")
        stream = f"stream-{time.time_ns()}"
        logs.create_log_stream(logGroupName=self.log_group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        logs.put_log_events(logGroupName=self.log_group, logStreamName=stream, logEvents=events)

    def measure(self, name: str, value: float) -> None:
        """Puts a metric as CloudWatch makes it of a line."""
        dimensions = [{"Name": "function", "Value": self.deployed.function}]
        data = [{"MetricName": name, "Dimensions": dimensions, "Value": value}]
        self.client("cloudwatch").put_metric_data(Namespace="OpenAILambdaRelay", MetricData=data)


@pytest.fixture(scope="module")
def cloud() -> Iterator[MiniStackAccount]:
    with MiniStackAccount() as running:
        yield running


@pytest.fixture
def site(cloud: MiniStackAccount, templates: dict[str, Synthesised], monkeypatch: pytest.MonkeyPatch) -> Site:
    """A fresh deployment for each test: it takes a second."""
    httpx.post(f"{cloud.url}/_ministack/reset", verify=cloud.tls_context(), trust_env=False).raise_for_status()
    for name, text in cloud.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    session = boto3.Session()
    relay = _deploy(session, RELAY, _with_code(templates[ENVIRONMENT].stacks["relay"]))
    _deploy(session, MONITORING, _without_dashboard(templates[ENVIRONMENT].stacks["monitoring"]))
    host = relay["FunctionUrl"].removeprefix("https://")
    edge = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"SignHost": {"Value": host}}}
    _deploy(session, EDGE, edge, names.EDGE_REGION)
    found = deployment.find(Account(session, REGION), relay["FunctionUrl"])
    return Site(cloud, session, dataclasses.replace(found, patience_seconds=2.0, poll_seconds=0.05))


def _deploy(session: boto3.Session, name: str, template: dict[str, Any], region: str = REGION) -> dict[str, str]:
    """Creates the stack and returns its outputs."""
    version = "/cdk-bootstrap/hnb659fds/version"
    session.client("ssm", region_name=region).put_parameter(Name=version, Value="30", Type="String", Overwrite=True)
    client = session.client("cloudformation", region_name=region)
    client.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    while (stack := client.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"] == "CREATE_IN_PROGRESS":
        time.sleep(0.05)
    assert stack["StackStatus"] == "CREATE_COMPLETE", client.describe_stack_events(StackName=name)["StackEvents"]
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def _with_code(template: dict[str, Any]) -> dict[str, Any]:
    """With code in place of an asset that nobody has uploaded, which never runs; and with another function beside it."""
    changed: dict[str, Any] = json.loads(json.dumps(template))
    relay = next(one for one in changed["Resources"].values() if one["Type"] == "AWS::Lambda::Function")
    another = {"Handler": "x.y", "Role": relay["Properties"]["Role"]}
    changed["Resources"] = {"Another": {"Type": "AWS::Lambda::Function", "Properties": another}, **changed["Resources"]}
    for resource in changed["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"] |= {"Code": {"ZipFile": "pass"}, "Runtime": "python3.12"}
    return changed


def _without_dashboard(template: dict[str, Any]) -> dict[str, Any]:
    """It refers to the edge's stack in another region, which MiniStack does not look up."""
    kept = {key: one for key, one in template["Resources"].items() if one["Type"] != "AWS::CloudWatch::Dashboard"}
    return {**template, "Resources": kept}


@pytest.fixture
def notes() -> Notes:
    return Notes(canary="canary0123456789")


def results(findings: Iterator[Finding]) -> dict[str, Result]:
    """Each promise and what became of it."""
    return {finding.promise: finding.result for finding in findings}
