"""The web ACL in front of the distribution or of the API, and its log without secrets. What it refuses is in `waf_rules`.

For the distribution it belongs to a stack in us-east-1, where CloudFront's web ACLs live; for the API to the API's own.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from cdk_app.config.edge_options import EdgeOptions
from cdk_app.edge import waf_rules
from cdk_app.edge.waf_rules import Scope

Acl = wafv2.CfnWebACL
# What neither the log nor the sampled requests of the console may show. A hash still tells that two are the same; of a
# body only the part that a rule matched is logged, which may be a prompt's.
HASHED = ("authorization", waf_rules.SESSION_HEADER)
HIDDEN = ("cookie",)


class Waf(Construct):
    """`acl` for the distribution or the API's stage, `log_group` for the permission to write to it."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        options: EdgeOptions,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
        waf_scope: Scope = "CLOUDFRONT",
    ) -> None:
        super().__init__(scope, id)
        self._scope = waf_scope
        rules = waf_rules.rules(options, self._networks(options), waf_scope)
        self.acl = wafv2.CfnWebACL(
            self,
            "Acl",
            description="In front of the relay: rate limits, IP reputation, unsigned and malformed requests",
            scope=waf_scope,
            default_action=Acl.DefaultActionProperty(allow={}),
            custom_response_bodies=waf_rules.bodies(),
            rules=rules,
            data_protection_config=Acl.DataProtectionConfigProperty(data_protections=_protections()),
            visibility_config=Acl.VisibilityConfigProperty(
                # Of an account's web ACLs, metrics know only this name.
                cloud_watch_metrics_enabled=True,
                metric_name=name,
                sampled_requests_enabled=True,
            ),
        )
        # Otherwise WAF copies every request of a CloudFront ACL, also those that are let through, to other regions for
        # its own analysis, whatever the log below leaves out. A regional ACL copies none by default. The class of the resource
        # does not know the property yet.
        self.acl.add_property_override("AnalyticsConfig", {"Mode": "DISABLED"})
        cdk.Validations.of(self.acl).acknowledge(
            cdk.Acknowledgment(
                id="CloudFormation-Validate::F3002",
                reason="AnalyticsConfig and the AI group's configuration are newer than the schema that comes with the CDK",
            )
        )
        if options.ai_rules != "off":
            group = f"Rules.{len(rules) - 1}.Statement.ManagedRuleGroupStatement"
            self.acl.add_property_override(f"{group}.ManagedRuleGroupConfigs", waf_rules.ai_configuration(options))
        # The prefix is WAF's condition for a log group. The end is the stack's own, new whenever the stack is made anew: what
        # an earlier one has left with the same name would be in its way.
        stack_id = cdk.Fn.select(2, cdk.Fn.split("/", cdk.Stack.of(self).stack_id))
        self.log_group = logs.LogGroup(
            self, "Logs", log_group_name=f"aws-waf-logs-{name}-{stack_id}", removal_policy=removal_policy
        )
        resource = self.log_group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        resource.retention_in_days = log_retention_days
        self._log()

    def _networks(self, options: EdgeOptions) -> list[str]:
        """One set for each version of IP, as WAF wants it."""
        versions = {
            "IPV4": [network for network in options.networks if ":" not in network],
            "IPV6": [network for network in options.networks if ":" in network],
        }
        return [
            wafv2.CfnIPSet(
                self, f"Networks{version}", scope=self._scope, ip_address_version=version, addresses=addresses
            ).attr_arn
            for version, addresses in versions.items()
            if addresses
        ]

    def _log(self) -> None:
        """Log refused requests only: CloudFront or the API logs the rest, and a second copy would be paid for."""
        keep = {
            "Behavior": "KEEP",
            "Requirement": "MEETS_ANY",
            "Conditions": [{"ActionCondition": {"Action": "BLOCK"}}],
        }
        arn = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            # Not `log_group_arn`: that one ends in ":*", which WAF refuses.
            resource_name=self.log_group.log_group_name,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        wafv2.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[arn],
            logging_filter={"DefaultBehavior": "DROP", "Filters": [keep]},
        )


def _protections() -> list[wafv2.CfnWebACL.DataProtectProperty]:
    headers = {**dict.fromkeys(HASHED, "HASH"), **dict.fromkeys(HIDDEN, "SUBSTITUTION")}
    fields = [
        (Acl.FieldToProtectProperty(field_type="SINGLE_HEADER", field_keys=[name]), action)
        for name, action in headers.items()
    ]
    for kind in ("QUERY_STRING", "BODY"):
        fields.append((Acl.FieldToProtectProperty(field_type=kind), "SUBSTITUTION"))
    return [
        Acl.DataProtectProperty(
            field=field, action=action, exclude_rule_match_details=False, exclude_rate_based_details=False
        )
        for field, action in fields
    ]
