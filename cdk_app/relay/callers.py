"""Who may call: one managed policy for the relay's own account, resource statements only for who is elsewhere.

Within an account either side's policy suffices, so a role, a user, a group or a permission set that has the policy may call,
and the function's own policy, which holds 20 KB, does not grow. Other accounts and organisations need a statement here, and a
policy of their own there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_app.config import principals
from cdk_app.config.principals import Kind

# What IAM Identity Center makes; nobody else may attach anything to them. Their permission set takes the policy.
_RESERVED = "aws-reserved/"


class Callers(Construct):
    """`policy` is for whoever shall call from the relay's own account. `account` is None where synth does not know it."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        function: lambda_.Function,
        url: lambda_.FunctionUrl,
        account: str | None,
        invokers: Sequence[str],
    ) -> None:
        super().__init__(scope, id)
        self._function = function
        self._url = url
        attached = [arn for arn in invokers if is_attached(arn, account)]
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            description="May call the relay through its Function URL",
            statements=self.statements(),
            roles=[iam.Role.from_role_name(self, _id(arn), _name(arn)) for arn in attached if ":role/" in arn],
            users=[iam.User.from_user_name(self, _id(arn), _name(arn)) for arn in attached if ":user/" in arn],
        )
        for number, invoker in enumerate(invokers):
            if invoker not in attached and not principals.is_account(invoker, account):
                self._permit(invoker, number)

    def statements(self) -> list[iam.PolicyStatement]:
        """Both permissions that a Function URL demands; InvokeFunction only through the URL, where AWS writes the event."""
        arn = self._function.function_arn
        return [
            iam.PolicyStatement(
                actions=["lambda:InvokeFunctionUrl"],
                resources=[arn],
                conditions={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
            ),
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"],
                resources=[arn],
                conditions={"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
            ),
        ]

    def _permit(self, invoker: str, number: int) -> None:
        match principals.kind(invoker):
            case Kind.ORGANISATION:
                self._add(invoker, {"principal": "*", "principal_org_id": invoker})
            case Kind.REFERENCE:  # of which the construct's own grant cannot make an id
                self._add(f"Reference{number}", {"principal": invoker})
            case _:
                self._url.grant_invoke_url(principal(invoker))

    def _add(self, id: str, who: dict[str, Any]) -> None:
        who |= {"function_name": self._function.function_arn}
        lambda_.CfnPermission(
            self, f"Url{id}", action="lambda:InvokeFunctionUrl", function_url_auth_type="AWS_IAM", **who
        )
        lambda_.CfnPermission(
            self, f"Function{id}", action="lambda:InvokeFunction", invoked_via_function_url=True, **who
        )


def principal(text: str) -> iam.IPrincipal:
    """An account id or `arn:...:root` is the whole account, whose own policies then say who; else one identity, whose ARN
    may be a token."""
    account = principals.account_of(text)
    return iam.AccountPrincipal(account) if account else iam.ArnPrincipal(text)


def is_attached(invoker: str, account: str | None) -> bool:
    """Whether the managed policy is attached to it here: a role or user of the relay's own account."""
    mine = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):(?:role|user)/(.+)", invoker)
    return bool(mine and mine[1] == account and not mine[2].startswith(_RESERVED))


def _name(arn: str) -> str:
    """Without the path, which IAM's own calls do not take."""
    return arn.rpartition("/")[2]


def _id(arn: str) -> str:
    return arn.rpartition(":")[2].replace("/", "-")
