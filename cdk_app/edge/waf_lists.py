"""The lists behind WAF's rules: which labels count, which refuse, and the responses. Data only; knows nothing of the CDK.

Names and labels: docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
"""

from __future__ import annotations

# Every rule of the groups that are asked. Each counts by name: one that refuses ends its group, and what stands after it
# would not be asked any more. WAF ignores a name that a group does not have.
RULES = {
    "AWSManagedRulesAmazonIpReputationList": (
        "AWSManagedIPReputationList",
        "AWSManagedReconnaissanceList",
        "AWSManagedIPDDoSList",
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "JavaDeserializationRCE_HEADER",
        "JavaDeserializationRCE_BODY",
        "JavaDeserializationRCE_URIPATH",
        "JavaDeserializationRCE_QUERYSTRING",
        "Host_localhost_HEADER",
        "PROPFIND_METHOD",
        "ExploitablePaths_URIPATH",
        "Log4JRCE_HEADER",
        "Log4JRCE_QUERYSTRING",
        "Log4JRCE_BODY",
        "Log4JRCE_URIPATH",
        "ReactJSRCE_BODY",
    ),
    "AWSManagedRulesCommonRuleSet": (
        "NoUserAgent_HEADER",
        "UserAgent_BadBots_HEADER",
        "SizeRestrictions_QUERYSTRING",
        "SizeRestrictions_Cookie_HEADER",
        "SizeRestrictions_BODY",
        "SizeRestrictions_URIPATH",
        "EC2MetaDataSSRF_BODY",
        "EC2MetaDataSSRF_COOKIE",
        "EC2MetaDataSSRF_URIPATH",
        "EC2MetaDataSSRF_QUERYARGUMENTS",
        "GenericLFI_QUERYARGUMENTS",
        "GenericLFI_URIPATH",
        "GenericLFI_BODY",
        "RestrictedExtensions_URIPATH",
        "RestrictedExtensions_QUERYARGUMENTS",
        "GenericRFI_QUERYARGUMENTS",
        "GenericRFI_BODY",
        "GenericRFI_URIPATH",
        "CrossSiteScripting_COOKIE",
        "CrossSiteScripting_QUERYARGUMENTS",
        "CrossSiteScripting_BODY",
        "CrossSiteScripting_URIPATH",
    ),
}
# Beside them only where an environment asks for it, and last: what it does not know yet, it cannot end for others.
# docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-ai-security.html
AI_GROUP = "AWSManagedRulesAISecurityRuleSet"
# What is refused. Left out, beside the bodies: NoUserAgent_Header, which a plain client of one's own trips, and
# AWSManagedIPDDoSList, which AWS itself only counts.
REFUSED = {
    "amazon-ip-list": ("AWSManagedIPReputationList", "AWSManagedReconnaissanceList"),
    "known-bad-inputs": (
        "JavaDeserializationRCE_Header",
        "JavaDeserializationRCE_URIPath",
        "JavaDeserializationRCE_QueryString",
        "Host_Localhost_Header",
        "Propfind_Method",
        "ExploitablePaths_URIPath",
        "Log4JRCE_Header",
        "Log4JRCE_QueryString",
        "Log4JRCE_URIPath",
    ),
    "core-rule-set": (
        "BadBots_Header",
        "SizeRestrictions_QueryString",
        "SizeRestrictions_Cookie_Header",
        "SizeRestrictions_URIPath",
        "EC2MetaDataSSRF_Cookie",
        "EC2MetaDataSSRF_URIPath",
        "EC2MetaDataSSRF_QueryArguments",
        "GenericLFI_QueryArguments",
        "GenericLFI_URIPath",
        "RestrictedExtensions_URIPath",
        "RestrictedExtensions_QueryArguments",
        "GenericRFI_QueryArguments",
        "GenericRFI_URIPath",
        "CrossSiteScripting_Cookie",
        "CrossSiteScripting_QueryArguments",
        "CrossSiteScripting_URIPath",
    ),
}
# The rules that refuse; each has a metric of its name.
NAMES = (
    "OtherNetworks",
    "OtherCountries",
    "Unsigned",
    "TooLarge",
    "RatePerAddress",
    "RatePerSession",
    "AWSManaged",
)
# key -> status, OpenAI's type, code, text
RESPONSES = {
    "network": (403, "invalid_request_error", "network_not_allowed", "This network may not call the relay."),
    "unsigned": (
        403,
        "invalid_request_error",
        "unsigned_request",
        "The request is not signed. Sign it with AWS Signature Version 4 for the service lambda and the Function URL.",
    ),
    "too-large": (413, "invalid_request_error", "request_too_large", "The request body is too large."),
    "rate": (429, "rate_limit_error", "rate_limit_exceeded", "Too many requests. Wait a minute."),
    "refused": (403, "invalid_request_error", "request_refused", "The request looks like an attack and was refused."),
}
