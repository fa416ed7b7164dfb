"""What is read from a cloud assembly, and how its references become local names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.assembly.template import Distribution, TemplateError, distribution, read, resolve

NAMES = {"Key": {"Ref": "arn:key"}, "Table": {"Ref": "table-1", "Arn": "arn:table"}}


def assembly(folder: Path, *, url: dict[str, Any] | None = None, **changes: Any) -> Path:
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Key": "abc.zip"},
            "Environment": {"Variables": {"A": "1", "B": {"Ref": "Key"}}},
            "Timeout": 7,
            **changes,
        },
    }
    door = {"AuthType": "AWS_IAM", "InvokeMode": "RESPONSE_STREAM", "TargetFunctionArn": {"Fn::GetAtt": ["F", "Arn"]}}
    resources = {
        "F": function,
        "Other": {**function, "Properties": {}},
        "Url": {"Type": "AWS::Lambda::Url", "Properties": {**door, **(url or {})}},
        "Key": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Description": "d"}},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"KeySchema": []}},
    }
    stage = folder / "assembly-dev"
    (folder / "asset.abc").mkdir(parents=True)
    stage.mkdir()
    (stage / "Stack.template.json").write_text(json.dumps({"Resources": resources}))
    files = {"files": {"abc": {"source": {"path": "../asset.abc", "packaging": "zip"}}}}
    (stage / "Stack.assets.json").write_text(json.dumps(files))
    return folder


def test_the_function_behind_the_streaming_url_is_found(tmp_path: Path) -> None:
    deployed = read(assembly(tmp_path))
    assert deployed.code == tmp_path / "asset.abc"
    assert deployed.environment == {"A": "1", "B": {"Ref": "Key"}}
    assert deployed.properties["Timeout"] == 7
    assert (list(deployed.secrets), list(deployed.tables)) == (["Key"], ["Table"])


@pytest.mark.parametrize(
    ("url", "words"), [({"InvokeMode": "BUFFERED"}, "0 functions"), ({"AuthType": "NONE"}, "AuthType is NONE")]
)
def test_a_door_that_does_not_stream_or_is_open_is_refused(tmp_path: Path, url: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        read(assembly(tmp_path, url=url))


def test_code_that_is_no_asset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="not an asset"):
        read(assembly(tmp_path, Code={"S3Key": "other.zip"}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (12, "12"),
        (True, "true"),
        ({"Ref": "Key"}, "arn:key"),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Fn::GetAtt": ["Table", "Arn"]}, "arn:table"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Table"}, {"Ref": "AWS::Partition"}]]}, "a-table-1-aws"),
        ({"Fn::Sub": "${AWS::Region}/${Table}/${Table.Arn}"}, "eu-west-1/table-1/arn:table"),
    ],
)
def test_references_become_local_names(value: Any, expected: str) -> None:
    assert resolve(value, NAMES, region="eu-west-1") == expected


@pytest.mark.parametrize(
    "value", [{"Ref": "Elsewhere"}, {"Fn::GetAtt": ["Key", "Url"]}, {"Fn::ImportValue": "x"}, ["a"], None]
)
def test_what_cannot_be_known_here_is_named(value: Any) -> None:
    with pytest.raises(TemplateError):
        resolve(value, NAMES, region="eu-west-1")


def edge(folder: Path, *, origin: dict[str, Any], behaviour: dict[str, Any]) -> Path:
    config = {"Origins": [{"CustomOriginConfig": {}, **origin}], "DefaultCacheBehavior": behaviour}
    resources = {"D": {"Type": "AWS::CloudFront::Distribution", "Properties": {"DistributionConfig": config}}}
    folder.joinpath("Edge.template.json").write_text(json.dumps({"Resources": resources}))
    return folder


@pytest.mark.parametrize("functions", [[], [{"EventType": "viewer-request", "FunctionARN": "arn"}]])
def test_an_edge_refuses_websockets_where_its_template_has_the_function(
    tmp_path: Path, functions: list[dict[str, str]]
) -> None:
    header = {"OriginCustomHeaders": [{"HeaderName": "x-origin", "HeaderValue": "s"}]}
    asked = edge(tmp_path, origin=header, behaviour={"FunctionAssociations": functions})
    assert distribution(asked) == Distribution(header="x-origin", read_timeout=30.0, refuses_websockets=bool(functions))


def test_an_edge_without_a_header_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="adds no header"):
        distribution(edge(tmp_path, origin={}, behaviour={}))
