"""The rules between the modules, read from their import statements. A module that does not exist yet breaks none."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.synthesis import ROOT

Imports = dict[str, set[str]]

# Modules of the relay that parse, decide or describe. Others join them by saying "Pure" in their docstring.
ALWAYS_PURE = {
    "relay.models",
    "relay.errors",
    "relay.settings",
    "relay.net.sse",
    "relay.doors.function_url",
    "relay.openai.transforms",
}
# What would make them impure: everything that waits, looks at a clock or at the machine, and all that is not Python's.
IMPURE = {
    "asyncio",
    "http",
    "os",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
}
# Libraries that may be met in one module only, so that each can be replaced by editing one file.
BEHIND_ONE_MODULE = ("httpx", "boto3", "botocore", "h11")
# Packages and what they must never import: the relay runs alone, and the local Lambda is a second reading of the wire.
NEVER = {
    "cdk_app": {"lambda_src", "relay", "emulator", "clients", "bench", "tests"},
    "emulator": {"lambda_src", "relay", "tests"},
    "clients": {"lambda_src", "relay", "tests"},
    "relay": {"cdk_app", "emulator", "clients", "bench", "tests", "lambda_src", "aws_cdk"},
}


def imports_of(root: Path) -> Imports:
    """Every module below the root (`lambda_src` itself being a path, not a package) and what it imports, in full."""
    files = _files(root)
    return {name: set(_imported(path, name, files)) for name, path in files.items()}


def pure_modules(root: Path) -> set[str]:
    docstrings = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in _files(root).items()}
    said = {name for name, text in docstrings.items() if _within(name, "relay") and re.search(r"\bPure\b", text)}
    return said | (ALWAYS_PURE & docstrings.keys())


def _files(root: Path) -> dict[str, Path]:
    return {_name(path, root): path for folder in _folders(root) for path in folder.rglob("*.py")}


def _folders(root: Path) -> list[Path]:
    return [root / "cdk_app", root / "lambda_src", root / "emulator", root / "clients"]


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("lambda_src", "__init__"))


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


def cycles(imports: Imports) -> list[list[str]]:
    """Each cycle once, as the modules on it in order of discovery."""
    found: list[list[str]] = []
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in finished:
            for imported in sorted(imports.get(module, set()) & imports.keys()):
                visit(imported, [*path, module])
            finished.add(module)

    for module in sorted(imports):
        visit(module, [])
    return found


def broken_rules(imports: Imports, pure: set[str]) -> list[str]:
    relay = {module: names for module, names in imports.items() if _within(module, "relay")}
    broken = [f"cycle: {' -> '.join(cycle)}" for cycle in cycles(imports)]
    for module in sorted(pure):
        broken += [f"{module} is pure and imports {name}" for name in sorted(imports[module]) if _impure(name, pure)]
    for library in BEHIND_ONE_MODULE:
        users = sorted(m for m, names in relay.items() if any(_within(name, library) for name in names))
        if len(users) > 1:
            broken.append(f"{library} is imported by {' and '.join(users)}; allowed: one module")
    for module, names in imports.items():
        for name in sorted(names):
            if any(_within(name, never) for never in NEVER.get(module.split(".")[0], ())):
                broken.append(f"{module} imports {name}")
    for module, names in imports.items():
        if "relay.app" in names and module != "relay.__main__":
            broken.append(f"{module} imports relay.app, which wires everything and is wired by nothing")
        if "relay.__main__" in names:
            broken.append(f"{module} imports relay.__main__, which is for the interpreter alone")
    return broken


def _impure(name: str, pure: set[str]) -> bool:
    if _within(name, "relay"):
        return name not in pure
    return name.split(".")[0] not in sys.stdlib_module_names or any(_within(name, impure) for impure in IMPURE)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_modules_keep_the_rules() -> None:
    imports = imports_of(ROOT)
    assert "relay.models" in imports
    assert "cdk_app.relay.stack" in imports["cdk_app.stage"]
    assert broken_rules(imports, pure_modules(ROOT)) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"relay/a.py": "import relay.b", "relay/b.py": "from relay import a"}, "cycle: relay.a -> relay.b -> relay.a"),
        ({"relay/a.py": "from .b import x", "relay/b.py": "from . import a"}, "cycle: relay.a -> relay.b -> relay.a"),
        (
            {"relay/net/sse.py": "def f():\n    from relay import aws", "relay/aws/__init__.py": ""},
            "relay.net.sse is pure and imports relay.aws",
        ),
        ({"relay/net/sse.py": "import httpx"}, "relay.net.sse is pure and imports httpx"),
        ({"relay/net/sse.py": "import time"}, "relay.net.sse is pure and imports time"),
        (
            {"relay/a.py": '"""Parses. Pure."""\nimport relay.b', "relay/b.py": ""},
            "relay.a is pure and imports relay.b",
        ),
        (
            {"relay/a.py": "import httpx", "relay/b.py": "from httpx import Client"},
            "httpx is imported by relay.a and relay.b",
        ),
        (
            {"relay/a.py": "import boto3", "relay/b.py": "import boto3.session"},
            "boto3 is imported by relay.a and relay.b",
        ),
        ({"relay/a.py": "import relay.__main__", "relay/__main__.py": ""}, "relay.a imports relay.__main__"),
        ({"relay/a.py": "import relay.app", "relay/app.py": ""}, "relay.a imports relay.app"),
        ({"relay/a.py": "import aws_cdk"}, "relay.a imports aws_cdk"),
        ({"../cdk_app/a.py": "from lambda_src.relay import models"}, "cdk_app.a imports lambda_src.relay"),
        (
            {"../cdk_app/a.py": "from relay.models import Caller", "relay/models.py": ""},
            "cdk_app.a imports relay.models",
        ),
        ({"../emulator/door/a.py": "import relay.events"}, "emulator.door.a imports relay.events"),
    ],
)
def test_a_broken_rule_is_named(files: dict[str, str], complaint: str, tmp_path: Path) -> None:
    for name, text in files.items():
        path = (tmp_path / "lambda_src" / name).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert any(line.startswith(complaint) for line in broken_rules(imports_of(tmp_path), pure_modules(tmp_path)))


def test_a_name_that_only_begins_alike_is_another_module(tmp_path: Path) -> None:
    folder = tmp_path / "lambda_src" / "relay"
    folder.mkdir(parents=True)
    folder.joinpath("a.py").write_text("import httpx_sse, relay_tools")
    folder.joinpath("b.py").write_text("import httpx")
    assert broken_rules(imports_of(tmp_path), pure_modules(tmp_path)) == []
