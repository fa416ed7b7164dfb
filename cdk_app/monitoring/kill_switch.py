"""The kill switch: when its alarm fires, Step Functions sets the function's concurrency to zero. No code of ours runs.

Lambda itself then refuses every request with 429, whatever state the relay, its table or OpenAI is in. Streams that
have begun end by themselves. An operator resumes it: output ResumeCommand.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_stepfunctions as stepfunctions
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct


class KillSwitch(Construct):
    def __init__(
        self, scope: Construct, id: str, *, alarm: cloudwatch.Alarm, function_name: str, function_arn: str
    ) -> None:
        super().__init__(scope, id)
        stop = tasks.CallAwsService(
            self,
            "Stop",
            service="lambda",
            action="putFunctionConcurrency",
            parameters={"FunctionName": function_name, "ReservedConcurrentExecutions": 0},
            iam_resources=[function_arn],
        )
        stop.add_retry(max_attempts=10, interval=cdk.Duration.seconds(2), backoff_rate=2)
        machine = stepfunctions.StateMachine(
            self,
            "Machine",
            comment="Sets the relay's concurrency to zero",
            definition_body=stepfunctions.DefinitionBody.from_chainable(stop),
            timeout=cdk.Duration.minutes(30),
        )
        for id, reason in {
            "AwsSolutions-SF1": "one step, whose outcome Lambda and CloudTrail show",
            "AwsSolutions-SF2": "one step; there is nothing to trace",
        }.items():
            cdk.Validations.of(machine).acknowledge(cdk.Acknowledgment(id=id, reason=reason))
        events.Rule(
            self,
            "Rule",
            description="Stops the relay when the alarm Stop fires",
            event_pattern=events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                resources=[alarm.alarm_arn],
                detail={"state": {"value": ["ALARM"]}},
            ),
            targets=[targets.SfnStateMachine(machine)],
        )
