"""Rules that every template of this project has to meet, whichever construct wrote it. Reads finished templates only.

The CDK's own validation and cfn-lint ask whether a template is well-formed; cdk-nag asks AWS's general questions. These
are the questions of this product: who can reach the relay, past whom, and what it costs when something goes wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cdk_app.bundle.build import EXEC_WRAPPER
from cdk_app.checks import api_guards, edge_guards, grant_size
from cdk_app.config import principals
from cdk_app.config.environment import WAIVABLE_IN_TEMPLATES, Environment
from cdk_app.config.principals import Kind

Template = Mapping[str, Any]
Found = Iterator[str]


def problems(template: Template, environment: Environment) -> list[str]:
    """One readable line for each thing in the template that must not be there or is missing, and is not waived.

    A line that a waiver can silence ends in the waiver's name: "... [unsigned-calls]".
    """
    waived = {waiver.rule for waiver in environment.waivers}
    return [line for line in _found(template, environment) if _rule_of(line) not in waived]


def unused_waivers(templates: Iterable[Template], environment: Environment) -> list[str]:
    """One line for each waiver that no template needs. Those that the configuration itself needs are `config`'s."""
    needed = {_rule_of(line) for template in templates for line in _found(template, environment)}
    rules = [waiver.rule for waiver in environment.waivers if waiver.rule in WAIVABLE_IN_TEMPLATES]
    return [
        f"waivers has {rule!r}, which nothing needs; allowed: only waivers in use"
        for rule in rules
        if rule not in needed
    ]


_OF_PARTS = (grant_size.lines, edge_guards.lines, api_guards.lines)


def _found(template: Template, environment: Environment) -> Found:
    own = (_urls, _permissions, _policies, _secrets, _logs, _functions, _environments, _tables)
    return (line for rule in (*own, *_OF_PARTS) for line in rule(template, environment))


def _rule_of(line: str) -> str:
    marked = re.search(r" \[([a-z-]+)\]$", line)
    return marked[1] if marked else ""


