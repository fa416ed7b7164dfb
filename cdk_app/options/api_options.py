"""The values of an environment's API, and what is allowed for each. Knows nothing of the CDK and of other values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cdk_app import mistakes
from cdk_app.options.checks import Check, is_network, matches, optional, whole

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""docs.aws.amazon.com/apigateway/latest/api/API_JwtConfiguration.html: all are asymmetric, so no public key can sign."""
# Claims that API Gateway checks by itself, or as scopes: API_JwtAdditionalClaim.html.
_OWN_CLAIMS = frozenset({"iss", "aud", "exp", "nbf", "iat", "scope", "scp"})
_MOST_ISSUERS = 5
_TEXT = r"[!-~]([ -~]{0,254}[!-~])?"


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer(mistakes.Noted):
    """Who issues tokens that let in. Its discovery document has to be on the public internet."""

    # How policies call it: callers are oidc:ALIAS:SUBJECT.
    alias: str
    # Exactly the `iss` of its tokens, also as to the slash at its end.
    issuer: str
    # Who the tokens are for: at least one has to be in their `aud`.
    audiences: tuple[str, ...]
    # The claim whose value is the caller. "sub" never changes hands; an address or a name may.
    claim: str = "sub"
    # Claims that a token must have, with exactly this value, or "" for any.
    required_claims: Mapping[str, str] = field(default_factory=dict)


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions(mistakes.Noted):
    """API Gateway in front of the relay, for clients that know only a base URL and a bearer: keys and tokens."""

    # Whether holders of keys (`operate key create`) are let in, below /v1.
    keys: bool = True
    # Whose tokens let in, below /sso/v1.
    tokens: tuple[TokenIssuer, ...] = ()
    algorithms: tuple[str, ...] = ("RS256",)
    # At least one of these has to be in a token's `scope` or `scp`; () asks for none.
    scopes: tuple[str, ...] = ()
    # Seconds for which API Gateway remembers what the authorizer said of a key. A revocation does not wait for it.
    cache_seconds: int = 300
    # How many keys that are not remembered may be judged at once; taken from the account's concurrency, unless the
    # environment reserves none.
    authorizer_concurrency: int = 5
    # A name of your own instead of ID.execute-api.REGION.amazonaws.com, which is then closed, with its certificate in the
    # environment's region.
    domain: str | None = None
    certificate: str | None = None
    # Requests a second of all callers together, and how many at once on top.
    requests_per_second: int = 50
    burst: int = 100
    # The most requests in five minutes: of one address, and with one key or token.
    requests_per_ip: int = 1000
    requests_per_bearer: int = 500
    # Networks and countries that are served; () serves all.
    networks: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    # Pages that may call from a browser, such as "https://chat.example.com"; () lets none.
    origins: tuple[str, ...] = ()
    # API Gateway writes logs by one role for a whole account and region. False where there is one already.
    account_log_role: bool = True


_TUPLES = {
    "tokens": "(TokenIssuer(...),)",
    "algorithms": "('RS256',)",
    "scopes": "('relay/use',)",
    "networks": "('203.0.113.0/24',)",
    "countries": "('DE',)",
    "origins": "('https://chat.example.com',)",
}


def problems(options: ApiOptions) -> Iterator[str]:
    """One line for each field that is unknown or has a value that is not allowed."""
    yield from mistakes.of(options)
    wrong = [name for name in _TUPLES if not isinstance(getattr(options, name), tuple)]
    yield from (f"{name} is {getattr(options, name)!r}; allowed: a tuple, such as {_TUPLES[name]}" for name in wrong)
    if wrong:
        return
    for name in ("keys", "account_log_role"):
        if not isinstance(getattr(options, name), bool):
            yield f"{name} is {getattr(options, name)!r}; allowed: True or False"
    if options.keys is False and not options.tokens:
        yield "keys is False and tokens is (); allowed: keys=True or a TokenIssuer(...), or nobody could come in"
    yield from _figures(options)
    yield from _domain(options)
    yield from _lists(options)
    yield from _tokens(options)


def contradictions(options: ApiOptions, region: str | None, unlimited: Sequence[str]) -> Iterator[str]:
    """One line for each thing that an environment in `region` must not say beside `options`. `unlimited` are the places of
    policies that holders of keys or tokens may have and that limit nothing."""
    if options.certificate is not None and options.certificate.split(":")[3] != region:
        yield f"api.certificate is in {options.certificate.split(':')[3]}, region is {region!r}; allowed: both the same"
    # A bearer can be passed on: there is no holder without a limit.
    yield from (
        f"api lets in holders of keys or tokens, and callers.{place} has no limit on requests or money; allowed: "
        "usd_per_day, usd_per_month, tokens_per_day or requests_per_minute"
        for place in unlimited
    )


