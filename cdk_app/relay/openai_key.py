"""The OpenAI key in Secrets Manager: an empty secret, or one that exists. The value never passes through the CDK."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct


class OpenAIKey(Construct):
    """`secret_id` is what GetSecretValue takes: an ARN for a secret made here, otherwise the name or ARN as given."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        existing: str | None,
        existing_kms_key: str | None,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self._kms_key = kms.Key.from_key_arn(self, "KmsKey", existing_kms_key) if existing_kms_key else None
        if existing is None:
            self.secret_id = self._create(removal_policy)
            self._resources = [self.secret_id]
        else:
            self.secret_id, self._resources = existing, self._arns_of(existing)

    def _create(self, removal_policy: cdk.RemovalPolicy) -> str:
        secret = secretsmanager.Secret(
            self,
            "Secret",
            description="The OpenAI key: sk-... or {'keys': ['sk-new', 'sk-old']} in JSON",
            removal_policy=removal_policy,
        )
        # The construct would ask for a generated password. Without it the secret has no value until an operator
        # sets one, and the relay reports a missing key instead of sending OpenAI a random string.
        resource = secret.node.default_child
        assert isinstance(resource, secretsmanager.CfnSecret)
        resource.generate_secret_string = None
        cdk.Validations.of(secret).acknowledge(
            cdk.Acknowledgment(
                id="AwsSolutions-SMG4",
                reason="OpenAI has no API to rotate a key with; the secret holds two keys while a person rotates it",
            )
        )
        return resource.attr_id

    def _arns_of(self, existing: str) -> list[str]:
        """The resources for a policy. Secrets Manager appends "-" and six characters to a name in the secret's ARN.

        An ARN that ends like that may be complete, or be without its end and name a secret such as "my-secret".
        """
        if existing.startswith("arn:"):
            complete = [existing] if len(existing.rpartition("-")[2]) == 6 else []
            return [*complete, f"{existing}-??????"]
        arn = cdk.Stack.of(self).format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{existing}-??????",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        return [arn]

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Only the value: the relay has no use for DescribeSecret, which `Secret.grant_read` adds."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["secretsmanager:GetSecretValue"],
            resource_arns=self._resources,
        )
        if self._kms_key is not None:
            self._kms_key.grant_decrypt(grantee)
