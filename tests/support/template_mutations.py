"""Changes to one property of a finished template, by type of resource and path: what a guard has to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Template = dict[str, Any]
Mutation = Callable[[Template], object]


def of(template: Template, kind: str) -> Iterator[dict[str, Any]]:
    return (r["Properties"] for r in template["Resources"].values() if r["Type"] == kind)


def at(kind: str, path: str) -> Callable[[Template], tuple[Any, Any]]:
    """Where the last step of the path is: (parent, key). Steps that are numbers are indices."""

    def find(template: Template) -> tuple[Any, Any]:
        target: Any = next(of(template, kind))
        steps = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps[:-1]:
            target = target[step]
        return target, steps[-1]

    return find


def put(kind: str, path: str, value: object) -> Mutation:
    def mutate(template: Template) -> None:
        parent, key = at(kind, path)(template)
        parent[key] = value

    return mutate


def drop(kind: str, path: str) -> Mutation:
    def mutate(template: Template) -> None:
        parent, key = at(kind, path)(template)
        del parent[key]

    return mutate


def without(kind: str) -> Mutation:
    def mutate(template: Template) -> None:
        template["Resources"] = {n: r for n, r in template["Resources"].items() if r["Type"] != kind}

    return mutate