def _figures(options: ApiOptions) -> Iterator[str]:
    ranges = {
        "cache_seconds": (0, 3600),
        "authorizer_concurrency": (1, 1000),
        "requests_per_second": (1, 10_000),
        "burst": (1, 5_000),
        "requests_per_ip": (10, 2_000_000_000),
        "requests_per_bearer": (10, 2_000_000_000),
    }
    for name, (low, high) in ranges.items():
        if not whole(low, high)(getattr(options, name)):
            yield f"{name} is {getattr(options, name)!r}; allowed: a whole number from {low} to {high}"


def _domain(options: ApiOptions) -> Iterator[str]:
    if (options.domain is None) != (options.certificate is None):
        yield f"domain is {options.domain!r}, certificate is {options.certificate!r}; allowed: both or neither"
    if not optional(matches(r"([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,}"))(options.domain):
        yield f"domain is {options.domain!r}; allowed: a name such as 'openai.example.com'"
    if not optional(matches(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+"))(options.certificate):
        yield f"certificate is {options.certificate!r}; allowed: the ARN of an ACM certificate"


def _lists(options: ApiOptions) -> Iterator[str]:
    allowed: dict[str, tuple[Check, str]] = {
        "algorithms": (matches("|".join(ALGORITHMS)), ", ".join(ALGORITHMS)),
        "scopes": (matches(r"[!#-\[\]-~]{1,255}"), "scopes such as 'relay/use'"),
        "networks": (is_network, "networks such as '203.0.113.0/24', host bits zero, not everybody"),
        "countries": (matches(r"[A-Z]{2}"), "two capital letters such as 'DE' (ISO 3166-1)"),
        "origins": (
            matches(r"https://[a-z0-9.-]+(:\d{1,5})?|http://localhost(:\d{1,5})?"),
            "origins such as 'https://chat.example.com', without a path and never '*'",
        ),
    }
    for name, (is_allowed, words) in allowed.items():
        yield from (f"{name} has {each!r}; allowed: {words}" for each in getattr(options, name) if not is_allowed(each))
    if options.tokens and not options.algorithms:
        yield "algorithms is (); allowed: at least one, such as ('RS256',)"


def _tokens(options: ApiOptions) -> Iterator[str]:
    if len(options.tokens) > _MOST_ISSUERS:
        yield f"tokens has {len(options.tokens)} issuers; allowed: {_MOST_ISSUERS}"
    for name in ("alias", "issuer"):
        given = [getattr(each, name) for each in options.tokens if isinstance(each, TokenIssuer)]
        if len(set(map(repr, given))) != len(given):
            yield f"tokens has one {name} twice; allowed: each once"
    for index, each in enumerate(options.tokens):
        if isinstance(each, TokenIssuer):
            yield from (f"tokens[{index}].{line}" for line in _issuer(each))
        else:
            yield f"tokens has {each!r}; allowed: TokenIssuer(...)"


def _issuer(issuer: TokenIssuer) -> Iterator[str]:
    yield from mistakes.of(issuer)
    if not matches(r"[a-z0-9-]{1,32}")(issuer.alias):
        yield f"alias is {issuer.alias!r}; allowed: up to 32 small letters, digits and '-', such as 'corp'"
    if not matches(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[!-\"$->@-~]*)?")(issuer.issuer):
        yield f"issuer is {issuer.issuer!r}; allowed: the https URL in the tokens' `iss`, without query and fragment"
    audiences = issuer.audiences
    if not isinstance(audiences, tuple) or not audiences or not all(map(matches(_TEXT), audiences)):
        yield f"audiences is {audiences!r}; allowed: a tuple of at least one, such as ('relay',)"
    if not matches(r"[\w:/.-]{1,128}")(issuer.claim):
        yield f"claim is {issuer.claim!r}; allowed: the name of a claim, such as 'sub'"
    required = issuer.required_claims
    if not isinstance(required, Mapping):
        yield f"required_claims is {required!r}; allowed: a mapping such as {{'department': 'research'}}"
        return
    for name, value in required.items():
        if not matches(r"[\w:/.-]{1,128}")(name) or name in _OWN_CLAIMS:
            yield f"required_claims has {name!r}; allowed: a claim that API Gateway does not check by itself"
        if not matches(rf"({_TEXT})?")(value):
            yield f"required_claims[{name!r}] is {value!r}; allowed: the exact value, or '' for any"
