"""AWS WAF as its documentation describes it, as far as this project's web ACL uses it. Nothing here is AWS's code.

Managed rules: docs.aws.amazon.com/waf/latest/developerguide, pages aws-managed-rule-groups-baseline and -ip-rep. AWS keeps
their exact patterns to itself; what is modelled is the component that each inspects, and the examples that the page gives.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

# Of a body WAF sees this much, unless the web ACL asks (and pays) for more; rules go on with what they have.
BODY_SEEN = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Header names are lower-case. `rates` says how often its address and its session have called in the window."""

    method: str = "POST"
    path: str = "/v1/chat/completions"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    address: str = "203.0.113.7"
    country: str = "DE"
    known_bad: bool = False
    scans: bool = False
    floods: bool = False
    rates: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`rule` is the one that refused, "" for none; `seen` the managed rules that matched; `status` the answer's."""

    rule: str
    status: int
    seen: frozenset[str]


Matcher = Callable[[str], bool]


def like(pattern: str) -> Matcher:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: bool(compiled.search(text) or compiled.search(unquote(text)))


def over(size: int) -> Matcher:
    return lambda text: len(text.encode()) > size


METADATA = like(r"169\.254\.169\.254|/latest/meta-data")
LFI = like(r"\.\./\.\./")
RFI = like(r"(https?|ftps?|file)://\d+\.\d+\.\d+\.\d+")
XSS = like(r"<script\b|onerror\s*=")
SYSTEM_FILE = like(r"\.(log|ini|conf|bak)(\b|$)")
LOG4J = like(r"\$\{jndi:")
JAVA = like(r"\(java\.lang\.Runtime\)|class\.module\.classLoader")
REACT = like(r"__proto__|:constructor:")

# What a rule of a managed group does unless it is overridden: all refuse, but for those that AWS itself only counts.
COUNTS_BY_ITSELF = frozenset({"AWSManagedIPDDoSList"})
TERMINATING = ("Allow", "Block", "Captcha", "Challenge")

