"""The values of an environment's edge, and what is allowed for each. Knows nothing of the CDK and of other values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

EdgeMode = Literal["off", "optional", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """CloudFront and WAF in front of the Function URL. Without effect where `edge` is "off"."""

    # A name of your own instead of dXXXX.cloudfront.net, with its certificate, which CloudFront wants in us-east-1.
    domain: str | None = None
    certificate: str | None = None
    # The most requests in five minutes: of one address, and of one set of temporary credentials. 10 is WAF's least.
    requests_per_ip: int = 1000
    requests_per_session: int = 500
    # Who may come at all: networks as in "203.0.113.0/24", countries as in "DE". () lets everybody come.
    networks: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    # How long CloudFront waits for the next byte; 120 is its most. Answers that are not streamed come as one piece, so
    # this is also how long they may take.
    read_timeout_seconds: int = 120
    # Raise it to make a deployment send the origin secret as it is then: docs/edge.md, "Rotate the origin secret".
    origin_secret_version: int = 1


def problems(options: EdgeOptions) -> Iterator[str]:
    """One line for each value that is not allowed: field, value, what is allowed."""
    if (options.domain is None) != (options.certificate is None):
        yield f"domain is {options.domain!r}, certificate is {options.certificate!r}; allowed: both or neither"
    if options.domain is not None and not re.fullmatch(r"([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,}", options.domain):
        yield f"domain is {options.domain!r}; allowed: a name such as 'openai.example.com'"
    certificate = r"arn:aws:acm:us-east-1:\d{12}:certificate/[\w-]+"
    if options.certificate is not None and not re.fullmatch(certificate, options.certificate):
        yield f"certificate is {options.certificate!r}; allowed: the ARN of an ACM certificate in us-east-1"
    yield from _whole("requests_per_ip", options.requests_per_ip, 10, 2_000_000_000)
    yield from _whole("requests_per_session", options.requests_per_session, 10, 2_000_000_000)
    yield from _whole("read_timeout_seconds", options.read_timeout_seconds, 1, 120)
    yield from _whole("origin_secret_version", options.origin_secret_version, 1, 1_000_000)
    for network in options.networks:
        if not _is_network(network):
            yield f"networks has {network!r}; allowed: networks such as '203.0.113.0/24', host bits zero, not everybody"
    for country in options.countries:
        if not re.fullmatch(r"[A-Z]{2}", country):
            yield f"countries has {country!r}; allowed: two capital letters such as 'DE' (ISO 3166-1)"


def _whole(name: str, value: object, low: int, high: int) -> Iterator[str]:
    if type(value) is not int or not low <= value <= high:
        yield f"{name} is {value!r}; allowed: a whole number from {low} to {high}"


def _is_network(text: str) -> bool:
    """WAF takes every prefix length but zero: docs.aws.amazon.com/waf/latest/APIReference/API_IPSet.html."""
    try:
        return "/" in text and ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False
