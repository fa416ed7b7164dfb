"""The roles of those who call a local deployment: sixty, made by their owners. Knows IAM and the function's policy."""

from __future__ import annotations

import json

from emulator.local_deploy.ministack_account import MiniStackAccount
from emulator.local_deploy.variants import CALLERS
from emulator.signing.identities import ACCOUNT


def create(account: MiniStackAccount) -> None:
    """Makes the roles."""
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = account.client("iam")
    for name in CALLERS:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)


def with_policy(account: MiniStackAccount, arn: str) -> list[str]:
    """Names of the roles to which the managed policy is attached."""
    entities = account.client("iam").list_entities_for_policy(PolicyArn=arn)
    return sorted(role["RoleName"] for role in entities["PolicyRoles"])


def statements(account: MiniStackAccount, function: str) -> int:
    """How many statements the function's own policy has."""
    client = account.client("lambda")
    try:
        return len(json.loads(client.get_policy(FunctionName=function)["Policy"])["Statement"])
    except client.exceptions.ResourceNotFoundException:
        return 0
