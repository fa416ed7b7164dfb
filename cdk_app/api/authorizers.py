"""The two judges of bearers: our function for keys, API Gateway itself for tokens. Knows no method and no relay.

docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html and .../rest-api-jwt-authorizer.html
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_app.options.api_options import ApiOptions, TokenIssuer

BEARER_KEY = r"^[Bb]earer sk-relay-[0-9A-Za-z]{49}$"
"""What a key's header looks like; everything else is refused by API Gateway without asking the authorizer."""
_AUTHORIZATION = "method.request.header.Authorization"


def keys(scope: Construct, api_id: str, function: lambda_.Function, cache_seconds: int) -> cdk.CfnResource:
    """The authorizer that asks `function`, which this API's authorizer may invoke, and remembers what it said."""
    stack = cdk.Stack.of(scope)
    authorizer = cdk.CfnResource(
        scope,
        "Keys",
        type="AWS::ApiGateway::Authorizer",
        properties={
            "Name": "keys",
            "RestApiId": api_id,
            "Type": "TOKEN",
            "AuthorizerUri": f"arn:{stack.partition}:apigateway:{stack.region}:lambda:path/2015-03-31/functions/"
            f"{function.function_arn}/invocations",
            "IdentitySource": _AUTHORIZATION,
            "IdentityValidationExpression": BEARER_KEY,
            "AuthorizerResultTtlInSeconds": cache_seconds,
        },
    )
    function.add_permission(
        "Authorizer",
        principal=iam.ServicePrincipal("apigateway.amazonaws.com"),
        source_arn=stack.format_arn(
            service="execute-api", resource=api_id, resource_name=f"authorizers/{authorizer.ref}"
        ),
    )
    return authorizer


def tokens(scope: Construct, api_id: str, options: ApiOptions) -> cdk.CfnResource:
    """The authorizer that API Gateway is itself. The CDK's class of the resource does not know its type yet."""
    authorizer = cdk.CfnResource(
        scope,
        "Tokens",
        type="AWS::ApiGateway::Authorizer",
        properties={
            "Name": "tokens",
            "RestApiId": api_id,
            "Type": "JWT",
            "IdentitySource": _AUTHORIZATION,
            "JwtConfiguration": token_configuration(options),
        },
    )
    cdk.Validations.of(authorizer).acknowledge(
        cdk.Acknowledgment(
            id="CloudFormation-Validate::F3002",
            reason="JwtConfiguration is newer than the schema that comes with the CDK",
        )
    )
    return authorizer


def token_configuration(options: ApiOptions) -> dict[str, Any]:
    """Whose tokens are taken, and what they have to say."""
    return {
        "DefaultAlgorithms": list(options.algorithms),
        "Issuers": [_issuer(each) for each in options.tokens],
    }


def _issuer(issuer: TokenIssuer) -> dict[str, Any]:
    # Without the claim that names the caller nobody could be named: such a token is refused before it costs anything.
    required = {issuer.claim: "", **issuer.required_claims}
    claims = [
        {
            "ClaimName": name,
            "Format": "SINGLE_STRING",
            "Required": True,
            **({"ExpectedValues": [value]} if value else {}),
        }
        for name, value in sorted(required.items())
    ]
    return {"Issuer": issuer.issuer, "Audiences": list(issuer.audiences), "AdditionalClaims": claims}
