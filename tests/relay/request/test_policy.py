"""The rules of one environment, as the setting states them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from relay.errors import ErrorKind
from relay.request import policy
from relay.request.policy import RequestPolicy


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_an_empty_setting_is_the_careful_default(text: str) -> None:
    policy = RequestPolicy.from_json(text)
    assert policy == RequestPolicy()
    assert not policy.stateful
    assert policy.tools == ("function", "custom")


def test_every_field_can_be_set() -> None:
    fields = {
        "models": ["gpt-5"],
        "max_output_tokens": 16,
        "max_choices": 1,
        "stateful": True,
        "tools": [],
        "service_tiers": ["flex"],
    }
    assert RequestPolicy.from_json(json.dumps(fields)) == RequestPolicy(
        models=("gpt-5",), max_output_tokens=16, max_choices=1, stateful=True, tools=(), service_tiers=("flex",)
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "object"),
        ("null", "object"),
        ('"x"', "object"),
        ('{"model": ["gpt-5"]}', "model"),
        ('{"models": "gpt-5"}', "models"),
        ('{"models": [""]}', "models"),
        ('{"models": [5]}', "models"),
        ('{"models": null}', "models"),
        ('{"max_output_tokens": 15}', "max_output_tokens"),
        ('{"max_output_tokens": 0}', "max_output_tokens"),
        ('{"max_output_tokens": -1}', "max_output_tokens"),
        ('{"max_output_tokens": 1.5}', "max_output_tokens"),
        ('{"max_output_tokens": true}', "max_output_tokens"),
        ('{"max_output_tokens": "5"}', "max_output_tokens"),
        ('{"max_choices": 0}', "max_choices"),
        ('{"stateful": 1}', "stateful"),
        ('{"stateful": "false"}', "stateful"),
        ('{"tools": {"function": true}}', "tools"),
        ('{"service_tiers": "default"}', "service_tiers"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        RequestPolicy.from_json(text)


def test_an_empty_list_of_models_allows_all() -> None:
    assert RequestPolicy().allows_model("anything")
    assert RequestPolicy(models=("a",)).allows_model("a")
    assert not RequestPolicy(models=("a",)).allows_model("A")


def test_refusals_name_the_field() -> None:
    for error in (policy.invalid("n", "no"), policy.not_allowed("n", "no")):
        assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "n")
        assert "'n'" in error.text
    assert policy.invalid("n", "no").code != policy.not_allowed("n", "no").code


@pytest.mark.parametrize("name", ["x" * 10_000, "\ud800", "a\nb", '"'])
def test_an_unknown_model_is_quoted_briefly_and_on_one_line(name: Any) -> None:
    error = policy.no_such_model(name, "model")
    assert error.kind is ErrorKind.MODEL_NOT_ALLOWED
    assert len(error.text) < 1000
    assert "\n" not in error.text
