"""The API as it is synthesised: what was decided, by property, and what is noticed when it is taken away."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from authorizer import api_key
from relay.doors import rest_api as relay_door
from relay.settings import Settings

from cdk_app.api import key_authorizer as judge
from cdk_app.api import refusals
from cdk_app.api import rest_api as built
from cdk_app.checks import api_guards, guards
from cdk_app.config.environment import Environment
from cdk_app.relay.limits_table import KEYS, NOTED
from tests.support.synthesis import API, EVERYTHING, KEYS_ONLY, Synthesised
from tests.support.template_mutations import Mutation, drop, of, put, without

Template = dict[str, Any]
REST, METHOD, STAGE = "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Method", "AWS::ApiGateway::Stage"
AUTHORIZER, RESPONSE = "AWS::ApiGateway::Authorizer", "AWS::ApiGateway::GatewayResponse"
PERMISSION, ALIAS = "AWS::Lambda::Permission", "AWS::Lambda::Alias"


def template(templates: dict[str, Synthesised], name: str = API.name) -> Template:
    return templates[name].stacks["relay"]


def one(made: Template, kind: str, **properties: object) -> dict[str, Any]:
    (found,) = (each for each in of(made, kind) if properties.items() <= each.items())
    return found


def test_an_environment_without_an_api_has_none(templates: dict[str, Synthesised]) -> None:
    for name in ("dev", "staging", "prod", EVERYTHING.name):
        text = json.dumps(template(templates, name))
        assert not re.search(r"AWS::ApiGateway|API_ID|AWS::Lambda::Alias", text)


def test_streams_for_fifteen_minutes_to_the_alias_that_it_alone_may_invoke(templates: dict[str, Synthesised]) -> None:
    made = template(templates)
    methods = [each for each in of(made, METHOD) if each["HttpMethod"] == "ANY"]
    assert len(methods) == 2
    for method in methods:
        integration = method["Integration"]
        assert (integration["ResponseTransferMode"], integration["TimeoutInMillis"]) == ("STREAM", 900_000)
        assert "lambda:path/2021-11-15/functions/" in json.dumps(integration["Uri"])
        assert "/response-streaming-invocations" in json.dumps(integration["Uri"])
    alias = one(made, ALIAS)
    assert (alias["Name"], alias["FunctionVersion"]) == ("api", "$LATEST")
    assert alias["Name"] == built.ALIAS == relay_door.ALIAS == api_guards.ALIAS
    to_alias = [each for each in of(made, PERMISSION) if "ApiAlias" in json.dumps(each["FunctionName"])]
    assert [each["Principal"] for each in to_alias] == ["apigateway.amazonaws.com"]
    assert re.search(r'"Ref": "Api[0-9A-F]+"\}, "/relay/\*/\*"', json.dumps(to_alias[0]["SourceArn"]))


def test_the_relay_is_told_which_api_it_is_and_whose_tokens_it_takes(templates: dict[str, Synthesised]) -> None:
    (variables,) = (
        each["Environment"]["Variables"]
        for each in of(template(templates), "AWS::Lambda::Function")
        if "API_ID" in each["Environment"]["Variables"]
    )
    texts = {name: text if isinstance(text, str) else "abcde12345" for name, text in variables.items()}
    api = Settings.from_environ(texts).api
    assert api is not None
    assert api.stage == one(template(templates), STAGE)["StageName"]
    issuers = {each.alias: (each.url, each.claim) for each in api.issuers}
    assert issuers == {"corp": ("https://id.example.com/", "sub"), "ci": ("https://token.example.com", "repository")}
    assert api.origins == ("https://chat.example.com",)


def test_each_resource_has_its_authorizer(templates: dict[str, Synthesised]) -> None:
    made = template(templates)
    paths = {name: r["Properties"] for name, r in made["Resources"].items() if r["Type"] == "AWS::ApiGateway::Resource"}

    def path(resource: dict[str, Any]) -> str:
        parent = resource["ParentId"].get("Ref")
        return f"{path(paths[parent]) if parent else ''}/{resource['PathPart']}"

    kinds = {
        path(paths[each["ResourceId"]["Ref"]]): each["AuthorizationType"]
        for each in of(made, METHOD)
        if each["HttpMethod"] == "ANY"
    }
    assert kinds == {relay_door.KEYS: "CUSTOM", relay_door.TOKENS: "JWT"}
    assert one(made, METHOD, AuthorizationType="JWT")["AuthorizationScopes"] == ["relay/use"]


def test_only_what_looks_like_a_key_reaches_the_authorizer(templates: dict[str, Synthesised]) -> None:
    authorizer = one(template(templates), AUTHORIZER, Type="TOKEN")
    expression = re.compile(authorizer["IdentityValidationExpression"])
    key = api_key.create()
    assert all(expression.search(text) for text in (f"Bearer {key}", f"bearer {key}"))
    for text in (
        "",
        key,
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        f"Basic {key}",
        "Bearer eyJhbGciOi.J9.x",
        f"Bearer {key},{key}",
    ):
        assert not expression.search(text)
    assert authorizer["AuthorizerResultTtlInSeconds"] == 120
    assert authorizer["IdentitySource"] == "method.request.header.Authorization"


def test_tokens_are_judged_by_api_gateway_itself(templates: dict[str, Synthesised]) -> None:
    authorizer = one(template(templates), AUTHORIZER, Type="JWT")
    assert "AuthorizerUri" not in authorizer
    configuration = authorizer["JwtConfiguration"]
    assert configuration["DefaultAlgorithms"] == ["RS256", "ES256"]
    corp, ci = configuration["Issuers"]
    assert (corp["Issuer"], corp["Audiences"]) == ("https://id.example.com/", ["relay"])
    claims = {each["ClaimName"]: each.get("ExpectedValues") for each in corp["AdditionalClaims"]}
    assert claims == {"sub": None, "department": ["research"], "email": None}
    assert all(each["Required"] and each["Format"] == "SINGLE_STRING" for each in corp["AdditionalClaims"])
    assert [each["ClaimName"] for each in ci["AdditionalClaims"]] == ["repository"], "the claim that names the caller"


def test_the_authorizer_may_read_keys_and_note_their_use(templates: dict[str, Synthesised]) -> None:
    made = template(templates)
    (function,) = (each for each in of(made, "AWS::Lambda::Function") if each["Handler"] == judge.HANDLER)
    assert function["ReservedConcurrentExecutions"] == 3
    assert set(function["Environment"]["Variables"]) == {"TABLE_NAME"}
    (policy,) = (
        each["PolicyDocument"]["Statement"]
        for each in of(made, "AWS::IAM::Policy")
        if "LeadingKeys" in json.dumps(each)
    )
    allowed = {json.dumps(each["Action"]): each.get("Condition") for each in policy}
    assert set(allowed) == {
        '["logs:CreateLogStream", "logs:PutLogEvents"]', '"dynamodb:GetItem"', '"dynamodb:UpdateItem"',
    }  # fmt: skip
    assert allowed['"dynamodb:GetItem"']["ForAllValues:StringEquals"] == {"dynamodb:LeadingKeys": ["keys"]}
    assert allowed['"dynamodb:UpdateItem"']["ForAllValues:StringEquals"]["dynamodb:Attributes"] == list(NOTED)
    assert KEYS == api_key.PARTITION


def test_the_code_of_the_authorizer_is_nothing_else() -> None:
    files = {path.relative_to(judge.SOURCE).as_posix() for path in judge.SOURCE.rglob("*.py")}
    assert files == {"authorizer/__init__.py", "authorizer/api_key.py", "authorizer/handler.py"}
    module, _, name = judge.HANDLER.rpartition(".")
    assert hasattr(__import__(module, fromlist=[name]), name)


def test_the_stage_is_throttled_guarded_and_logged_without_bearers(templates: dict[str, Synthesised]) -> None:
    made = template(templates)
    stage = one(made, STAGE)
    (settings,) = stage["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (20, 40)
    assert (settings["LoggingLevel"], settings["DataTraceEnabled"]) == ("OFF", False)
    logged = set(re.findall(r"\$context\.([\w.]+)", stage["AccessLogSetting"]["Format"]))
    assert logged == {
        "requestId", "requestTimeEpoch", "identity.sourceIp", "httpMethod", "resourcePath", "status", "authorizer.status",
        "integrationStatus", "responseLatency", "responseLength", "wafResponseCode",
    }  # fmt: skip
    assert len(list(of(made, "AWS::WAFv2::WebACLAssociation"))) == 1
    acl = one(made, "AWS::WAFv2::WebACL")
    assert acl["Scope"] == "REGIONAL"
    rules = {rule["Name"]: rule["Statement"] for rule in acl["Rules"]}
    assert "Unsigned" not in rules
    by_caller = rules["RatePerSession"]["RateBasedStatement"]
    assert (by_caller["Limit"], by_caller["CustomKeys"][0]["Header"]["Name"]) == (300, "authorization")


def test_a_name_of_ones_own_closes_the_other(templates: dict[str, Synthesised]) -> None:
    assert one(template(templates), REST)["DisableExecuteApiEndpoint"] is True
    domain = one(template(templates), "AWS::ApiGateway::DomainName")
    assert (domain["DomainName"], domain["SecurityPolicy"]) == ("openai.example.com", "TLS_1_2")
    assert template(templates)["Outputs"]["ApiBaseUrl"]["Value"] == "https://openai.example.com/v1"
    assert template(templates)["Outputs"]["ApiTokenBaseUrl"]["Value"] == "https://openai.example.com/sso/v1"
    assert one(template(templates, KEYS_ONLY.name), REST)["DisableExecuteApiEndpoint"] is False


def test_every_refusal_is_one_that_openais_clients_understand(templates: dict[str, Synthesised]) -> None:
    made = {each["ResponseType"]: each for each in of(template(templates), RESPONSE)}
    assert made.keys() == refusals.RESPONSES.keys()
    for kind, response in made.items():
        error = json.loads(response["ResponseTemplates"]["application/json"])["error"]
        assert set(error) == {"message", "type", "param", "code"}
        headers = response["ResponseParameters"]
        assert headers["gatewayresponse.header.access-control-allow-origin"] == "'https://chat.example.com'"
        if response.get("StatusCode") == "429":
            assert headers["gatewayresponse.header.x-should-retry"] == "'true'"
            assert "gatewayresponse.header.retry-after" in headers
        assert "StatusCode" in response or kind.startswith("DEFAULT_")
    assert made["ACCESS_DENIED"]["StatusCode"] == "401", "a key that is denied is a wrong key"


def test_preflights_are_answered_without_the_relay(templates: dict[str, Synthesised]) -> None:
    preflights = [each for each in of(template(templates), METHOD) if each["HttpMethod"] == "OPTIONS"]
    assert len(preflights) == 2
    assert all(each["Integration"]["Type"] == "MOCK" for each in preflights)
    assert not [each for each in of(template(templates, KEYS_ONLY.name), METHOD) if each["HttpMethod"] == "OPTIONS"]


def test_what_changes_beside_the_methods_makes_a_new_deployment(templates: dict[str, Synthesised]) -> None:
    names = {
        name: next(
            n for n, r in template(templates, name)["Resources"].items() if r["Type"] == "AWS::ApiGateway::Deployment"
        )
        for name in (API.name, KEYS_ONLY.name)
    }
    assert len(set(names.values())) == 2
    waits = template(templates)["Resources"][names[API.name]]["DependsOn"]
    kinds = {template(templates)["Resources"][each]["Type"] for each in waits}
    assert {METHOD, AUTHORIZER, RESPONSE} <= kinds


def method(**changes: object) -> Mutation:
    """Change the method that serves keys."""

    def mutate(made: Template) -> None:
        found = one(made, METHOD, AuthorizationType="CUSTOM")
        for path, value in changes.items():
            *above, last = path.split("__")
            here = found
            for step in above:
                here = here[step]
            here[last] = value

    return mutate


def authorizer(kind: str, path: str, value: object) -> Mutation:
    def mutate(made: Template) -> None:
        here: Any = one(made, AUTHORIZER, Type=kind)
        *above, last = path.split(".")
        for step in above:
            here = here[int(step) if step.isdigit() else step]
        here[last] = value

    return mutate


def permission(**changes: object) -> Mutation:
    def mutate(made: Template) -> None:
        found = next(each for each in of(made, PERMISSION) if "ApiAlias" in json.dumps(each["FunctionName"]))
        found.update(changes)

    return mutate


def add(kind: str, **properties: object) -> Mutation:
    return lambda made: made["Resources"].update(Added={"Type": kind, "Properties": properties})


def response(field: str, name: str, value: str) -> Mutation:
    return lambda made: next(of(made, RESPONSE))[field].update({name: value})


ALLOW_ORIGIN = "gatewayresponse.header.access-control-allow-origin"
REPEATS = '{"error": {"message": "$context.path", "type": "", "param": "", "code": ""}}'
ANYBODY = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "*"}
MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "a method for everybody": (method(AuthorizationType="NONE"), "anybody could spend"),
    "a method with IAM": (method(AuthorizationType="AWS_IAM"), "allowed: CUSTOM or JWT"),
    "a method without an authorizer": (method(AuthorizerId=None), "names no authorizer"),
    "a method with an authorizer from elsewhere": (method(AuthorizerId="abc123"), "names no authorizer"),
    "a method with the other authorizer": (method(AuthorizationType="JWT"), "no authorizer of the type JWT"),
    "a preflight that reaches the relay": (
        put(METHOD, "AuthorizationType", "NONE"),
        "anybody could spend",
    ),
    "buffered responses": (method(Integration__ResponseTransferMode="BUFFERED"), "would be buffered"),
    "another kind of integration": (method(Integration__Type="AWS"), "would be buffered"),
    "half a minute": (method(Integration__TimeoutInMillis=29_000), "TimeoutInMillis is 29000"),
    "past the alias": (method(Integration__Uri={"Ref": "RelayFunction"}), "does not invoke the alias"),
    "another alias": (put(ALIAS, "Name", "live"), "does not invoke the alias"),
    "the alias for another service": (permission(Principal="events.amazonaws.com"), "may call past the URL"),
    "the alias for every API": (permission(SourceArn="arn:aws:execute-api:*:*:*"), "may call past the URL"),
    "the alias without a source": (permission(SourceArn=None), "may call past the URL"),
    "the alias for everybody": (permission(Principal="*"), "everybody may call"),
    "the function itself for API Gateway": (permission(FunctionName={"Ref": "RelayFunction"}), "may call past the URL"),
    "an account on the alias": (permission(Principal="210987654321"), "may call past the URL"),
    "any text to the authorizer": (authorizer("TOKEN", "IdentityValidationExpression", ".*"), "what a key looks like"),
    "any end": (authorizer("TOKEN", "IdentityValidationExpression", "^Bearer sk-relay-"), "what a key looks like"),
    "another header": (authorizer("TOKEN", "IdentitySource", "method.request.header.X"), "IdentitySource is"),
    "a longer memory": (authorizer("TOKEN", "AuthorizerResultTtlInSeconds", 3601), "AuthorizerResultTtlInSeconds"),
    "a token from the query": (authorizer("JWT", "IdentitySource", "method.request.querystring.t"), "IdentitySource is"),
    "a symmetric algorithm": (authorizer("JWT", "JwtConfiguration.DefaultAlgorithms", ["HS256"]), "with a public key"),
    "no algorithm": (authorizer("JWT", "JwtConfiguration.DefaultAlgorithms", []), "with a public key"),
    "no issuer": (authorizer("JWT", "JwtConfiguration.Issuers", []), "no issuer is trusted"),
    "no audience": (authorizer("JWT", "JwtConfiguration.Issuers.0.Audiences", []), "no audience"),
    "an issuer in the clear": (authorizer("JWT", "JwtConfiguration.Issuers.0.Issuer", "http://x"), "not reached by https"),
    "a request authorizer": (authorizer("JWT", "Type", "REQUEST"), "allowed: TOKEN or JWT"),
    "no throttle": (put(STAGE, "MethodSettings", []), "nothing throttles it"),
    "half a throttle": (put(STAGE, "MethodSettings.0.ThrottlingRateLimit", 0), "nothing throttles it"),
    "an execution log": (put(STAGE, "MethodSettings.0.LoggingLevel", "INFO"), "LoggingLevel has to be OFF"),
    "a data trace": (put(STAGE, "MethodSettings.0.DataTraceEnabled", True), "LoggingLevel has to be OFF"),
    "a cache": (put(STAGE, "CacheClusterEnabled", True), "give responses to other callers"),
    "a cached method": (put(STAGE, "MethodSettings.0.CachingEnabled", True), "would be cached"),
    "no access log": (drop(STAGE, "AccessLogSetting"), "has no access log"),
    "claims in the log": (put(STAGE, "AccessLogSetting.Format", "$context.authorizer.claims.sub"), "may hold a bearer"),
    "the error in the log": (put(STAGE, "AccessLogSetting.Format", "$context.authorizer.error"), "may hold a bearer"),
    "paths in the log": (put(STAGE, "AccessLogSetting.Format", "$context.path"), "what a caller wrote"),
    "agents in the log": (put(STAGE, "AccessLogSetting.Format", "$context.identity.userAgent"), "what a caller wrote"),
    "no web ACL": (without("AWS::WAFv2::WebACLAssociation"), "no web ACL stands in front of it"),
    "a web ACL without a rate": (drop("AWS::WAFv2::WebACL", "Rules.3"), "missing"),
    "a web ACL of no scope": (put("AWS::WAFv2::WebACL", "Scope", "GLOBAL"), "Scope is GLOBAL"),
    "the other name open": (put(REST, "DisableExecuteApiEndpoint", False), "could be gone around"),
    "an edge-optimised API": (put(REST, "EndpointConfiguration.Types", ["EDGE"]), "is not REGIONAL"),
    "a policy of its own": (put(REST, "Policy", {"Statement": [ANYBODY]}), "by other rules"),
    "compressed streams": (put(REST, "MinimumCompressionSize", 0), "would be held back"),
    "a plan without limits": (add("AWS::ApiGateway::UsagePlan", Throttle={"RateLimit": 1}), "without throttle and quota"),
    "no refusals": (without(RESPONSE), "the response UNAUTHORIZED is missing"),
    "a refusal of AWS's shape": (put(RESPONSE, "ResponseTemplates", {}), "has not OpenAI's error shape"),
    "a refusal that repeats": (response("ResponseTemplates", "application/json", REPEATS), "repeats what a client has sent"),
    "a refusal that says nothing of retries": (put(RESPONSE, "ResponseParameters", {}), "whether to try again"),
    "a refusal for every page": (response("ResponseParameters", ALLOW_ORIGIN, "'*'"), "every page in every browser"),
    "an authorizer without a cap": (
        lambda made: next(f for f in of(made, "AWS::Lambda::Function") if "API_ID" not in json.dumps(f)).pop(
            "ReservedConcurrentExecutions"
        ),
        "nothing caps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_api_that_lost_a_protection_is_refused(name: str, templates: dict[str, Synthesised]) -> None:
    mutate, complaint = MUTATIONS[name]
    broken = copy.deepcopy(template(templates))
    mutate(broken)
    assert broken != template(templates)
    assert any(complaint in line for line in guards.problems(broken, API))


def test_an_api_that_nobody_asked_for_is_refused(templates: dict[str, Synthesised]) -> None:
    asked: Environment = EVERYTHING
    assert any("a REST API, but api is None" in line for line in guards.problems(template(templates), asked))


def test_every_page_in_a_preflight_is_noticed(templates: dict[str, Synthesised]) -> None:
    broken = copy.deepcopy(template(templates))
    (answer,) = one(broken, METHOD, HttpMethod="OPTIONS", **{"ResourceId": next(of(broken, METHOD))["ResourceId"]})[
        "Integration"
    ]["IntegrationResponses"]
    answer["ResponseParameters"]["method.response.header.Access-Control-Allow-Origin"] = "'*'"
    assert any("every page in every browser may call" in line for line in guards.problems(broken, API))


def test_the_smallest_api_is_complete_too(templates: dict[str, Synthesised]) -> None:
    made = template(templates, KEYS_ONLY.name)
    assert guards.problems(made, KEYS_ONLY) == []
    assert not list(of(made, "AWS::ApiGateway::Account")), "the account has a role for logs already"
    assert "ApiTokenBaseUrl" not in made["Outputs"]


def test_an_environment_that_reserves_nothing_reserves_nothing_for_the_authorizer() -> None:
    """A new account has ten concurrent executions, of which none can be reserved."""
    assert replace(API, reserved_concurrency=None).reserved_in_all is None
    assert (API.reserved_in_all, EVERYTHING.reserved_in_all) == (8, 7)
