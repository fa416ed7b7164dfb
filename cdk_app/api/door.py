"""All of the API beside the function that it invokes: REST API, web ACL, the authorizer of keys, what operators need."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk_app.api.key_authorizer import KeyAuthorizer
from cdk_app.api.rest_api import STAGE, RelayApi
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.edge.web_acl import Waf
from cdk_app.options.api_options import ApiOptions


class ApiDoor(Construct):
    """`settings` are for the relay's process; `serve` opens the door to its function. `key_role` is whose grant on the table
    lets keys in, None where there are no keys."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        options: ApiOptions,
        table_name: str,
        python: str,
        reserves_concurrency: bool,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self._options = options
        self._waf = Waf(
            self,
            "Waf",
            name=name,
            options=EdgeOptions(
                requests_per_ip=options.requests_per_ip,
                requests_per_session=options.requests_per_bearer,
                networks=options.networks,
                countries=options.countries,
            ),
            log_retention_days=log_retention_days,
            removal_policy=removal_policy,
            waf_scope="REGIONAL",
        )
        self._api = RelayApi(
            self,
            "Api",
            name=name,
            options=options,
            web_acl_arn=self._waf.acl.attr_arn,
            log_retention_days=log_retention_days,
            removal_policy=removal_policy,
        )
        self._keys = None
        if options.keys:
            self._keys = KeyAuthorizer(
                self,
                "Keys",
                table_name=table_name,
                python=python,
                concurrency=options.authorizer_concurrency if reserves_concurrency else None,
                log_retention_days=log_retention_days,
                removal_policy=removal_policy,
            )
        self._allow_log_delivery(self._waf.log_group)

    @property
    def key_role(self) -> iam.IRole | None:
        """Whose permission on the keys' items is still to be granted."""
        return self._keys.role if self._keys else None

    @property
    def settings(self) -> Mapping[str, str]:
        """What the relay has to know of the API: which one it is, whose tokens it takes and which pages may call."""
        issuers = {each.alias: {"issuer": each.issuer, "claim": each.claim} for each in self._options.tokens}
        return {
            "API_ID": self._api.id,
            "API_STAGE": STAGE,
            **({"API_ISSUERS": json.dumps(issuers, separators=(",", ":"))} if issuers else {}),
            **({"API_ORIGINS": " ".join(self._options.origins)} if self._options.origins else {}),
        }

    def serve(self, relay: lambda_.Function) -> None:
        """Let the API invoke `relay`."""
        self._api.serve(relay, self._keys.function if self._keys else None)

    def outputs(self, stack: cdk.Stack) -> None:
        """The base URLs, ready for OPENAI_BASE_URL."""
        if self._keys:
            cdk.CfnOutput(stack, "KeyAuthorizer", value=self._keys.function.function_name)
            cdk.CfnOutput(stack, "ApiBaseUrl", description="OPENAI_BASE_URL with a key", value=f"{self._api.url}/v1")
        if self._options.tokens:
            cdk.CfnOutput(
                stack, "ApiTokenBaseUrl", description="OPENAI_BASE_URL with a token", value=f"{self._api.url}/sso/v1"
            )

    def _allow_log_delivery(self, group: logs.LogGroup) -> None:
        """WAF's log comes through a service that may write to this group, for this account."""
        logs.ResourcePolicy(
            self,
            "LogDelivery",
            policy_statements=[
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("delivery.logs.amazonaws.com")],
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[group.log_group_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
                )
            ],
        )
