"""The REST API: two resources, each with its authorizer, streamed to one alias of the relay. Knows no other way in.

docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html: the response of a Regional API may
pause for 5 minutes and last 15; 10 MB go at full speed, the rest at 2 MB a second.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from cdk_app.api import authorizers, refusals
from cdk_app.config import names
from cdk_app.options.api_options import ApiOptions

STAGE = "relay"
ALIAS = names.API_ALIAS
"""The alias of the relay's function that this API alone invokes: how the relay knows that an event is API Gateway's."""
_TIMEOUT = cdk.Duration.minutes(15)
# "*" covers all but authorization, as the Fetch standard has it for requests without credentials.
_CORS_HEADERS = ("authorization", "*")
# Bodies that are not text reach the function as base64.
_BINARY = ["multipart/form-data", "application/octet-stream", "audio/*", "image/*"]
# Neither paths of callers' choice nor anything of theirs: no header, no query, no token, no body, no claim.
_LOGGED = {
    "requestId": apigateway.AccessLogField.context_request_id(),
    "time": apigateway.AccessLogField.context_request_time_epoch(),
    "address": apigateway.AccessLogField.context_identity_source_ip(),
    "method": apigateway.AccessLogField.context_http_method(),
    "resource": apigateway.AccessLogField.context_resource_path(),
    "status": apigateway.AccessLogField.context_status(),
    "authorizerStatus": apigateway.AccessLogField.context_authorizer_status(),
    "integrationStatus": apigateway.AccessLogField.context_integration_status(),
    "milliseconds": apigateway.AccessLogField.context_response_latency(),
    "bytes": apigateway.AccessLogField.context_response_length(),
    "waf": apigateway.AccessLogField.context_waf_response_code(),
}


class RelayApi(Construct):
    """The API without methods, so that the function can be told its id; `serve` adds what it serves. `log_group` has its
    access log, and `web_acl_arn` guards its stage."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        options: ApiOptions,
        web_acl_arn: str,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self._options = options
        self.log_group = logs.LogGroup(self, "Logs", removal_policy=removal_policy)
        resource = self.log_group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        resource.retention_in_days = log_retention_days
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=name,
            description="The relay for clients that know only a base URL and a key or token",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            disable_execute_api_endpoint=options.domain is not None,
            binary_media_types=_BINARY,
            cloud_watch_role=options.account_log_role,
            cloud_watch_role_removal_policy=cdk.RemovalPolicy.RETAIN if options.account_log_role else None,
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                access_log_destination=apigateway.LogGroupLogDestination(self.log_group),
                access_log_format=apigateway.AccessLogFormat.custom(cdk.Stack.of(self).to_json_string(_LOGGED)),
                metrics_enabled=True,
                # API Gateway's own log writes headers and bodies.
                logging_level=apigateway.MethodLoggingLevel.OFF,
                data_trace_enabled=False,
                throttling_rate_limit=options.requests_per_second,
                throttling_burst_limit=options.burst,
            ),
        )
        stage = self.api.deployment_stage
        wafv2.CfnWebACLAssociation(self, "WebAcl", resource_arn=stage.stage_arn, web_acl_arn=web_acl_arn)
        self._acknowledge()
        self._noticed: list[object] = refusals.add(self, self.api, options.origins)
        self.host = options.domain or f"{self.api.rest_api_id}.execute-api.{cdk.Aws.REGION}.{cdk.Aws.URL_SUFFIX}"
        self.url = f"https://{self.host}" if options.domain else f"https://{self.host}/{STAGE}"
        if options.domain:
            self._serve_domain(options.domain)

    @property
    def id(self) -> str:
        """The API's id, for the relay."""
        return self.api.rest_api_id

    def serve(self, relay: lambda_.Function, key_authorizer: lambda_.Function | None) -> None:
        """Add the resources. `key_authorizer` judges keys; None where no keys let in."""
        alias = lambda_.CfnAlias(
            self, "Alias", name=ALIAS, function_name=relay.function_name, function_version="$LATEST"
        )
        self._permit(alias)
        integration = apigateway.AwsIntegration(
            service="lambda",
            path=f"2021-11-15/functions/{alias.ref}/response-streaming-invocations",
            proxy=True,
            options=apigateway.IntegrationOptions(
                timeout=_TIMEOUT, response_transfer_mode=apigateway.ResponseTransferMode.STREAM
            ),
        )
        if key_authorizer is not None:
            keys = authorizers.keys(self, self.id, key_authorizer, self._options.cache_seconds)
            self._method(self.api.root.add_resource("v1"), integration, "CUSTOM", keys, ())
        if self._options.tokens:
            tokens = authorizers.tokens(self, self.id, self._options)
            resource = self.api.root.add_resource("sso").add_resource("v1")
            self._method(resource, integration, "JWT", tokens, self._options.scopes)
        deployment = self.api.latest_deployment
        assert deployment is not None
        # A deployment is a copy: what changes beside the methods needs a new one, too.
        beside = [
            authorizers.BEARER_KEY,
            authorizers.token_configuration(self._options),
            dataclasses.asdict(self._options),
        ]
        deployment.add_to_logical_id(json.dumps([*self._noticed, *beside]))
        for child in self.node.find_all():
            if isinstance(child, cdk.CfnResource) and child.cfn_resource_type in (
                "AWS::ApiGateway::GatewayResponse",
                "AWS::ApiGateway::Authorizer",
            ):
                deployment.node.add_dependency(child)

    def _permit(self, alias: lambda_.CfnAlias) -> None:
        """For this API's stage to invoke the alias. Nobody has any other permission on the alias."""
        lambda_.CfnPermission(
            self,
            "Invoke",
            action="lambda:InvokeFunction",
            function_name=alias.ref,
            principal="apigateway.amazonaws.com",
            source_arn=self.api.arn_for_execute_api("*", "/*", STAGE),
        )

    def _method(
        self,
        resource: apigateway.Resource,
        integration: apigateway.Integration,
        kind: str,
        authorizer: cdk.CfnResource,
        scopes: tuple[str, ...],
    ) -> None:
        proxy = resource.add_resource("{proxy+}")
        method = proxy.add_method("ANY", integration)
        found = method.node.default_child
        assert isinstance(found, apigateway.CfnMethod)
        overrides: dict[str, Any] = {
            "AuthorizationType": kind,
            "AuthorizerId": authorizer.ref,
            **({"AuthorizationScopes": list(scopes)} if scopes else {}),
        }
        for path, value in overrides.items():
            found.add_property_override(path, value)
        for id, reason in {
            "AwsSolutions-APIG4": "an authorizer stands before it; the CDK's class does not know its type",
            "AwsSolutions-COG4": "callers are holders of keys and tokens, not users of a Cognito pool",
        }.items():
            cdk.Validations.of(method).acknowledge(cdk.Acknowledgment(id=id, reason=reason))
        if self._options.origins:
            self._preflight(proxy)

    def _preflight(self, proxy: apigateway.Resource) -> None:
        """Answered by API Gateway, without an authorizer and without the relay."""
        preflight = proxy.add_cors_preflight(
            allow_origins=list(self._options.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=list(_CORS_HEADERS),
            allow_credentials=False,
            max_age=cdk.Duration.hours(1),
        )
        for id in ("AwsSolutions-APIG4", "AwsSolutions-COG4"):
            reason = "a browser asks without credentials whether it may; the answer is fixed and costs nothing"
            cdk.Validations.of(preflight).acknowledge(cdk.Acknowledgment(id=id, reason=reason))

    def _serve_domain(self, domain: str) -> None:
        assert self._options.certificate is not None
        certificate = acm.Certificate.from_certificate_arn(self, "Certificate", self._options.certificate)
        name = self.api.add_domain_name(
            "Domain",
            domain_name=domain,
            certificate=certificate,
            endpoint_type=apigateway.EndpointType.REGIONAL,
            security_policy=apigateway.SecurityPolicy.TLS_1_2,
        )
        cdk.CfnOutput(
            self,
            "DomainTarget",
            description=f"What the DNS record of {domain} points to",
            value=name.domain_name_alias_domain_name,
        )

    def _acknowledge(self) -> None:
        reasons = {
            "AwsSolutions-APIG2": "the relay checks every request field by field; API Gateway would only repeat it",
            "AwsSolutions-APIG6": "API Gateway's execution log writes headers and bodies: bearers and prompts",
        }
        if self._options.account_log_role:
            reasons[
                "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]"
            ] = "API Gateway's own policy for its log: one role for the whole account and region, whatever its APIs are"
        for id, reason in reasons.items():
            cdk.Validations.of(self.api).acknowledge(cdk.Acknowledgment(id=id, reason=reason))
