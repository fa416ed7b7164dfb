"""The values of an environment's edge, and what is allowed for each. Knows nothing of the CDK and of other values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cdk_app import mistakes
from cdk_app.options.checks import is_network, matches, one_of, optional, whole

AiRules = Literal["off", "count", "refuse"]
Plan = Literal["by-use", "free"]


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions(mistakes.Noted):
    """CloudFront and WAF in front of the Function URL. Without effect where `edge` is "off"."""

    # A name of your own instead of dXXXX.cloudfront.net, with its certificate, which CloudFront wants in us-east-1.
    domain: str | None = None
    certificate: str | None = None
    # The most requests in five minutes: of one address, and of one set of temporary credentials. 10 is WAF's least; the
    # second has to leave room for the callers' own requests_per_minute, the first for two such callers.
    requests_per_ip: int = 1000
    requests_per_session: int = 500
    # Networks ("203.0.113.0/24") and countries ("DE") that are served; () serves all.
    networks: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    # AWS's rules about requests to language models. "count" labels and counts what they recognise, "refuse" lets them
    # refuse as AWS decides. With a role, WAF sends requests to Amazon Bedrock's guardrails, which are paid for.
    ai_rules: AiRules = "off"
    ai_guardrails_role: str | None = None
    # How CloudFront and WAF are paid for: by use, or by the Free plan, which forbids some things: docs/edge.md.
    plan: Plan = "by-use"
    # Seconds that CloudFront waits for the next byte; 120 is its most. Responses that are not streamed come as one
    # piece, so this is also how long they may take.
    read_timeout_seconds: int = 120
    # Raise it to make a deployment send the origin secret as it is then: docs/edge.md, "Rotate the origin secret".
    origin_secret_version: int = 1


def problems(options: EdgeOptions) -> Iterator[str]:
    """One line for each field that is unknown or has a value that is not allowed."""
    yield from mistakes.of(options)
    if (options.domain is None) != (options.certificate is None):
        yield f"domain is {options.domain!r}, certificate is {options.certificate!r}; allowed: both or neither"
    if not optional(matches(r"([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,}"))(options.domain):
        yield f"domain is {options.domain!r}; allowed: a name such as 'openai.example.com'"
    certificate = r"arn:aws:acm:us-east-1:\d{12}:certificate/[\w-]+"
    if not optional(matches(certificate))(options.certificate):
        yield f"certificate is {options.certificate!r}; allowed: the ARN of an ACM certificate in us-east-1"
    yield from _ai_and_plan(options)
    yield from _whole("requests_per_ip", options.requests_per_ip, 10, 2_000_000_000)
    yield from _whole("requests_per_session", options.requests_per_session, 10, 2_000_000_000)
    yield from _whole("read_timeout_seconds", options.read_timeout_seconds, 1, 120)
    yield from _whole("origin_secret_version", options.origin_secret_version, 1, 1_000_000)
    for field, example in (("networks", "203.0.113.0/24"), ("countries", "DE")):
        if not isinstance(getattr(options, field), tuple):
            yield f"{field} is {getattr(options, field)!r}; allowed: a tuple, such as ({example!r},)"
            return
    for network in options.networks:
        if not is_network(network):
            yield f"networks has {network!r}; allowed: networks such as '203.0.113.0/24', host bits zero, not everybody"
    for country in options.countries:
        if not matches(r"[A-Z]{2}")(country):
            yield f"countries has {country!r}; allowed: two capital letters such as 'DE' (ISO 3166-1)"


def _ai_and_plan(options: EdgeOptions) -> Iterator[str]:
    if not one_of(AiRules)(options.ai_rules):
        yield f"ai_rules is {options.ai_rules!r}; allowed: 'off', 'count' or 'refuse'"
    if not optional(matches(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+"))(options.ai_guardrails_role):
        yield f"ai_guardrails_role is {options.ai_guardrails_role!r}; allowed: None, or the ARN of an IAM role"
    elif options.ai_guardrails_role and options.ai_rules == "off":
        yield "ai_guardrails_role is set; allowed: only with ai_rules='count' or 'refuse'"
    if not one_of(Plan)(options.plan):
        yield f"plan is {options.plan!r}; allowed: 'by-use' or 'free'"
    elif options.plan == "free" and options.ai_rules != "off":
        yield f"ai_rules is {options.ai_rules!r}; allowed: 'off' with plan='free', which includes no rules that are paid for"


def _whole(name: str, value: object, low: int, high: int) -> Iterator[str]:
    if not whole(low, high)(value):
        yield f"{name} is {value!r}; allowed: a whole number from {low} to {high}"
