"""The values of an API: each bound, and what an environment must not say beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdk_app.config.caller_policies import CallerGroup, CallerPolicies, CallerPolicy
from cdk_app.config.check import check
from cdk_app.config.environment import ConfigurationError
from cdk_app.options import api_options
from cdk_app.options.api_options import ApiOptions, TokenIssuer
from tests.support.synthesis import API, KEYS_ONLY

CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
CORP: dict[str, Any] = {"alias": "corp", "issuer": "https://id.example.com/", "audiences": ("relay",)}
OPTIONS: list[tuple[dict[str, Any], bool]] = [
    ({"keys": False}, False),
    ({"keys": 1}, False),
    ({"cache_seconds": 0}, True),
    ({"cache_seconds": 3600}, True),
    ({"cache_seconds": 3601}, False),
    ({"cache_seconds": True}, False),
    ({"authorizer_concurrency": 0}, False),
    ({"requests_per_second": 0}, False),
    ({"burst": 0}, False),
    ({"burst": 5001}, False),
    ({"requests_per_ip": 9}, False),
    ({"requests_per_bearer": 9}, False),
    ({"domain": "openai.example.com", "certificate": CERTIFICATE}, True),
    ({"domain": "openai.example.com"}, False),
    ({"certificate": CERTIFICATE}, False),
    ({"domain": "*.example.com", "certificate": CERTIFICATE}, False),
    ({"domain": "openai.example.com", "certificate": CERTIFICATE.replace(":acm:", ":iam:")}, False),
    ({"networks": ("203.0.113.0/24",)}, True),
    ({"networks": ("0.0.0.0/0",)}, False),
    ({"networks": "203.0.113.0/24"}, False),
    ({"countries": ("de",)}, False),
    ({"origins": ("https://chat.example.com", "https://a.example.com:8443", "http://localhost:5173")}, True),
    ({"origins": ("*",)}, False),
    ({"origins": ("https://*.example.com",)}, False),
    ({"origins": ("http://chat.example.com",)}, False),
    ({"origins": ("https://chat.example.com/",)}, False),
    ({"origins": ("null",)}, False),
    ({"origins": ["https://chat.example.com"]}, False),
    ({"algorithms": ("RS256", "ES512")}, True),
    ({"algorithms": ("HS256",)}, False),
    ({"algorithms": ("none",)}, False),
    ({"algorithms": (None,)}, False),
    ({"scopes": ("relay/use", "openid")}, True),
    ({"scopes": ("a b",)}, False),
    ({"scopes": ("",)}, False),
    ({"account_log_role": None}, False),
]
ISSUERS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"claim": "email"}, True),
    ({"claim": "https://example.com/claims/user"}, True),
    ({"claim": ""}, False),
    ({"claim": "a b"}, False),
    ({"alias": "Corp"}, False),
    ({"alias": "a:b"}, False),
    ({"alias": "*"}, False),
    ({"alias": ""}, False),
    ({"issuer": "http://id.example.com/"}, False),
    ({"issuer": "https://id.example.com/?a"}, False),
    ({"issuer": "https://id.example.com/#a"}, False),
    ({"issuer": "https://user@id.example.com/"}, False),
    ({"issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E"}, True),
    ({"issuer": "https://login.microsoftonline.com/12345678-1234-1234-1234-123456789012/v2.0"}, True),
    ({"audiences": ()}, False),
    ({"audiences": "relay"}, False),
    ({"audiences": ("api://relay", "https://relay.example.com")}, True),
    ({"audiences": ("",)}, False),
    ({"required_claims": {"department": "research", "email": ""}}, True),
    ({"required_claims": {"aud": "relay"}}, False),
    ({"required_claims": {"scope": "x"}}, False),
    ({"required_claims": {"a": None}}, False),
    ({"required_claims": ("a",)}, False),
    ({"audience": "relay"}, False),
]


@pytest.mark.parametrize(("values", "allowed"), OPTIONS, ids=str)
def test_an_api_is_judged_field_by_field(values: dict[str, Any], allowed: bool) -> None:
    lines = list(api_options.problems(ApiOptions(**values)))
    assert (lines == []) == allowed
    assert all(any(name in line for name in values) for line in lines)


@pytest.mark.parametrize(("values", "allowed"), ISSUERS, ids=str)
def test_an_issuer_is_judged_field_by_field(values: dict[str, Any], allowed: bool) -> None:
    lines = list(api_options.problems(ApiOptions(keys=False, tokens=(TokenIssuer(**{**CORP, **values}),))))
    assert (lines == []) == allowed
    assert all("tokens[0]" in line for line in lines)


def test_issuers_are_told_apart() -> None:
    one = TokenIssuer(**CORP)
    for other, says in (
        (replace(one, issuer="https://b"), "one alias twice"),
        (replace(one, alias="b"), "one issuer twice"),
    ):
        assert any(says in line for line in api_options.problems(ApiOptions(tokens=(one, other))))
    many = tuple(replace(one, alias=f"a{n}", issuer=f"https://i{n}") for n in range(6))
    assert any("6 issuers" in line for line in api_options.problems(ApiOptions(tokens=many)))
    wrong: Any = "corp"
    assert any("TokenIssuer(...)" in line for line in api_options.problems(ApiOptions(tokens=(wrong,))))


@pytest.mark.parametrize(
    "callers",
    [
        CallerPolicies(),
        CallerPolicies(default=CallerPolicy(models=("gpt-5",), concurrent=3, output_cap=100)),
        CallerPolicies(default="refuse", rules={"key:ci-*": CallerPolicy(concurrent=1)}),
        CallerPolicies(default=CallerPolicy(usd_per_day=1), rules={"oidc:corp:*": CallerPolicy()}),
        CallerPolicies(default="refuse", rules={"oidc:corp:o'brien@example.com": CallerPolicy()}),
        # A limit that is only observed refuses nobody.
        CallerPolicies(default=CallerPolicy(usd_per_day=1, observe=("usd_per_day",))),
        CallerPolicies(
            default="refuse",
            rules={"key:ci-*": CallerPolicy(group="ci")},
            groups={"ci": CallerGroup(requests_per_minute=5, observe=("requests_per_minute",))},
        ),
    ],
)
def test_no_holder_of_a_bearer_is_without_a_limit(callers: CallerPolicies) -> None:
    with pytest.raises(ConfigurationError, match="has no limit on requests or money"):
        check(replace(API, callers=callers))
    check(replace(API, api=None, callers=callers))


def test_a_limit_beside_one_that_is_observed_is_one() -> None:
    both = CallerPolicy(usd_per_day=1, requests_per_minute=9, observe=("usd_per_day",))
    check(replace(API, callers=CallerPolicies(default="refuse", rules={"key:ci-*": both})))


def test_a_rule_for_iam_principals_covers_none_for_bearers() -> None:
    """As the relay keeps their kinds apart."""
    rules = {"*:*": CallerPolicy(usd_per_day=1), "key:ci-*": CallerPolicy(usd_per_day=2)}
    check(replace(API, callers=CallerPolicies(default="refuse", rules=rules)))
    rules = {"key:*": CallerPolicy(usd_per_day=1), "key:ci-*": CallerPolicy(usd_per_day=2)}
    with pytest.raises(ConfigurationError, match="which matches first"):
        check(replace(API, callers=CallerPolicies(default="refuse", rules=rules)))


@pytest.mark.parametrize(
    ("bearer", "address", "says"),
    [
        (899, 2000, "api.requests_per_bearer is 899; allowed: at least 900"),
        (900, 1799, "api.requests_per_ip is 1799; allowed: at least 1800"),
        (900, 1800, ""),
    ],
)
def test_waf_lets_through_what_the_relay_allows_a_holder_of_a_key(bearer: int, address: int, says: str) -> None:
    api = replace(KEYS_ONLY.api or ApiOptions(), requests_per_bearer=bearer, requests_per_ip=address)
    rules = {"key:ci-*": CallerPolicy(requests_per_minute=120), "1:role/x": CallerPolicy(requests_per_minute=1000)}
    environment = replace(KEYS_ONLY, api=api, callers=CallerPolicies(default="refuse", rules=rules))
    if not says:
        check(environment)
        return
    with pytest.raises(ConfigurationError, match=says):
        check(environment)


def test_others_may_be_without_a_limit() -> None:
    rules = {"123456789012:role/x": CallerPolicy()}
    check(replace(API, callers=CallerPolicies(default=CallerPolicy(usd_per_day=1), rules=rules)))


@pytest.mark.parametrize("region", ["us-east-1", None])
def test_the_certificate_is_in_the_region_of_the_api(region: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"api.certificate is in eu-central-1"):
        check(replace(API, region=region))
    check(KEYS_ONLY)


def test_an_api_is_made_of_options() -> None:
    wrong: Any = True
    with pytest.raises(ConfigurationError, match=r"api is True; allowed: ApiOptions"):
        check(replace(API, api=wrong))
