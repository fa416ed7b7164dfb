"""Reads a REST API from a template: what lets in, what is refused and how. Knows CloudFormation's JSON, not the settings.

Who issues tokens is named by URLs that are real; `local` says where a local issuer stands in for one of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.assembly.template import Attributes, code_of, resources_of
from emulator.fakes.aws import AwsStandIn
from emulator.front.rest_api import Api, Refusal
from emulator.front.tokens import TrustedIssuer
from emulator.runtime import managed_python
from emulator.runtime.function import Function

ID = "local0api0"
Resources = Mapping[str, Mapping[str, Any]]


def attributes(assembly: Path) -> dict[str, Attributes]:
    """What a reference to the API gives, by its logical id; nothing without one."""
    return {name: {"Ref": ID} for _, resources in resources_of(assembly) for name in _of(resources, "RestApi")}


def read(assembly: Path, aws: AwsStandIn, *, region: str, table: str, local_issuers: Mapping[str, str]) -> Api | None:
    """The API of an assembly, whose keys are in `table`. `local_issuers` are base URLs by the issuers' own."""
    for template, resources in resources_of(assembly):
        if not _of(resources, "RestApi"):
            continue
        (api,) = _of(resources, "RestApi").values()
        (stage,) = _of(resources, "Stage").values()
        judges = {one["Type"]: one for one in _of(resources, "Authorizer").values()}
        methods = _of(resources, "Method").values()
        aliases = [one["Properties"]["Name"] for one in resources.values() if one["Type"] == "AWS::Lambda::Alias"]
        tokens = judges.get("JWT", {}).get("JwtConfiguration", {"Issuers": [], "DefaultAlgorithms": []})
        keys = judges.get("TOKEN", {})
        return Api(
            id=ID,
            stage=stage["StageName"],
            alias=aliases[0],
            key_function=_key_function(template, resources, aws, region, table) if keys else None,
            key_pattern=keys.get("IdentityValidationExpression", ""),
            cache_seconds=float(keys.get("AuthorizerResultTtlInSeconds", 300)),
            issuers=[_issuer(each, local_issuers) for each in tokens["Issuers"]],
            algorithms=tokens["DefaultAlgorithms"],
            scopes=[scope for method in methods for scope in method.get("AuthorizationScopes", [])],
            origins=sorted({origin for method in methods for origin in _origins(method)}),
            binary_types=api.get("BinaryMediaTypes", []),
            refusals={each["ResponseType"]: _refusal(each) for each in _of(resources, "GatewayResponse").values()},
        )
    return None


def _of(resources: Resources, kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == f"AWS::ApiGateway::{kind}"}


def _key_function(template: Path, resources: Resources, aws: AwsStandIn, region: str, table: str) -> Function:
    """The function that the authorizer names, on a stock Python with boto3: the one that runs this."""
    properties = next(
        one["Properties"]
        for one in resources.values()
        if one["Type"] == "AWS::Lambda::Function" and "AWS_LAMBDA_EXEC_WRAPPER" not in json.dumps(one)
    )
    return Function(
        command=(sys.executable, "-P", str(Path(managed_python.__file__))),
        task_root=code_of(template, properties),
        environment={**aws.environment(), "TABLE_NAME": table},
        name="authorizer",
        handler=properties["Handler"],
        runtime=properties["Runtime"],
        region=region,
        timeout=float(properties.get("Timeout", 3)),
        concurrency=properties.get("ReservedConcurrentExecutions", 10),
    )


def _issuer(issuer: Mapping[str, Any], local: Mapping[str, str]) -> TrustedIssuer:
    claims = {
        each["ClaimName"]: each["ExpectedValues"][0] if each.get("ExpectedValues") else None
        for each in issuer.get("AdditionalClaims", [])
    }
    url = issuer["Issuer"]
    return TrustedIssuer(url=url, audiences=issuer["Audiences"], claims=claims, base_url=local.get(url, ""))


def _origins(method: Mapping[str, Any]) -> list[str]:
    """Of a preflight: the first is in its headers, others in its template."""
    if method.get("HttpMethod") != "OPTIONS":
        return []
    (answer,) = method["Integration"]["IntegrationResponses"]
    allowed = answer["ResponseParameters"]["method.response.header.Access-Control-Allow-Origin"].strip("'")
    template = json.dumps(answer.get("ResponseTemplates", {}))
    others = [part for part in template.replace("\\", "").split('"') if part.startswith("http")]
    return [allowed, *others]


def _refusal(response: Mapping[str, Any]) -> Refusal:
    kind = response["ResponseType"]
    headers = {
        name.removeprefix("gatewayresponse.header."): value.strip("'")
        for name, value in response.get("ResponseParameters", {}).items()
    }
    status = int(response.get("StatusCode", 400 if kind == "DEFAULT_4XX" else 500))
    return Refusal(status=status, headers=headers, body=response["ResponseTemplates"]["application/json"])
