"""Reads the repository's Python files as a graph: which module imports which, and which room each belongs to.

A room is a folder of modules directly below `relay`, `cdk_app` or `emulator`; the single modules beside the rooms are rooms of
their own; `price_lists` and `authorizer` are one room each, and so are `clients` and `operate` but for the folders in them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

Imports = dict[str, set[str]]

FOLDERS = ("cdk_app", "lambda_src", "authorizer_src", "emulator", "clients", "operate", "price_lists")
_WITH_ROOMS = ("relay", "cdk_app", "emulator")
_FOLDERS_BELOW = (
    *(
        ["clients", "deployed"],
        ["clients", "smoke"],
        ["operate", "usage"],
    ),
    *(["operate", "prices"], ["operate", "preflight"], ["operate", "keys"]),
)


def files(root: Path) -> dict[str, Path]:
    """Every module below the root by its full name (`lambda_src` is a path, not a package: its modules begin with `relay`)."""
    return {_name(path, root): path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))}


def imports(root: Path) -> Imports:
    """Every module and the full names of what it imports, at its top and inside its functions."""
    known = files(root)
    return {name: set(_imported(path, name, known)) for name, path in known.items()}


def room(module: str) -> str:
    """`relay.net` of `relay.net.sse`; `relay.models` of itself; `clients` of `clients.signing`."""
    parts = module.split(".")
    is_below = parts[0] in _WITH_ROOMS or parts[:2] in _FOLDERS_BELOW
    return ".".join(parts[:2]) if is_below else parts[0]


def within(name: str, package: str) -> bool:
    """Whether a module is a package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def cycles(graph: Imports) -> list[list[str]]:
    """Each cycle once, as the nodes on it in order of discovery."""
    discovered: list[list[str]] = []
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> None:
        if node in path:
            discovered.append([*path[path.index(node) :], node])
        elif node not in finished:
            for imported in sorted(graph.get(node, set()) & graph.keys()):
                visit(imported, [*path, node])
            finished.add(node)

    for node in sorted(graph):
        visit(node, [])
    return discovered


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("lambda_src", "authorizer_src", "__init__"))


def _imported(path: Path, module: str, known: dict[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            # "from relay import sse" imports the module relay.sse; "from relay.sse import parse" the module relay.sse.
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full in known else source
