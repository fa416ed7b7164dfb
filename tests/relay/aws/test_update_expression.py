"""Expressions hold placeholders only, whatever the names and values are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.aws.update_expression import Update, decode, encode

values = st.recursive(
    st.text() | st.integers(-(10**37), 10**37) | st.booleans(),
    lambda inner: st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_values_survive_the_wire(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("value", [1.5, None, [1], b"x"])
def test_what_is_never_stored_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_what_was_never_stored_is_refused() -> None:
    with pytest.raises(TypeError):
        decode({"NULL": True})


def test_an_update_names_nothing_in_its_text() -> None:
    update = Update("table", {"pk": "a", "sk": "b"})
    hostile = "x = :y, REMOVE open.id"
    update.set(("open", hostile), {"name": hostile})
    update.add({"other": -5}, {"other": 7})
    update.ensure("done", {})
    update.remove(hostile)
    update.require_at_most({hostile: 3})
    update.require_present("open")
    body = update.request()
    assert body["UpdateExpression"] == (
        "SET #0.#1 = :0, #2 = if_not_exists(#2, :1) + :2, #3 = if_not_exists(#3, :3) REMOVE #1"
    )
    assert body["ConditionExpression"] == "(attribute_not_exists(#1) OR #1 <= :4) AND attribute_exists(#0)"
    assert body["ExpressionAttributeNames"] == {"#0": "open", "#1": hostile, "#2": "other", "#3": "done"}
    assert body["ExpressionAttributeValues"][":2"] == {"N": "-5"}


def test_parts_that_are_not_needed_are_left_out() -> None:
    update = Update("table", {"pk": "a", "sk": "b"})
    update.remove("x")
    body = update.request()
    assert body["UpdateExpression"] == "REMOVE #0"
    assert "ConditionExpression" not in body
    assert "ExpressionAttributeValues" not in body


def test_each_condition_is_one_of_dynamodbs() -> None:
    update = Update("table", {"pk": "a"})
    update.require_absent("a", ("b", "c"))
    update.require_equal("a", 5)
    update.require_before("d", "2026")
    update.require_fewer("b", 5)
    body = update.request()
    assert body["ConditionExpression"] == (
        "attribute_not_exists(#0) AND attribute_not_exists(#1.#2) AND #0 = :0 "
        "AND (attribute_not_exists(#3) OR #3 < :1) AND size(#1) < :0"
    )
    assert body["ExpressionAttributeNames"] == {"#0": "a", "#1": "b", "#2": "c", "#3": "d"}
