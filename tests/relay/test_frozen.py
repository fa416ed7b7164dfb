"""Values: named fields, given by keyword, that never change. The ignored complaints show that mypy sees the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from relay.frozen import EMPTY, Frozen


def _double(number: int) -> int:
    return 2 * number


class Point(Frozen):
    """With something given, something in between, and defaults of all kinds."""

    x: int
    y: int = 0
    label: str
    marks: Mapping[str, int] = EMPTY
    scale: Callable[[int], int] = _double

    @property
    def distance(self) -> int:
        return abs(self.x) + abs(self.y)


class Place(Frozen):
    """The same fields as a point, and another thing."""

    x: int
    y: int = 0
    label: str
    marks: Mapping[str, int] = EMPTY
    scale: Callable[[int], int] = _double


def test_fields_are_what_was_given_or_their_defaults() -> None:
    point = Point(x=-1, label="a", y=2)
    assert (point.x, point.y, point.label, point.marks) == (-1, 2, "a", {})
    assert point.distance == 3


def test_a_function_as_a_default_is_a_function_and_no_method() -> None:
    assert Point(x=1, label="a").scale(4) == 8


def test_what_is_missing_is_named() -> None:
    with pytest.raises(TypeError, match="Point: missing or unknown: label, x"):
        Point(y=1)  # type: ignore[call-arg]


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(TypeError, match="Point: missing or unknown: z"):
        Point(x=1, label="a", z=1)  # type: ignore[call-arg]


def test_an_unknown_field_does_not_stand_for_a_missing_one() -> None:
    with pytest.raises(TypeError, match="Point: missing or unknown: label, lable"):
        Point(x=1, lable="a")  # type: ignore[call-arg]


def test_fields_are_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        Point(1, label="a")  # type: ignore[call-arg]


def test_nothing_can_be_set_added_or_taken_away() -> None:
    point = Point(x=1, label="a")
    with pytest.raises(AttributeError, match=r"Point\.x never changes"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"Point\.z never changes"):
        point.z = 2
    with pytest.raises(AttributeError, match=r"Point\.y never changes"):
        del point.y
    assert point == Point(x=1, label="a")


def test_the_empty_default_cannot_be_filled() -> None:
    with pytest.raises(TypeError):
        Point(x=1, label="a").marks["b"] = 1  # type: ignore[index]


def test_equal_are_values_of_one_class_with_equal_fields() -> None:
    point = Point(x=1, label="a", y=0)
    assert point == Point(label="a", x=1)
    assert point != Point(x=1, label="b")
    assert point != Place(x=1, label="a")
    assert point != (1, 0, "a", {}, _double)


def test_equal_values_are_one_key() -> None:
    first, second = Point(x=1, label="a", marks=frozenset()), Point(label="a", x=1, marks=frozenset())  # type: ignore[arg-type]
    assert len({first, second}) == 1


def test_a_changed_value_is_another_one() -> None:
    point = Point(x=1, label="a")
    assert point.changed(x=2) == Point(x=2, label="a")
    assert point.x == 1
    with pytest.raises(TypeError, match="unknown: z"):
        point.changed(z=1)


def test_it_is_shown_as_it_is_written() -> None:
    class Named(Frozen):
        name: str
        size: int = 1

    assert repr(Named(name="a")) == "Named(name='a', size=1)"


def test_fields_are_inherited() -> None:
    class Marked(Point):
        colour: str
        y: int = 7

    marked = Marked(x=1, label="a", colour="red")
    assert (marked.y, marked.distance, marked.marks, marked.colour) == (7, 8, {}, "red")
    assert Point(x=1, label="a").y == 0
    with pytest.raises(TypeError, match="colour"):
        Marked(x=1, label="a")  # type: ignore[call-arg]


def test_a_default_belongs_to_one_class() -> None:
    class Other(Frozen):
        y: int = 9

    assert (Other().y, Point(x=1, label="a").y) == (9, 0)
