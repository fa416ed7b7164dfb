"""Rules that every template with a REST API has to meet. Reads finished templates only; called by `guards`.

Each is a way in that is open by mistake, or a place where bearers and prompts would be written down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cdk_app.config.environment import Environment

Template = Mapping[str, Any]
Found = Iterator[str]

ALIAS = "api"
AUTHORIZER_HANDLER = "authorizer.handler.handle"
_SERVICE = "apigateway.amazonaws.com"
# Bearers, queries, bodies, claims and paths of callers' choice.
_NEVER_LOGGED = re.compile(
    r"\$context\.(authorizer\.(?!status)|identity\.(?!sourceIp)|path\b|requestOverride|customDomain)|\$input|\$stageVariables"
)
_REFUSALS = (
    *(
        "UNAUTHORIZED",
        "ACCESS_DENIED",
        "EXPIRED_TOKEN",
        "MISSING_AUTHENTICATION_TOKEN",
        "REQUEST_TOO_LARGE",
        "THROTTLED",
    ),
    *("WAF_FILTERED", "INTEGRATION_TIMEOUT", "INTEGRATION_FAILURE", "AUTHORIZER_FAILURE", "DEFAULT_4XX", "DEFAULT_5XX"),
)
_LONGEST_MS = 900_000


def lines(template: Template, environment: Environment) -> Found:
    """One for each problem."""
    apis = dict(_of(template, "AWS::ApiGateway::RestApi"))
    if apis and environment.api is None:
        yield f"{', '.join(apis)}: a REST API, but api is None"
    for name, api in apis.items():
        yield from (f"{name}: {line}" for line in _api(template, name, api))
    for name, method in _of(template, "AWS::ApiGateway::Method"):
        yield from (f"{name}: {line}" for line in _method(template, method))
    for name, authorizer in _of(template, "AWS::ApiGateway::Authorizer"):
        yield from (f"{name}: {line}" for line in _authorizer(authorizer))
    for name, stage in _of(template, "AWS::ApiGateway::Stage"):
        yield from (f"{name}: {line}" for line in _stage(template, name, stage))
    for name, response in _of(template, "AWS::ApiGateway::GatewayResponse"):
        yield from (f"{name}: {line}" for line in _response(response))


def of_this_api(template: Template, permission: Mapping[str, Any]) -> bool:
    """Whether a permission lets this template's API alone invoke: the alias of the relay, or the judge of its keys."""
    if permission.get("Principal") != _SERVICE:
        return False
    source = json.dumps(permission.get("SourceArn", ""))
    named = any(f'{{"Ref": "{name}"}}' in source for name, _ in _of(template, "AWS::ApiGateway::RestApi"))
    target = json.dumps(permission.get("FunctionName", ""))
    aliases = {name for name, alias in _of(template, "AWS::Lambda::Alias") if alias["Name"] == ALIAS}
    functions = dict(_of(template, "AWS::Lambda::Function"))
    judges = {name for name, function in functions.items() if function.get("Handler") == AUTHORIZER_HANDLER}
    return named and any(f'"{name}"' in target for name in aliases | judges)


