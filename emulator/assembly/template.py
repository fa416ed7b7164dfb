"""Reads from a cloud assembly what would be deployed: the function behind the streaming URL, its code and settings.

Knows CloudFormation's JSON and the CDK's asset manifests. Does not know what the settings mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.errors import EmulatorError
from emulator.signing.identities import ACCOUNT

Attributes = Mapping[str, str]  # "Ref", "Arn", ... of one resource


class TemplateError(EmulatorError):
    """The assembly does not describe something that can be run here. The text is one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One function as the template has it; `environment` is unresolved, `code` the directory of its zip."""

    name: str
    properties: Mapping[str, Any]
    environment: Mapping[str, Any]
    code: Path
    secrets: Mapping[str, Mapping[str, Any]]  # logical id -> properties
    tables: Mapping[str, Mapping[str, Any]]


def read(assembly: Path) -> Deployed:
    """The one function of `assembly` that has a streaming Function URL. Raises TemplateError."""
    found = [one for path in sorted(assembly.rglob("*.template.json")) for one in _functions(path)]
    if len(found) != 1:
        raise TemplateError(f"{assembly}: {len(found)} functions with a streaming Function URL; there has to be one")
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What a distribution adds to a request, and how long it waits for the origin's next byte, in seconds.

    `refuses_websockets`: a function is asked before the origin, and the relay's templates have but the one.
    """

    header: str
    read_timeout: float
    refuses_websockets: bool


def distribution(assembly: Path) -> Distribution | None:
    """The one in front of the function, if the assembly has one. Raises TemplateError when it adds no header."""
    for path in sorted(assembly.rglob("*.template.json")):
        for one in _of_type(
            json.loads(path.read_text()).get("Resources", {}), "AWS::CloudFront::Distribution"
        ).values():
            (origin,) = one["DistributionConfig"]["Origins"]
            if not origin.get("OriginCustomHeaders"):
                raise TemplateError(f"{path.name}: the distribution adds no header by which the relay could know it")
            return Distribution(
                header=origin["OriginCustomHeaders"][0]["HeaderName"],
                read_timeout=float(origin["CustomOriginConfig"].get("OriginReadTimeout", 30)),
                refuses_websockets=bool(one["DistributionConfig"]["DefaultCacheBehavior"].get("FunctionAssociations")),
            )
    return None


def resolve(value: Any, attributes: Mapping[str, Attributes], *, region: str) -> str:
    """The text that CloudFormation would put there. Raises TemplateError for what is not known here."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case {"Ref": str(name)}:
            return _reference(name, "Ref", attributes, region)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return _reference(name, attribute, attributes, region)
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(resolve(part, attributes, region=region) for part in parts)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", lambda found: _sub(found[1], attributes, region), text)
    raise TemplateError(f"cannot be resolved here: {json.dumps(value)}")


def _sub(name: str, attributes: Mapping[str, Attributes], region: str) -> str:
    resource, _, attribute = name.partition(".")
    return _reference(resource, attribute or "Ref", attributes, region)


def _reference(name: str, attribute: str, attributes: Mapping[str, Attributes], region: str) -> str:
    pseudo = {
        "AWS::Region": region,
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
    }
    if name in pseudo:
        return pseudo[name]
    if attribute not in attributes.get(name, {}):
        raise TemplateError(f"{name}.{attribute} is not one of the resources that exist locally")
    return attributes[name][attribute]


def resources_of(assembly: Path) -> Iterator[tuple[Path, Mapping[str, Mapping[str, Any]]]]:
    """Each template of an assembly with its resources."""
    for path in sorted(assembly.rglob("*.template.json")):
        yield path, json.loads(path.read_text()).get("Resources", {})


def _functions(path: Path) -> Iterator[Deployed]:
    resources: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text()).get("Resources", {})
    for url in _of_type(resources, "AWS::Lambda::Url").values():
        if url.get("InvokeMode") != "RESPONSE_STREAM":
            continue
        if url.get("AuthType") != "AWS_IAM":
            raise TemplateError(f"{path.name}: the Function URL's AuthType is {url.get('AuthType')}, not AWS_IAM")
        target = url["TargetFunctionArn"]
        name = target["Ref"] if "Ref" in target else target["Fn::GetAtt"][0]
        properties = resources[name]["Properties"]
        yield Deployed(
            name=path.name.split(".")[0],
            properties=properties,
            environment=properties.get("Environment", {}).get("Variables", {}),
            code=code_of(path, properties),
            secrets=_of_type(resources, "AWS::SecretsManager::Secret"),
            tables=_of_type(resources, "AWS::DynamoDB::Table") | _of_type(resources, "AWS::DynamoDB::GlobalTable"),
        )


def _of_type(resources: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}


def code_of(template: Path, properties: Mapping[str, Any]) -> Path:
    """The asset's directory, which the CDK CLI would zip and upload."""
    key = str(properties["Code"]["S3Key"]).removesuffix(".zip")
    manifest = template.with_name(template.name.replace(".template.json", ".assets.json"))
    assets = json.loads(manifest.read_text())["files"]
    if key not in assets:
        raise TemplateError(f"{template.name}: the function's code {key} is not an asset of this assembly")
    return Path(template.parent, assets[key]["source"]["path"]).resolve()
