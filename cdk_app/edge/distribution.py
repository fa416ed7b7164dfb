"""The distribution in front of the Function URL, and its access log. Knows CloudFront; nothing of WAF's rules.

Callers sign for the Function URL's host and send to the distribution. It passes `Authorization` on as it is, so that
Lambda still verifies the caller; an origin access control would put CloudFront's identity in the caller's place.
"""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_logs as logs
from constructs import Construct

# The relay reads this header and no other: lambda_src/relay/doors/origin_secret.py.
ORIGIN_HEADER = "x-relay-origin-secret"
# Longer than the function may run: Lambda's own time-out is the one that ends a response, never CloudFront's.
COMPLETION_RESERVE_SECONDS = 15
# Codex goes over to HTTP at once on 426 and on nothing else; WAF cannot answer with that status.
NO_WEBSOCKETS = Path(__file__).with_name("no_websockets.js")
# What the access log holds. Not among them: the query, cookies and headers; no signature is ever written down.
# docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
LOG_FIELDS = (
    "date",
    "time",
    "x-edge-location",
    "c-ip",
    "c-country",
    "cs-method",
    "cs-uri-stem",
    "sc-status",
    "sc-bytes",
    "cs-bytes",
    "time-taken",
    "time-to-first-byte",
    "x-edge-result-type",
    "x-edge-detailed-result-type",
    "x-edge-request-id",
    "cs-protocol-version",
    "ssl-protocol",
)


class Edge(Construct):
    """`distribution`, and `log_group` for the permission to write to it. Belongs to a stack in us-east-1."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        origin_host: str,
        secret: str,
        comment: str,
        web_acl_arn: str,
        domain: str | None,
        certificate_arn: str | None,
        read_timeout: cdk.Duration,
        function_timeout: cdk.Duration,
        log_name: str,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        certificate = None
        if certificate_arn is not None:
            certificate = acm.Certificate.from_certificate_arn(self, "Certificate", certificate_arn)
        completion = max(function_timeout.to_seconds() + COMPLETION_RESERVE_SECONDS, read_timeout.to_seconds())
        origin = origins.HttpOrigin(
            origin_host,
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            custom_headers={ORIGIN_HEADER: secret},
            read_timeout=read_timeout,
            response_completion_timeout=cdk.Duration.seconds(completion),
            # A kept connection saves the next caller a TLS handshake with the Function URL.
            keepalive_timeout=cdk.Duration.seconds(60),
        )
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=comment,
            web_acl_id=web_acl_arn,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            domain_names=[domain] if domain else None,
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if domain else None,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origin,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                response_headers_policy=self._headers(),
                function_associations=[self._no_websockets(log_name)],
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                # Compression buffers, and streams must not be buffered.
                compress=False,
            ),
        )
        _acknowledge(self.distribution, has_certificate=domain is not None)
        self.log_group = self._log(log_name, log_retention_days, removal_policy)

    def _no_websockets(self, name: str) -> cloudfront.FunctionAssociation:
        """The refusal of WebSockets, by a function that runs after WAF and before the origin."""
        function = cloudfront.Function(
            self,
            "NoWebSockets",
            # One that the CDK makes up holds the region, which a template without an account does not know.
            function_name=f"{name}-no-websockets",
            comment="Answers WebSocket attempts with 426",
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            code=cloudfront.FunctionCode.from_inline(NO_WEBSOCKETS.read_text(encoding="utf-8")),
        )
        return cloudfront.FunctionAssociation(function=function, event_type=cloudfront.FunctionEventType.VIEWER_REQUEST)

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        """For a browser that is led here by mistake: HTTPS only, no guessing of types, no frames."""
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=cdk.Duration.days(365), override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
            ),
        )

    def _log(self, name: str, retention_days: int, removal_policy: cdk.RemovalPolicy) -> logs.LogGroup:
        """Standard logging, version 2, the one whose fields can be chosen. Its three parts live in us-east-1."""
        log_group = logs.LogGroup(self, "Logs", removal_policy=removal_policy)
        resource = log_group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        resource.retention_in_days = retention_days
        source = logs.CfnDeliverySource(
            self, "LogSource", name=name, log_type="ACCESS_LOGS", resource_arn=self.distribution.distribution_arn
        )
        destination = logs.CfnDeliveryDestination(
            self,
            "LogDestination",
            name=name,
            destination_resource_arn=log_group.log_group_arn,
            output_format="json",
        )
        delivery = logs.CfnDelivery(
            self,
            "LogDelivery",
            delivery_source_name=source.name,
            delivery_destination_arn=destination.attr_arn,
            record_fields=list(LOG_FIELDS),
        )
        delivery.add_resource_dependency(source)
        return log_group


def _acknowledge(distribution: cloudfront.Distribution, *, has_certificate: bool) -> None:
    reasons = {
        "AwsSolutions-CFR1": "WAF refuses countries, with a response that OpenAI clients understand",
        "AwsSolutions-CFR3": "standard logging version 2, which is not a property of the distribution",
    }
    if not has_certificate:
        reasons["AwsSolutions-CFR4"] = "without a domain of one's own CloudFront takes no minimum version of TLS"
    for id, reason in reasons.items():
        cdk.Validations.of(distribution).acknowledge(cdk.Acknowledgment(id=id, reason=reason))
