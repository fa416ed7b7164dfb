"""What the operator's command takes from the machine: credentials, region, the stack's output. Knows boto3's sessions.

All that cannot work is told before the first call, in one line that names the setting.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clients.signing import explained_error

T = TypeVar("T")

EXPECTED = (BotoCoreError, OSError, ValueError)
"""What boto3 raises for settings, files and networks that do not work: its own errors, and those of Python's library."""

# Codes of the errors that any AWS service may give (docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html),
# and what to do. DynamoDB and CloudFormation spell some of them in their own ways.
_EXPIRED = "run `aws sso login`, or renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
_UNKNOWN_KEY = "check the profile, AWS_PROFILE and AWS_ACCESS_KEY_ID; temporary ones need AWS_SESSION_TOKEN, too"
_DENIED = "give these credentials the rights that docs/limits.md lists, or choose others with --profile"
_SIGNATURE = "check AWS_SECRET_ACCESS_KEY, the region and this machine's clock"
_REMEDIES = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired"), _EXPIRED),
    **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"), _UNKNOWN_KEY),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "OptInRequired"), _DENIED),
    **dict.fromkeys(("SignatureDoesNotMatch", "InvalidSignatureException"), _SIGNATURE),
    "ResourceNotFoundException": "check --table, --env, --region and the account of these credentials",
}


class OperatorError(Exception):
    """What was asked for cannot be done. The text is for a person: one line that says what to change."""


def told(error: Exception) -> str:
    """Return in one line what failed and what to do about it."""
    if isinstance(error, ClientError):
        described = error.response.get("Error", {})
        code, message = described.get("Code", ""), described.get("Message", "")
        remedy = _REMEDIES.get(code, "")
        return ": ".join(part for part in (str(message).rstrip("."), remedy) if part)
    return str(explained_error(error))


def expected(work: Callable[[], T]) -> T:
    """Return what `work` returns. Raises OperatorError for what boto3 cannot do with these settings."""
    try:
        return work()
    except EXPECTED as error:
        raise OperatorError(told(error)) from None


class Account:
    """The AWS account and region in which a command works. `profile` and `region` are None where not given."""

    def __init__(self, *, profile: str | None, region: str | None) -> None:
        region = region or os.environ.get("AWS_REGION") or None
        self._session = expected(lambda: boto3.Session(profile_name=profile, region_name=region))

    def client(self, service: str, *, region: str | None = None) -> Any:
        """Return boto3's client for `service`, in `region` where it is another than the account's. Raises OperatorError."""
        config = Config(retries={"mode": "standard"}, connect_timeout=5, read_timeout=20)
        client = expected(lambda: self._session.client(service, region_name=region, config=config))
        if expected(self._session.get_credentials) is None:
            raise OperatorError(
                "no AWS credentials: run `aws sso login`, choose one with --profile, or set AWS_PROFILE"
            )
        return client

    def table_of(self, environment: str) -> str:
        """Return the name of an environment's table, from the outputs of its stack. Raises OperatorError."""
        return self.output_of(environment, "LimitsTable")

    def output_of(self, environment: str, output: str) -> str:
        """Return the value of an output of an environment's stack. Raises OperatorError."""
        stack = f"openai-lambda-relay-{environment}"
        client = self.client("cloudformation")
        where = f"in {client.meta.region_name}"
        try:
            described = expected(lambda: client.describe_stacks(StackName=stack))["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                raise OperatorError(
                    f"the stack {stack} is not deployed {where}, in the account of these credentials: deploy it, or "
                    "choose with --env, --region and --profile"
                ) from None
            raise OperatorError(f"the stack {stack} cannot be read {where} ({told(error)})") from None
        values = [each["OutputValue"] for each in described.get("Outputs", []) if each["OutputKey"] == output]
        if not values:
            raise OperatorError(f"the stack {stack} {where} has no output {output}: name the table with --table")
        return str(values[0])


def region_of(environment: str) -> str | None:
    """Return the region that cdk_app/environments.py gives an environment; None where it leaves that open.

    Other values are not checked: to stop a relay must work while the file is being edited.
    """
    try:
        from cdk_app.environments import ENVIRONMENTS  # not above: with --table nothing of it is needed
    except Exception as error:  # the file is edited by hand: whatever is wrong with it is told
        raise OperatorError(
            f"cdk_app/environments.py cannot be read ({error}): correct it, or give --table and --region"
        ) from None
    regions = {each.name: each.region for each in ENVIRONMENTS}
    if environment not in regions:
        raise OperatorError(f"--env {environment}: no such environment; known: {', '.join(regions)}")
    return regions[environment]
