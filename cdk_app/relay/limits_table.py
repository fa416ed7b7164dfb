"""The DynamoDB table of callers' limits and usage. Knows its keys and the attribute of its time to live, nothing else."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

KEYS = "keys"
"""The partition of the table in which keys lie: authorizer_src/authorizer/api_key.py says how."""
NOTED = ("pk", "sk", "used")
"""The attributes that the authorizer's one write names."""


class Limits(Construct):
    """`table_name` is for the relay, `table_arn` for permissions. Idle it costs only its storage: some 0.5 KB a request."""

    def __init__(self, scope: Construct, id: str, *, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(scope, id)
        self._table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires",
            # A mistaken command must not lose what was spent: restorable to any second of the last 35 days.
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            # AWS's own key for the account: shows in CloudTrail who decrypts, and costs nothing while idle.
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            removal_policy=removal_policy,
            deletion_protection=removal_policy is cdk.RemovalPolicy.RETAIN,
        )
        self.table_name, self.table_arn = self._table.table_name, self._table.table_arn

    def grant_use(self, grantee: iam.IGrantable) -> None:
        """The three calls that the relay makes. It lists nothing and deletes nothing."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            resource_arns=[self._table.table_arn],
        )

    def grant_keys(self, grantee: iam.IGrantable) -> None:
        """What the authorizer of keys needs: to read their partition, and to write there when a key was last used."""
        keys = {"dynamodb:LeadingKeys": [KEYS]}
        statements = [
            iam.PolicyStatement(
                actions=["dynamodb:GetItem"],
                resources=[self._table.table_arn],
                # "ForAllValues" alone would let a request without the condition's key pass.
                conditions={"ForAllValues:StringEquals": keys, "Null": {"dynamodb:LeadingKeys": "false"}},
            ),
            iam.PolicyStatement(
                actions=["dynamodb:UpdateItem"],
                resources=[self._table.table_arn],
                conditions={
                    "ForAllValues:StringEquals": {**keys, "dynamodb:Attributes": list(NOTED)},
                    "Null": {"dynamodb:LeadingKeys": "false", "dynamodb:Attributes": "false"},
                },
            ),
        ]
        for statement in statements:
            grantee.grant_principal.add_to_principal_policy(statement)
