"""What docs/cost.md says is what the prices and the templates come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from relay import request_log

from bench import cost
from bench.scale import Site
from cdk_app.environments import ENVIRONMENTS

TEXT = cost.PAGE.read_text()


def test_the_pages_figures_are_those_of_prices_and_templates() -> None:
    tables = cost.figures([environment.name for environment in ENVIRONMENTS], Site())
    assert cost.page(TEXT, tables) == TEXT, "prices or templates have changed: make cost"
    assert cost.page(cost.page(TEXT, "x\n"), tables) == TEXT


def test_what_is_billed_by_the_month_is_counted_in_every_template(tmp_path: Path) -> None:
    alarm = {"Metrics": [{"Expression": "a/b"}, {"MetricStat": {}}, {"MetricStat": {}}]}
    _write(
        tmp_path,
        {"Type": "AWS::SecretsManager::Secret", "Properties": {"ReplicaRegions": [{"Region": "us-east-1"}]}},
        {"Type": "AWS::SecretsManager::Secret"},
        {"Type": "AWS::WAFv2::WebACL", "Properties": {"Rules": [{}, {}, {}]}},
        {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm},
        {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}},
        {"Type": "AWS::CloudWatch::Dashboard"},
        {"Type": "AWS::Lambda::Function"},
    )
    assert cost.idle("some", tmp_path) == {
        "secret": 3,
        "web_acl": 1,
        "web_acl_rule": 3,
        "alarm_metric": 3,
        "dashboard": 1,
    }


def test_a_kind_of_resource_that_nobody_has_priced_stops_the_page(tmp_path: Path) -> None:
    _write(tmp_path, {"Type": "AWS::EC2::NatGateway"})
    with pytest.raises(ValueError, match="AWS::EC2::NatGateway: what does it cost"):
        cost.idle("some", tmp_path)


def _write(templates: Path, *resources: dict[str, object]) -> None:
    templates.joinpath("some").mkdir()
    template = {"Resources": {str(number): resource for number, resource in enumerate(resources)}}
    templates.joinpath("some", "stack.json").write_text(json.dumps(template))


def test_a_thousand_answers_are_paid_by_the_second_and_by_the_byte() -> None:
    spent = cost.thousand(512, Site(gb_second=0.00001, request=0, internet_gb=1))
    assert spent["Lambda"] == pytest.approx(1000 * 30 * 0.5 * 0.00001)
    assert spent["to the internet"] == pytest.approx(1000 * 2352 * 250 / 1e9)
    assert cost.thousand(1024, Site(request=0))["Lambda"] == pytest.approx(
        2 * cost.thousand(512, Site(request=0))["Lambda"]
    )


def test_the_metrics_in_use_are_as_many_as_the_page_says() -> None:
    count, price = len(request_log._UNITS), Site().custom_metric
    assert (
        f"at most {count * price:.2f} a month, by the hour in which requests are served: {count} x {price:.2f}" in TEXT
    )


def test_the_free_tiers_answers_are_counted_right() -> None:
    assert f"{400_000 / (30 * 0.25):,.0f} answers of 30 s at 256 MB" in TEXT