# group -> rule -> (component, matcher, label). In the groups' own order, which decides what a group ends on.
Groups = Mapping[str, Mapping[str, tuple[str, Matcher, str]]]
GROUPS: Groups = {
    "AWSManagedRulesAmazonIpReputationList": {
        "AWSManagedIPReputationList": ("known_bad", bool, "amazon-ip-list:AWSManagedIPReputationList"),
        "AWSManagedReconnaissanceList": ("scans", bool, "amazon-ip-list:AWSManagedReconnaissanceList"),
        "AWSManagedIPDDoSList": ("floods", bool, "amazon-ip-list:AWSManagedIPDDoSList"),
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {
        "JavaDeserializationRCE_HEADER": ("headers", JAVA, "known-bad-inputs:JavaDeserializationRCE_Header"),
        "JavaDeserializationRCE_BODY": ("body", JAVA, "known-bad-inputs:JavaDeserializationRCE_Body"),
        "JavaDeserializationRCE_URIPATH": ("path", JAVA, "known-bad-inputs:JavaDeserializationRCE_URIPath"),
        "JavaDeserializationRCE_QUERYSTRING": ("query", JAVA, "known-bad-inputs:JavaDeserializationRCE_QueryString"),
        "Host_localhost_HEADER": ("host", like(r"^localhost"), "known-bad-inputs:Host_Localhost_Header"),
        "PROPFIND_METHOD": ("method", like(r"^PROPFIND$"), "known-bad-inputs:Propfind_Method"),
        "ExploitablePaths_URIPATH": ("path", like(r"web-inf"), "known-bad-inputs:ExploitablePaths_URIPath"),
        "Log4JRCE_HEADER": ("headers", LOG4J, "known-bad-inputs:Log4JRCE_Header"),
        "Log4JRCE_QUERYSTRING": ("query", LOG4J, "known-bad-inputs:Log4JRCE_QueryString"),
        "Log4JRCE_BODY": ("body", LOG4J, "known-bad-inputs:Log4JRCE_Body"),
        "Log4JRCE_URIPATH": ("path", LOG4J, "known-bad-inputs:Log4JRCE_URIPath"),
        "ReactJSRCE_BODY": ("body", REACT, "known-bad-inputs:ReactJSRCE_Body"),
    },
    "AWSManagedRulesCommonRuleSet": {
        "NoUserAgent_HEADER": ("user-agent", lambda text: not text, "core-rule-set:NoUserAgent_Header"),
        "UserAgent_BadBots_HEADER": ("user-agent", like(r"nessus|nmap"), "core-rule-set:BadBots_Header"),
        "SizeRestrictions_QUERYSTRING": ("query", over(2048), "core-rule-set:SizeRestrictions_QueryString"),
        "SizeRestrictions_Cookie_HEADER": ("cookie", over(10_240), "core-rule-set:SizeRestrictions_Cookie_Header"),
        "SizeRestrictions_BODY": ("body", over(8192), "core-rule-set:SizeRestrictions_Body"),
        "SizeRestrictions_URIPATH": ("path", over(1024), "core-rule-set:SizeRestrictions_URIPath"),
        "EC2MetaDataSSRF_BODY": ("body", METADATA, "core-rule-set:EC2MetaDataSSRF_Body"),
        "EC2MetaDataSSRF_COOKIE": ("cookie", METADATA, "core-rule-set:EC2MetaDataSSRF_Cookie"),
        "EC2MetaDataSSRF_URIPATH": ("path", METADATA, "core-rule-set:EC2MetaDataSSRF_URIPath"),
        "EC2MetaDataSSRF_QUERYARGUMENTS": ("query", METADATA, "core-rule-set:EC2MetaDataSSRF_QueryArguments"),
        "GenericLFI_QUERYARGUMENTS": ("query", LFI, "core-rule-set:GenericLFI_QueryArguments"),
        "GenericLFI_URIPATH": ("path", LFI, "core-rule-set:GenericLFI_URIPath"),
        "GenericLFI_BODY": ("body", LFI, "core-rule-set:GenericLFI_Body"),
        "RestrictedExtensions_URIPATH": ("path", SYSTEM_FILE, "core-rule-set:RestrictedExtensions_URIPath"),
        "RestrictedExtensions_QUERYARGUMENTS": (
            "query",
            SYSTEM_FILE,
            "core-rule-set:RestrictedExtensions_QueryArguments",
        ),
        "GenericRFI_QUERYARGUMENTS": ("query", RFI, "core-rule-set:GenericRFI_QueryArguments"),
        "GenericRFI_BODY": ("body", RFI, "core-rule-set:GenericRFI_Body"),
        "GenericRFI_URIPATH": ("path", RFI, "core-rule-set:GenericRFI_URIPath"),
        "CrossSiteScripting_COOKIE": ("cookie", XSS, "core-rule-set:CrossSiteScripting_Cookie"),
        "CrossSiteScripting_QUERYARGUMENTS": ("query", XSS, "core-rule-set:CrossSiteScripting_QueryArguments"),
        "CrossSiteScripting_BODY": ("body", XSS, "core-rule-set:CrossSiteScripting_Body"),
        "CrossSiteScripting_URIPATH": ("path", XSS, "core-rule-set:CrossSiteScripting_URIPath"),
    },
}

# Groups whose rules nobody here knows: the worst that they can do is to match whatever comes.
UNKNOWN: Groups = {"AWSManagedRulesAISecurityRuleSet": {"Anything": ("headers", bool, "ai-security:Anything")}}


def component(request: Request, name: str) -> str:
    """What a rule looks at."""
    match name:
        case "headers":
            return "\n".join(f"{key}: {text}" for key, text in request.headers.items())
        case "body":
            return request.body.encode()[:BODY_SEEN].decode(errors="ignore")
        case "known_bad" | "scans" | "floods":
            return "yes" if getattr(request, name) else ""
        case "method" | "path" | "query":
            return str(getattr(request, name))
    return request.headers.get(name, "")


class WebAcl:
    """One that was synthesised: asks its rules in the order of their priorities. `networks` are its IP sets' addresses."""

    def __init__(self, properties: Mapping[str, Any], networks: list[str], groups: Groups) -> None:
        self._rules = sorted(properties["Rules"], key=lambda rule: rule["Priority"])
        self._default = properties["DefaultAction"]
        self._groups = {**UNKNOWN, **groups}
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def judge(self, request: Request) -> Verdict:
        labels: set[str] = set()
        seen: set[str] = set()
        for rule in self._rules:
            group = rule["Statement"].get("ManagedRuleGroupStatement")
            if group is not None:
                result = self._ask_group(group, request, labels, seen)
                # The group's result, and nothing that happens inside, is what OverrideAction is about.
                action: Mapping[str, Any] = {result or "Count": {}} if "None" in rule["OverrideAction"] else {}
            elif self._matches(rule["Statement"], request, labels):
                action = rule["Action"]
            else:
                continue
            for kind in TERMINATING:
                if kind in action:
                    return Verdict(rule=rule["Name"], status=_status(kind, action), seen=frozenset(seen))
        if "Allow" not in self._default:
            return Verdict(rule="DefaultAction", status=403, seen=frozenset(seen))
        return Verdict(rule="", status=200, seen=frozenset(seen))

    def _ask_group(self, group: Mapping[str, Any], request: Request, labels: set[str], seen: set[str]) -> str:
        """The terminating action that ends the group, "" for none. An override has to name a rule exactly.

        docs.aws.amazon.com/waf/latest/APIReference, pages API_OverrideAction and API_RuleActionOverride.
        """
        overrides = {one["Name"]: next(iter(one["ActionToUse"])) for one in group.get("RuleActionOverrides", [])}
        for name, (where, matches, label) in self._groups[group["Name"]].items():
            if matches(component(request, where)):
                labels.add(f"awswaf:managed:aws:{label}")
                seen.add(name)
                action = str(overrides.get(name, "Count" if name in COUNTS_BY_ITSELF else "Block"))
                if action in TERMINATING:
                    return action
        return ""

    def _matches(self, statement: Mapping[str, Any], request: Request, labels: set[str]) -> bool:
        ((kind, detail),) = statement.items()
        match kind:
            case "NotStatement":
                return not self._matches(detail["Statement"], request, labels)
            case "OrStatement":
                return any(self._matches(one, request, labels) for one in detail["Statements"])
            case "LabelMatchStatement":
                return detail["Key"] in labels
            case "GeoMatchStatement":
                return request.country in detail["CountryCodes"]
            case "IPSetReferenceStatement":
                address = ipaddress.ip_address(request.address)
                return any(address in network for network in self._networks)
            case "ByteMatchStatement":
                assert detail["PositionalConstraint"] == "STARTS_WITH"
                return _field(detail, request).startswith(str(detail["SearchString"]))
            case "SizeConstraintStatement":
                assert detail["ComparisonOperator"] == "GT"
                return len(_field(detail, request)) > int(detail["Size"])
            case "RateBasedStatement":
                return _over_rate(detail, request)
        raise AssertionError(f"{kind} is not modelled")


def _status(kind: str, action: Mapping[str, Any]) -> int:
    if kind == "Allow":
        return 200
    return int(action[kind].get("CustomResponse", {}).get("ResponseCode", 403))


def _field(detail: Mapping[str, Any], request: Request) -> str:
    return request.headers.get(detail["FieldToMatch"]["SingleHeader"]["Name"], "")


def _over_rate(detail: Mapping[str, Any], request: Request) -> bool:
    """Requests that lack the key are not counted."""
    if detail["AggregateKeyType"] == "IP":
        return request.rates.get("address", 0) > int(detail["Limit"])
    (key,) = detail["CustomKeys"]
    has_key = bool(request.headers.get(key["Header"]["Name"]))
    return has_key and request.rates.get("session", 0) > int(detail["Limit"])
