"""The nouns: what they are counted under, and that nobody changes them on the way."""

from __future__ import annotations

import pytest
from relay.models import Caller, Request, Response, Usage

CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn")


def test_a_caller_is_counted_under_account_and_principal() -> None:
    assert CALLER.key == "123456789012/AROAEXAMPLE"
    assert CALLER.changed(arn="other").key == CALLER.key


@pytest.mark.parametrize(
    "noun",
    [
        CALLER,
        Request(id="i", method="GET", path="/", caller=CALLER),
        Response(status=200, headers={}, body=iter(())),
        Usage(),
    ],
)
def test_nothing_changes_on_the_way(noun: Caller | Request | Response | Usage) -> None:
    name = next(iter(vars(noun)))
    with pytest.raises(AttributeError):
        setattr(noun, name, "x")


def test_details_of_usage_are_parts_and_never_added() -> None:
    assert Usage(input=5, cached_input=3, output=7, reasoning=6).total == 12
    assert Usage().total == 0


def test_the_usage_of_several_answers_adds_up() -> None:
    first = Usage(input=1, cached_input=1, output=2, image_output=2, model="a", service_tier="flex")
    assert first.plus(Usage(input=3, output=4, reasoning=1, model="b")) == Usage(
        input=4, cached_input=1, output=6, image_output=2, reasoning=1, model="b"
    )