def _of(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def _api(template: Template, name: str, api: Mapping[str, Any]) -> Found:
    if api.get("EndpointConfiguration", {}).get("Types") != ["REGIONAL"]:
        yield "EndpointConfiguration is not REGIONAL; others close a stream after 30 s without a byte"
    if list(_of(template, "AWS::ApiGateway::DomainName")) and api.get("DisableExecuteApiEndpoint") is not True:
        yield "DisableExecuteApiEndpoint is missing; the name of your own could be gone around"
    if "Policy" in api:
        yield "a resource policy would let in by other rules than the authorizers'"
    if api.get("MinimumCompressionSize") is not None:
        yield "MinimumCompressionSize is set; streams would be held back"
    given = {response["ResponseType"] for _, response in _of(template, "AWS::ApiGateway::GatewayResponse")}
    for missing in sorted(set(_REFUSALS) - given):
        yield f"the response {missing} is missing; clients would not understand it"
    for _, plan in _of(template, "AWS::ApiGateway::UsagePlan"):
        if not plan.get("Throttle") or not plan.get("Quota"):
            yield "a usage plan without throttle and quota"


def _method(template: Template, method: Mapping[str, Any]) -> Found:
    kind, authorizers = method.get("AuthorizationType", "NONE"), dict(_of(template, "AWS::ApiGateway::Authorizer"))
    integration = method.get("Integration", {})
    if integration.get("Type") == "MOCK" and method.get("HttpMethod") == "OPTIONS":
        origins = json.dumps(integration).count("'*'")
        if origins:
            yield "every page in every browser may call; name the origins"
        return
    wanted = {"CUSTOM": "TOKEN", "JWT": "JWT"}.get(kind)
    if wanted is None:
        yield f"AuthorizationType is {kind}; anybody could spend; allowed: CUSTOM or JWT with an authorizer"
    elif authorizers.get(_ref(method.get("AuthorizerId")), {}).get("Type") != wanted:
        yield f"AuthorizerId names no authorizer of the type {wanted} in this template"
    if integration.get("Type") != "AWS_PROXY" or integration.get("ResponseTransferMode") != "STREAM":
        yield "the integration is no proxy with ResponseTransferMode STREAM; responses would be buffered"
    if integration.get("TimeoutInMillis") != _LONGEST_MS:
        yield f"TimeoutInMillis is {integration.get('TimeoutInMillis')}; streams may last {_LONGEST_MS}"
    aliases = {name for name, alias in _of(template, "AWS::Lambda::Alias") if alias["Name"] == ALIAS}
    if not any(f'{{"Ref": "{alias}"}}' in json.dumps(integration.get("Uri", "")) for alias in aliases):
        yield f"it does not invoke the alias {ALIAS}; the relay would take its events for forged ones"


def _ref(value: object) -> str:
    return str(value.get("Ref", "")) if isinstance(value, dict) else ""


def _authorizer(authorizer: Mapping[str, Any]) -> Found:
    if authorizer.get("IdentitySource") != "method.request.header.Authorization":
        yield f"IdentitySource is {authorizer.get('IdentitySource')}; clients send their bearer in Authorization"
    if authorizer["Type"] == "TOKEN":
        expression = authorizer.get("IdentityValidationExpression", "")
        if not (expression.startswith("^") and expression.endswith("$") and "sk-relay-" in expression):
            yield "IdentityValidationExpression lets anything through to the function; it has to say what a key looks like"
        if not 0 <= authorizer.get("AuthorizerResultTtlInSeconds", 300) <= 3600:
            yield "AuthorizerResultTtlInSeconds; allowed: 0 to 3600"
        return
    if authorizer["Type"] != "JWT":
        yield f"Type is {authorizer['Type']}; allowed: TOKEN or JWT"
        return
    configuration = authorizer.get("JwtConfiguration", {})
    if not configuration.get("Issuers"):
        yield "no issuer is trusted"
    algorithms = configuration.get("DefaultAlgorithms", [])
    if not algorithms or any(not re.fullmatch(r"(RS|ES)(256|384|512)", each) for each in algorithms):
        yield f"DefaultAlgorithms is {algorithms}; allowed: those with a public key"
    for issuer in configuration.get("Issuers", []):
        if not str(issuer.get("Issuer", "")).startswith("https://"):
            yield f"the issuer {issuer.get('Issuer')} is not reached by https"
        if not issuer.get("Audiences"):
            yield f"{issuer.get('Issuer')}: no audience; tokens that it made for anybody would let in"


def _stage(template: Template, name: str, stage: Mapping[str, Any]) -> Found:
    settings = stage.get("MethodSettings", [])
    everything = [each for each in settings if (each.get("ResourcePath"), each.get("HttpMethod")) == ("/*", "*")]
    if not everything or not everything[0].get("ThrottlingRateLimit") or not everything[0].get("ThrottlingBurstLimit"):
        yield "nothing throttles it; set ThrottlingRateLimit and ThrottlingBurstLimit for /*"
    for each in settings:
        if each.get("DataTraceEnabled") or each.get("LoggingLevel", "OFF") != "OFF":
            yield "API Gateway's execution log would write bearers and prompts down; LoggingLevel has to be OFF"
        if each.get("CachingEnabled"):
            yield "responses would be cached, and given to other callers"
    if stage.get("CacheClusterEnabled"):
        yield "a cache would be paid for, and give responses to other callers"
    access = stage.get("AccessLogSetting", {})
    if not access.get("DestinationArn"):
        yield "it has no access log"
    found = _NEVER_LOGGED.search(json.dumps(access.get("Format", "")))
    if found:
        yield f"the access log has {found[0]}, which may hold a bearer or what a caller wrote"
    associated = [
        association
        for _, association in _of(template, "AWS::WAFv2::WebACLAssociation")
        if f'{{"Ref": "{name}"}}' in json.dumps(association.get("ResourceArn", ""))
    ]
    if not associated:
        yield "no web ACL stands in front of it"


def _response(response: Mapping[str, Any]) -> Found:
    kind, templates = response["ResponseType"], response.get("ResponseTemplates", {})
    try:
        error = json.loads(templates.get("application/json", ""))["error"]
        shaped = set(error) == {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        shaped = False
    if not shaped:
        yield f"{kind} has not OpenAI's error shape"
    if "$" in json.dumps(templates):
        yield f"{kind} repeats what a client has sent"
    headers = response.get("ResponseParameters", {})
    if headers.get("gatewayresponse.header.x-should-retry") not in ("'true'", "'false'"):
        yield f"{kind} does not say whether to try again"
    if headers.get("gatewayresponse.header.access-control-allow-origin") == "'*'":
        yield f"{kind}: every page in every browser may read it; name the origin"
