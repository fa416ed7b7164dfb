"""The door for clients that know only a bearer: proxy events of an API Gateway REST API, after its authorizer. Pure.

Source: docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html (input format) and
.../rest-api-jwt-authorizer-claims.html. Identity comes from requestContext.authorizer and from nowhere else. That AWS wrote
that context, and not whoever may invoke the function, is told by the alias: the API invokes the function by ALIAS, on which
nobody but this API has a permission, and Lambda says by which name a function was invoked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from relay.doors.door import Door
from relay.doors.event_fields import body, object_at
from relay.errors import ErrorKind, RelayError
from relay.frozen import EMPTY, Frozen
from relay.models import Caller, Json, Request

ALIAS = "api"
"""The function's alias that the API invokes, and nobody else may."""
KEYS, TOKENS = "/v1/{proxy+}", "/sso/v1/{proxy+}"
"""The API's two resources: each has an authorizer of one kind, so its path says what the context must be."""
_TOKENS_PREFIX = "/sso"

_ALIAS = re.compile(r"[a-z0-9-]{1,32}")
_KEY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEY_ID = re.compile(r"[0-9a-f]{16}")
# openid.net/specs/openid-connect-core-1_0.html, "sub": at most 255 ASCII characters.
_SUBJECT = re.compile(r"[!-~]{1,255}")
# Beside what every page may read: what OpenAI's clients look at.
_EXPOSED = "x-request-id, x-should-retry, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests"
# What is a credential, or could be taken for one. Nothing behind the door has a use for them.
_DROPPED = frozenset({"authorization", "cookie", "x-api-key"})


class Issuer(Frozen):
    """Who issues tokens: `url` is their `iss`, and the value of `claim` names the caller, who is oidc:ALIAS:VALUE."""

    alias: str
    url: str
    claim: str = "sub"


class IssuersError(ValueError):
    """Issuers that cannot be used. The text names the alias and what would be right there."""


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """The issuers written in `text`: {ALIAS: {"issuer": "https://...", "claim": "sub"}, ...}. Raises ValueError."""
    root: Json = json.loads(text) if text.strip() else {}
    issuers = []
    for alias, fields in _object(root, "an alias for each issuer").items():
        named = _object(fields, f"{alias!r}: issuer and claim")
        url, claim = named.get("issuer"), named.get("claim", "sub")
        if not _ALIAS.fullmatch(alias) or not isinstance(url, str) or not isinstance(claim, str) or not (url and claim):
            raise IssuersError(f"{alias!r}: must be an alias such as corp, with issuer and claim as texts")
        issuers.append(Issuer(alias=alias, url=url, claim=claim))
    if len({issuer.url for issuer in issuers}) != len(issuers):
        raise IssuersError("an issuer has two aliases")
    return tuple(issuers)


def _object(value: Json, what: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise IssuersError(f"must be an object: {what}")
    return value


class Api(Frozen):
    """The one API that may let callers in: its id, its stage, whose tokens its authorizer takes, and the origins of the pages
    that may call from a browser."""

    id: str
    stage: str
    issuers: tuple[Issuer, ...] = ()
    origins: tuple[str, ...] = ()

    def door(self) -> Door:
        """The door of this API."""
        return Door(takes=takes, to_request=self.to_request, alias=ALIAS)

    def to_request(self, event: Mapping[str, Json], request_id: str) -> Request:
        """The HTTP request in `event`. Raises RelayError: NO_IDENTITY when this API's authorizer names nobody in it,
        BAD_REQUEST when its body cannot be decoded."""
        caller = self._caller(event)
        headers = _headers(object_at(event, "multiValueHeaders"))
        return Request(
            id=request_id,
            method=str(event["httpMethod"]),
            path=str(event["path"]).removeprefix(_TOKENS_PREFIX),
            headers=headers,
            body=body(event),
            caller=caller,
            through_api=True,
            response_headers=self._cors(headers.get("origin", "")),
        )

    def _cors(self, origin: str) -> Mapping[str, str]:
        """What lets a page of `origin` read the response: API Gateway answers preflights, and passes responses on as they are.
        Source: fetch.spec.whatwg.org, "HTTP responses"."""
        if not self.origins:
            return EMPTY
        allowed = {"access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED}
        return {**(allowed if origin in self.origins else {}), "vary": "Origin"}

    def _caller(self, event: Mapping[str, Json]) -> Caller:
        context = object_at(event, "requestContext")
        if (context.get("apiId"), context.get("stage")) != (self.id, self.stage):
            raise _nobody("the event is of another API or stage")
        resource, authorizer = context.get("resourcePath"), object_at(context, "authorizer")
        if resource != event.get("resource"):
            raise _nobody("the event names two resources")
        if resource == KEYS:
            return _key_holder(authorizer)
        if resource == TOKENS:
            return self._token_holder(object_at(authorizer, "claims"))
        raise _nobody("the resource has no authorizer")

    def _token_holder(self, claims: Mapping[str, Json]) -> Caller:
        issuer = next((each for each in self.issuers if each.url == claims.get("iss")), None)
        if issuer is None:
            raise _nobody("no claims of an issuer that is configured")
        name = claims.get(issuer.claim)
        if not isinstance(name, str) or not _SUBJECT.fullmatch(name):
            raise _nobody("the claim that names the caller is missing, or is no name")
        return Caller(account=f"oidc/{issuer.alias}", principal=name, arn=f"oidc:{issuer.alias}:{name}")


def takes(event: Mapping[str, Json]) -> bool:
    """Whether it has a `httpMethod`, a `path` and a `requestContext.resourcePath`, and nothing of format 2.0."""
    parts = (event.get("httpMethod"), event.get("path"), object_at(event, "requestContext").get("resourcePath"))
    return all(isinstance(part, str) for part in parts) and "rawPath" not in event


def _key_holder(authorizer: Mapping[str, Json]) -> Caller:
    name, key_id = authorizer.get("name"), authorizer.get("keyId")
    if not (isinstance(name, str) and isinstance(key_id, str)) or "claims" in authorizer:
        raise _nobody("no key in the authorizer's context")
    subject = f"key:{name}"
    if not (_KEY_NAME.fullmatch(name) and _KEY_ID.fullmatch(key_id)) or authorizer.get("principalId") != subject:
        raise _nobody("the authorizer's context is not one that ours writes")
    return Caller(account="key", principal=name, arn=subject, key_id=key_id)


def _nobody(log: str) -> RelayError:
    return RelayError(ErrorKind.NO_IDENTITY, log=log)


def _headers(fields: Mapping[str, Json]) -> Mapping[str, str]:
    """Lower-case names; values of a repeated header joined by commas, as RFC 9110, 5.3 has it."""
    headers: dict[str, str] = {}
    for name, values in fields.items():
        texts = [text for text in values if isinstance(text, str)] if isinstance(values, list) else []
        lower = name.lower()
        if texts and lower not in _DROPPED:
            headers[lower] = ",".join([headers[lower], *texts] if lower in headers else texts)
    return headers or EMPTY