def _of(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def _urls(template: Template, environment: Environment) -> Found:
    for name, url in _of(template, "AWS::Lambda::Url"):
        if url.get("AuthType") != "AWS_IAM":
            yield f"{name}: AuthType is {url.get('AuthType')}; anybody could spend; allowed: AWS_IAM [unsigned-calls]"
        if url.get("InvokeMode") != "RESPONSE_STREAM":
            yield f"{name}: InvokeMode is {url.get('InvokeMode')}; responses would be buffered; allowed: RESPONSE_STREAM"
        if "*" in url.get("Cors", {}).get("AllowOrigins", []):
            yield f"{name}: Cors allows every origin; name the origins [wildcard-cors]"
        yield from _missing_permissions(name, template, environment)


def _missing_permissions(url: str, template: Template, environment: Environment) -> Found:
    """A Function URL asks for both: docs.aws.amazon.com/lambda/latest/dg/urls-auth.html."""
    given = {(_principal(p), p.get("Action"), _url_only(p)) for _, p in _of(template, "AWS::Lambda::Permission")}
    attached = _attached(template)
    for invoker in environment.invokers:
        if principals.kind(invoker) is Kind.REFERENCE:
            continue  # in the template it is a reference; whose, only the deployment knows
        who = _principal(
            {"Principal": "*", "PrincipalOrgID": invoker} if invoker[:2] == "o-" else {"Principal": invoker}
        )
        own = environment.account is not None and f"::{environment.account}:" in invoker
        if (own and invoker.rpartition("/")[2] in attached) or principals.is_account(invoker, environment.account):
            continue
        if (who, "lambda:InvokeFunctionUrl", True) not in given:
            yield f"{url}: {invoker} lacks lambda:InvokeFunctionUrl with FunctionUrlAuthType AWS_IAM [missing-permission]"
        if (who, "lambda:InvokeFunction", True) not in given:
            yield f"{url}: {invoker} lacks lambda:InvokeFunction with InvokedViaFunctionUrl [missing-permission]"


def _attached(template: Template) -> set[str]:
    """Names of those that have a managed policy with both permissions."""
    names: set[str] = set()
    for _, policy in _of(template, "AWS::IAM::ManagedPolicy"):
        allowed = [s["Action"] for s in _statements(policy) if s["Effect"] == "Allow" and _through_the_url(s)]
        if {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"} <= set(allowed):
            names |= {*policy.get("Roles", []), *policy.get("Users", [])}
    return names


def _through_the_url(statement: Mapping[str, Any]) -> bool:
    """Whether it allows signed calls through the URL, and nothing else."""
    conditions = statement.get("Condition", {})
    return conditions in (
        {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    )


def _permissions(template: Template, environment: Environment) -> Found:
    direct = {_principal({"Principal": principal}) for principal in environment.direct_invokers}
    for name, permission in _of(template, "AWS::Lambda::Permission"):
        action = permission.get("Action", "")
        if "*" in action:
            yield f"{name}: the action {action} has a wildcard"
        if "*" in _principal(permission):
            yield f"{name}: everybody may call; name the principals [wildcard-principal]"
        elif api_guards.of_this_api(template, permission):
            continue
        elif not _url_only(permission) and _principal(permission) not in direct:
            yield f"{name}: {_principal(permission)} may call past the URL and claim to be anybody; see direct_invokers"
    for name, policy in _of(template, "AWS::IAM::ManagedPolicy"):
        for statement in _statements(policy):
            invokes = [action for action in _listed(statement.get("Action", [])) if action.startswith("lambda:Invoke")]
            if invokes and not _through_the_url(statement):
                yield f"{name}: whoever has it may call past the URL and claim to be anybody"


def _principal(permission: Mapping[str, Any]) -> str:
    """As text, a whole account always as its id, however it was written; an organisation as its id."""
    if permission.get("Principal") == "*" and permission.get("PrincipalOrgID"):
        return str(permission["PrincipalOrgID"])
    text = json.dumps(permission.get("Principal", "*")).strip('"')
    account = re.search(r"iam::(\d{12}):root", text)
    return account[1] if account else text


def _url_only(permission: Mapping[str, Any]) -> bool:
    return permission.get("FunctionUrlAuthType") == "AWS_IAM" or permission.get("InvokedViaFunctionUrl") is True


def _policies(template: Template, _: Environment) -> Found:
    for name, resource in template.get("Resources", {}).items():
        for statement in _statements(resource):
            for action in _listed(statement.get("Action", [])):
                if "*" in action:
                    yield f"{name}: the action {action} has a wildcard; list the actions"
            if "NotAction" in statement:
                yield f"{name}: NotAction allows every action that is not named; list the actions"
            if "ForAllValues:" in json.dumps(conditions := statement.get("Condition", {})) and "Null" not in conditions:
                yield f"{name}: ForAllValues alone also holds for requests without the value; add Null with false"
            # With a principal it is the policy of one resource, and "*" means that resource.
            if _gives_all(statement) and "Principal" not in statement:
                yield f"{name}: {statement.get('Action')} is allowed on every resource; name the resource"
            if statement["Effect"] == "Allow" and '"*"' in json.dumps(statement.get("Principal", "")):
                yield f"{name}: {statement.get('Action')} is allowed to everybody; name the principals [wildcard-principal]"


def _gives_all(statement: Mapping[str, Any]) -> bool:
    # PutMetricData takes no resource; its namespace is what there is to limit it by.
    if statement.get("Action") == "cloudwatch:PutMetricData" and _NAMESPACED in statement.get("Condition", {}).values():
        return False
    return statement["Effect"] == "Allow" and "*" in _listed(statement.get("Resource", []))


def _statements(value: object) -> Iterator[dict[str, Any]]:
    """Every policy statement anywhere below: inline, attached, trust and resource policies look the same."""
    if isinstance(value, dict):
        if value.get("Effect") in ("Allow", "Deny"):
            yield value
        for inner in value.values():
            yield from _statements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _statements(inner)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _secrets(template: Template, _: Environment) -> Found:
    for name, secret in _of(template, "AWS::SecretsManager::Secret"):
        if "SecretString" in secret:
            yield f"{name}: SecretString puts the value into the template, for all who may read the stack"
    if re.search(r"\bsk-[A-Za-z0-9_-]{16,}", json.dumps(template)):
        yield "something that looks like an OpenAI key is in the template; keep keys in Secrets Manager only"


def _logs(template: Template, _: Environment) -> Found:
    for name, group in _of(template, "AWS::Logs::LogGroup"):
        if "RetentionInDays" not in group:
            yield f"{name}: RetentionInDays is missing; logs would be kept, and paid for, for ever"
    for name, function in _of(template, "AWS::Lambda::Function"):
        if "LogGroup" not in function.get("LoggingConfig", {}):
            yield f"{name}: without a LogGroup, Lambda makes one that keeps its logs for ever"


_NAMESPACED = {"cloudwatch:namespace": "OpenAILambdaRelay"}
# Of all variables together: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
_ENVIRONMENT_BYTES = 4096
# What a reference may become when it is deployed: the ARN of a secret or the name of a table.
_REFERENCE_BYTES = 160


def _environments(template: Template, _: Environment) -> Found:
    for name, function in _of(template, "AWS::Lambda::Function"):
        variables = function.get("Environment", {}).get("Variables", {})
        sizes = {
            k: len(k) + (len(v.encode()) if isinstance(v, str) else _REFERENCE_BYTES) for k, v in variables.items()
        }
        if sum(sizes.values()) > _ENVIRONMENT_BYTES:
            largest = max(sizes, key=lambda variable: sizes[variable])
            yield (
                f"{name}: its variables take {sum(sizes.values())} bytes, {sizes[largest]} of them {largest}; "
                f"Lambda allows {_ENVIRONMENT_BYTES} together"
            )


def _tables(template: Template, environment: Environment) -> Found:
    for name, table in _of(template, "AWS::DynamoDB::Table"):
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{name}: BillingMode is {table.get('BillingMode')}; it would cost while idle; allowed: PAY_PER_REQUEST"
        if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield f"{name}: without point-in-time recovery what callers have spent can be lost"
        if not table.get("SSESpecification", {}).get("SSEEnabled"):
            yield f"{name}: SSEEnabled is missing; use AWS's managed key"
        if not table.get("TimeToLiveSpecification", {}).get("Enabled"):
            yield f"{name}: without a time to live records are kept, and paid for, for ever"
        if environment.on_destroy == "keep" and not table.get("DeletionProtectionEnabled"):
            yield f"{name}: DeletionProtectionEnabled is missing, but on_destroy is 'keep'"


def _functions(template: Template, environment: Environment) -> Found:
    for name, function in _of(template, "AWS::Lambda::Function"):
        if "ReservedConcurrentExecutions" not in function:
            yield (
                f"{name}: ReservedConcurrentExecutions is missing; nothing caps what all callers together can cost "
                "[no-concurrency-cap]"
            )
        if function.get("Handler") == api_guards.AUTHORIZER_HANDLER:
            continue
        wrapper = function.get("Environment", {}).get("Variables", {}).get("AWS_LAMBDA_EXEC_WRAPPER")
        if wrapper != EXEC_WRAPPER:
            yield f"{name}: AWS_LAMBDA_EXEC_WRAPPER is {wrapper}; only one wrapper runs, and it must be {EXEC_WRAPPER}"
