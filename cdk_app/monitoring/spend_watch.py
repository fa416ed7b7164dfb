"""The spend watch: once a minute Step Functions adds up what was booked on the running UTC day, tells CloudWatch, and stops
the relay at the day's limit. No code of ours runs.

Lambda itself then refuses every request with 429, whatever state the relay or OpenAI is in. Streams that have begun end by
themselves. An operator lets it go on: output ResumeCommand. Why no alarm does this: docs/decisions/0054.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from cdk_app.monitoring import spend_states
from cdk_app.monitoring.metrics import NAMESPACE

EVERY = cdk.Duration.minutes(1)


class SpendWatch(Construct):
    """`machine` for the alarm on its own failure and for who lets the relay go on. `limit_usd` None: it only tells."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        table_name: str,
        table_arn: str,
        function_name: str,
        function_arn: str,
        limit_usd: int | None,
        concurrency: int | None,
    ) -> None:
        super().__init__(scope, id)
        watched = spend_states.Watched(
            partition=cdk.Aws.PARTITION,
            table=table_name,
            function=function_name,
            namespace=NAMESPACE,
            limit_usd=limit_usd,
            concurrency=concurrency,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        for statement in _statements(table_arn, function_arn, can_stop=limit_usd is not None):
            role.add_to_policy(statement)
        self.machine = stepfunctions.StateMachine(
            self,
            "Machine",
            # Asked again each minute, it needs no history; an hour of it costs less than a minute of the other kind.
            state_machine_type=stepfunctions.StateMachineType.EXPRESS,
            definition_body=stepfunctions.DefinitionBody.from_string(
                cdk.Stack.of(self).to_json_string(spend_states.definition(watched))
            ),
            role=role.without_policy_updates(),
        )
        _acknowledge(self.machine, role)
        events.Rule(
            self,
            "Rule",
            description="Adds up once a minute what was booked today",
            schedule=events.Schedule.rate(EVERY),
            targets=[targets.SfnStateMachine(self.machine)],
        )


def _statements(table_arn: str, function_arn: str, *, can_stop: bool) -> list[iam.PolicyStatement]:
    read = ["dynamodb:Query", "dynamodb:BatchGetItem", "dynamodb:GetItem"]
    found = [
        iam.PolicyStatement(actions=read, resources=[table_arn]),
        # The call takes no resource; the namespace is what there is to limit it by.
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
        ),
    ]
    if can_stop:
        stop = ["lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"]
        found += [
            iam.PolicyStatement(actions=stop, resources=[function_arn]),
            iam.PolicyStatement(
                actions=["dynamodb:PutItem"],
                resources=[table_arn],
                # "ForAllValues" alone would let a request without the condition's key pass.
                conditions={
                    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["switch"]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            ),
        ]
    return found


def _acknowledge(machine: stepfunctions.StateMachine, role: iam.Role) -> None:
    for id, reason in {
        "AwsSolutions-SF1": "its output says what it found, an alarm says when it fails; a log each minute would only cost",
        "AwsSolutions-SF2": "a few calls of AWS's API in a row; there is nothing to trace",
    }.items():
        cdk.Validations.of(machine).acknowledge(cdk.Acknowledgment(id=id, reason=reason))
    cdk.Validations.of(role).acknowledge(
        cdk.Acknowledgment(
            id="AwsSolutions-IAM5[Resource::*]",
            reason="PutMetricData takes no resource; a condition limits it to the relay's namespace",
        )
    )
