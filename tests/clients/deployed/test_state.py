"""What AWS says of stacks, secrets, grants and concurrency, against an account of MiniStack's."""

from __future__ import annotations

import dataclasses

import boto3
import pytest

from clients.deployed import deployment, state
from clients.deployed.account import Account, Stack, UnavailableError
from clients.report import Result
from tests.clients.deployed.conftest import REGION, RELAY, Site, results

REFERS = "the edge's stack refers to this Function URL"
REPLICA = "the origin secret is replicated to us-east-1"
POLICY = "the function's policy lets in nobody but signed callers, through the URL"
ALIAS = "the policy of the alias `api` lets in nobody but an API of this account"
API = "arn:aws:execute-api:eu-central-1:123456789012:abcde12345/relay/*"
RESERVED = "the reserved concurrency is the template's"


def test_what_was_deployed_holds(site: Site) -> None:
    site.client("lambda").put_function_concurrency(FunctionName=site.deployed.function, ReservedConcurrentExecutions=7)
    assert results(state.references(site.deployed)) == {REFERS: Result.KEPT, REPLICA: Result.KEPT}
    assert results(state.grants(site.deployed))[POLICY] is Result.KEPT
    assert results(state.concurrency(site.deployed))[RESERVED] is Result.KEPT


def test_an_edge_that_points_elsewhere_is_noticed(site: Site) -> None:
    old = Stack(name="edge", region="us-east-1", outputs={"SignHost": "old.lambda-url.eu-central-1.on.aws"})
    assert results(state.references(dataclasses.replace(site.deployed, edge=old)))[REFERS] is Result.BROKEN


def test_a_secret_without_its_replica_is_noticed(site: Site) -> None:
    alone = site.client("secretsmanager").create_secret(Name="alone", SecretString="x")["ARN"]
    relay = site.deployed.relay
    changed = dataclasses.replace(relay, outputs={**relay.outputs, "OriginSecretArn": alone})
    assert results(state.references(dataclasses.replace(site.deployed, relay=changed)))[REPLICA] is Result.BROKEN


@pytest.mark.parametrize(
    "grant",
    [
        {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"},
        {"Action": "lambda:InvokeFunction", "Principal": "*"},
    ],
)
def test_a_grant_to_everybody_is_noticed(site: Site, grant: dict[str, str]) -> None:
    site.client("lambda").add_permission(FunctionName=site.deployed.function, StatementId="by-hand", **grant)
    assert results(state.grants(site.deployed))[POLICY] is Result.BROKEN


@pytest.mark.parametrize(
    ("grant", "result"),
    [
        ({"Principal": "apigateway.amazonaws.com", "SourceArn": API}, Result.KEPT),
        ({"Principal": "apigateway.amazonaws.com"}, Result.BROKEN),
        ({"Principal": "123456789012"}, Result.BROKEN),
        ({"Principal": "*"}, Result.BROKEN),
    ],
)
def test_who_may_invoke_the_apis_alias(site: Site, grant: dict[str, str], result: Result) -> None:
    aws, name = site.client("lambda"), site.deployed.function
    assert results(state.grants(site.deployed))[ALIAS] is Result.KEPT
    aws.create_alias(FunctionName=name, Name="api", FunctionVersion="$LATEST")
    aws.add_permission(
        FunctionName=name, Qualifier="api", StatementId="by-hand", Action="lambda:InvokeFunction", **grant
    )
    assert results(state.grants(site.deployed))[ALIAS] is result


def test_a_concurrency_that_a_person_has_set_is_noticed(site: Site) -> None:
    site.client("lambda").put_function_concurrency(FunctionName=site.deployed.function, ReservedConcurrentExecutions=0)
    assert results(state.concurrency(site.deployed))[RESERVED] is Result.BROKEN


def test_a_url_that_no_stack_has_is_not_somebody_elses(site: Site) -> None:
    account = Account(site.session, REGION)
    with pytest.raises(UnavailableError, match=f"no stack in {REGION}"):
        deployment.find(account, "https://other.lambda-url.eu-central-1.on.aws")
    assert deployment.find(account, site.deployed.relay.outputs["FunctionUrl"]).relay.name == RELAY


def test_a_right_that_is_missing_is_named(site: Site) -> None:
    """IAM is enforced: a user who may do nothing."""
    iam = site.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    session = boto3.Session(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    with pytest.raises(UnavailableError, match=r"(?i)DescribeStacks") as denied:
        Account(session, REGION).relay("https://x")
    assert "docs/first-deployment.md" in denied.value.cure
