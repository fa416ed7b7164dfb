"""The edge's stack, in us-east-1 wherever the relay is: web ACL, distribution, their logs.

It reads the relay's stack through `Fn::GetStackOutput`, so no custom resource and no Lambda carries values between
regions: docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-getstackoutput.html
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_pricingplanmanager as pricingplanmanager
from constructs import Construct

from cdk_app import removal
from cdk_app.config import names
from cdk_app.config.environment import Environment
from cdk_app.edge.distribution import Edge
from cdk_app.edge.web_acl import Waf


class EdgeStack(cdk.Stack):
    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, function_url: str, origin_secret_arn: str
    ) -> None:
        name = names.edge_stack(environment.name)
        super().__init__(
            scope,
            id,
            stack_name=name,
            env=cdk.Environment(account=environment.account, region=names.EDGE_REGION),
            description=f"CloudFront and WAF in front of the relay ({environment.name})",
        )
        removal_policy = removal.policy(environment)
        options = environment.edge_options
        host = cdk.Fn.select(2, cdk.Fn.split("/", function_url))
        waf = Waf(
            self,
            "Waf",
            name=name,
            options=options,
            log_retention_days=environment.log_retention_days,
            removal_policy=removal_policy,
        )
        edge = Edge(
            self,
            "Edge",
            origin_host=host,
            secret=self._secret(environment, origin_secret_arn),
            comment=f"{names.PROJECT} {environment.name}, origin secret {options.origin_secret_version}",
            web_acl_arn=waf.acl.attr_arn,
            domain=options.domain,
            certificate_arn=options.certificate,
            read_timeout=cdk.Duration.seconds(options.read_timeout_seconds),
            function_timeout=cdk.Duration.seconds(environment.timeout_seconds),
            log_name=name,
            log_retention_days=environment.log_retention_days,
            removal_policy=removal_policy,
        )
        if options.plan == "free":
            # The plan wants exactly one distribution and one web ACL, and is in force at once.
            pricingplanmanager.CfnSubscription(
                self,
                "Plan",
                plan_family="CloudFront",
                plan_tier="FREE",
                resource_arns=[edge.distribution.distribution_arn, waf.acl.attr_arn],
            )
        self.distribution_id = edge.distribution.distribution_id
        self.web_acl_metric = name
        self._allow_log_delivery([waf.log_group, edge.log_group])
        url = f"https://{options.domain or edge.distribution.distribution_domain_name}"
        cdk.CfnOutput(self, "EdgeUrl", value=url)
        cdk.CfnOutput(
            self,
            "FirstRequest",
            description="One short request through the edge; curl cannot sign for one host and send to another",
            value=f'make smoke URL={url} ARGS="--sign-host {host}"',
        )
        cdk.CfnOutput(self, "SignHost", description="The host to sign for, wherever the request is sent", value=host)
        if options.domain:
            cdk.CfnOutput(
                self,
                "DomainTarget",
                description=f"What the DNS record of {options.domain} points to",
                value=edge.distribution.distribution_domain_name,
            )
        cdk.Tags.of(self).add("application", names.PROJECT)
        cdk.Tags.of(self).add("environment", environment.name)

    def _secret(self, environment: Environment, arn: str) -> str:
        """A reference that CloudFormation resolves when the distribution is written; it reads its own region only."""
        if environment.region != names.EDGE_REGION:
            # A replica has its primary's ARN but for the region, also the six characters at its end.
            parts = cdk.Fn.split(":", arn)
            tail = [cdk.Fn.select(index, parts) for index in (4, 5, 6)]
            arn = cdk.Fn.join(":", [f"arn:{self.partition}:secretsmanager:{names.EDGE_REGION}", *tail])
        return cdk.Fn.join("", ["{{resolve:secretsmanager:", arn, ":SecretString:::}}"])

    def _allow_log_delivery(self, groups: list[logs.LogGroup]) -> None:
        """CloudFront's and WAF's logs come through one service; it may write to these groups, for this account."""
        logs.ResourcePolicy(
            self,
            "LogDelivery",
            policy_statements=[
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("delivery.logs.amazonaws.com")],
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[group.log_group_arn for group in groups],
                    conditions={"StringEquals": {"aws:SourceAccount": self.account}},
                )
            ],
        )
