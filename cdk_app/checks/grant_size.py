"""Whether the permissions of all callers fit into the function's own policy. Reads finished templates only, as `guards`.

Each caller named in `invokers` that is not of the relay's own account becomes two statements there, and Lambda refuses
the permission that does not fit any more in the middle of a deployment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cdk_app.config import names
from cdk_app.config.environment import Environment

# "Function resource-based policy": docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_BYTES = 20_480
# What CloudFormation makes of a logical id: the stack's name before it, 12 characters behind; a function's name has 64.
_SUFFIX = "-" + "X" * 12
_FUNCTION = "arn:aws:lambda:{region}:123456789012:function:" + "X" * 64
_LONGEST_REGION = "ap-northeast-1"


def lines(template: Mapping[str, Any], environment: Environment) -> Iterator[str]:
    """One line when the policy would be too large: how many callers fit, and what to write instead."""
    permissions = {
        name: resource["Properties"]
        for name, resource in template.get("Resources", {}).items()
        if resource["Type"] == "AWS::Lambda::Permission"
    }
    callers = len({json.dumps(permission.get("Principal")) for permission in permissions.values()})
    statements = [_statement(name, permission, environment) for name, permission in permissions.items()]
    size = len(json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements}, separators=(",", ":")))
    if size > MOST_BYTES and callers:
        yield (
            f"invokers: the permissions of {callers} callers take about {size} bytes of the function's policy, which "
            f"holds {MOST_BYTES}: about {MOST_BYTES * callers // size} of them fit; name whole accounts ('123456789012') or "
            "the organisation ('o-...') instead, whose own policies then say who may call, or set `account`, whose own "
            "roles and users need no place there; `callers` decides who is served"
        )


def _statement(name: str, permission: Mapping[str, Any], environment: Environment) -> dict[str, Any]:
    """As Lambda writes it: docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"""
    conditions: dict[str, Any] = {}
    if "FunctionUrlAuthType" in permission:
        conditions["StringEquals"] = {"lambda:FunctionUrlAuthType": permission["FunctionUrlAuthType"]}
    if "PrincipalOrgID" in permission:
        conditions.setdefault("StringEquals", {})["aws:PrincipalOrgID"] = permission["PrincipalOrgID"]
    if permission.get("InvokedViaFunctionUrl"):
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
    return {
        "Sid": f"{names.relay_stack(environment.name)}-{name}{_SUFFIX}",
        "Effect": "Allow",
        "Principal": {"AWS": _principal(permission.get("Principal", "*"))},
        "Action": permission.get("Action", ""),
        "Resource": _FUNCTION.format(region=environment.region or _LONGEST_REGION),
        **({"Condition": conditions} if conditions else {}),
    }


def _principal(written: object) -> str:
    """Of a whole account Lambda keeps the ARN of its root."""
    text = written if isinstance(written, str) else json.dumps(written)
    account = re.search(r"(?:^|iam::)(\d{12})(?:$|:root)", text)
    return f"arn:aws:iam::{account[1]}:root" if account else text
