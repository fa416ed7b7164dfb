"""The rules between the rooms, read from the import statements, and how large a room may be."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from bench.structure import any_names, lines_of, unexplained_excepts
from tests.support.import_graph import Imports, cycles, files, imports, room, within
from tests.support.synthesis import ROOT

# Each room of the relay and the rooms or single modules that it may import. `app` wires everything and is not listed.
RELAY = {
    "frozen": "",
    "log": "",
    "errors": "frozen",
    "models": "frozen errors",
    "request_log": "frozen errors models log",
    "net": "frozen errors models",
    "lambda_runtime": "frozen errors models log net",
    "doors": "frozen errors models aws.errors",
    "formats": "frozen errors models",
    "request": "frozen errors models formats response.stream_formats limits.cost_bound limits.sent_body policies.policy "
    "pricing",
    "openai": "frozen errors models net aws.errors",
    "response": "frozen errors models net formats openai.client",
    "aws": "frozen errors models net",
    "pricing": "frozen models",
    "accounts": "frozen aws.update_expression",
    "policies": "frozen models pricing.money accounts",
    "limits": "frozen errors models log pricing accounts policies.policy ledger.ledger",
    "ledger": "frozen errors models accounts aws.dynamodb aws.errors aws.update_expression",
    "settings": "frozen errors models doors policies pricing request.policy",
    "handler": "frozen errors models log request_log settings net lambda_runtime doors request openai response limits "
    "pricing.money policies.policy",
}
CDK_APP = {
    "mistakes": "",
    "options": "mistakes",
    "config": "mistakes options",
    "bundle": "",
    "environments": "config options",
    "removal": "config",
    "edge": "config removal",
    "api": "config options edge.web_acl",
    "monitoring": "config options",
    "pipelines": "config",
    "relay": "config bundle removal api.door",
    "checks": "config bundle edge.waf_lists",
    "stage": "config relay edge monitoring",
}
CLIENTS = {
    "deployed": "report signing",
    "smoke": "deployed report signing",
}
EMULATOR = {
    "errors": "",
    "processes": "",
    "net": "",
    "signing": "",
    "runtime": "processes net signing",
    "front": "processes net signing runtime",
    "fakes": "errors processes net signing",
    "openai": "errors processes net fakes",
    "assembly": "errors processes signing runtime front fakes",
    "local_lambda": "processes signing runtime front",
    "local_api": "processes runtime front fakes assembly",
    "local_stack": "processes signing runtime front fakes openai assembly local_lambda local_api",
    "local_deploy": "errors processes signing runtime front fakes assembly local_lambda",
    "demo": "local_lambda",
    "local_env": "",
    "command_line": "errors processes signing front assembly local_stack local_deploy local_env demo",
}
OPERATE = {
    "prices": "aws foreign_text limits_table sheet tables usage",
    "usage": "aws foreign_text limits_table sheet tables",
    "preflight": "aws",
    "keys": "aws foreign_text limits_table sheet",
}
# Rules between the packages: the relay runs alone, and the local Lambda is a second, independent reading of the wire.
NEVER = {
    "cdk_app": {"lambda_src", "relay", "emulator", "clients", "operate", "price_lists", "bench", "tests"},
    "emulator": {"lambda_src", "relay", "operate", "price_lists", "bench", "tests"},
    "clients": {"lambda_src", "relay", "emulator", "operate", "price_lists", "bench", "tests"},
    "operate": {"lambda_src", "emulator", "price_lists", "bench", "tests"},
    # It judges the relay's list, so it reads the file and nothing of the relay.
    "price_lists": {"lambda_src", "relay", "cdk_app", "emulator", "clients", "operate", "bench", "tests"},
    # It is a zip of its own, on a runtime that has nothing but boto3.
    "authorizer": {"relay", "cdk_app", "emulator", "clients", "operate", "price_lists", "bench", "tests", "aws_cdk"},
    "relay": {
        "authorizer",
        "cdk_app",
        "emulator",
        "clients",
        "operate",
        "price_lists",
        "bench",
        "tests",
        "lambda_src",
        "aws_cdk",
    },
}
# Libraries that one module of the relay may import, so that each can be replaced by editing one file.
BEHIND_ONE_MODULE = ("httpx", "boto3", "botocore", "h11")
# Modules of the relay that parse, decide or describe. Others join them by saying "Pure" in their docstring.
ALWAYS_PURE = {
    "relay.models",
    "relay.errors",
    "relay.settings",
    "relay.net.sse",
    "relay.doors.function_url",
    "relay.doors.rest_api",
    "relay.response.transforms",
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

MOST_FILES, MOST_LINES, LONGEST_FILE, MOST_ANY = 12, 1200, 250, 29


def allowed_rooms() -> dict[str, set[str]]:
    """The tables as one, with full names."""
    tables = {"relay": RELAY, "cdk_app": CDK_APP, "clients": CLIENTS, "emulator": EMULATOR, "operate": OPERATE}
    return {
        f"{package}.{name}": {f"{package}.{other}" for other in others.split()}
        for package, table in tables.items()
        for name, others in table.items()
    }


def pure_modules(root: Path) -> set[str]:
    docstrings = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in files(root).items()}
    declared = {name for name, text in docstrings.items() if within(name, "relay") and re.search(r"\bPure\b", text)}
    return declared | (ALWAYS_PURE & docstrings.keys())


def broken_rules(graph: Imports, pure: set[str]) -> list[str]:
    """A sentence for each import that a rule forbids."""
    broken = [f"cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]
    for module in sorted(pure):
        broken += [f"{module} is pure and imports {name}" for name in sorted(graph[module]) if _impure(name, pure)]
    for library in BEHIND_ONE_MODULE:
        users = sorted(m for m, names in graph.items() if within(m, "relay") and any(within(n, library) for n in names))
        if len(users) > 1:
            broken.append(f"{library} is imported by {' and '.join(users)}; allowed: one module")
    for module, names in graph.items():
        for name in sorted(names):
            if any(within(name, never) for never in NEVER.get(module.split(".")[0], ())):
                broken.append(f"{module} imports {name}")
        if "relay.app" in names and module != "relay.__main__":
            broken.append(f"{module} imports relay.app, which wires everything and is wired by nothing")
        if "relay.__main__" in names:
            broken.append(f"{module} imports relay.__main__, which is for the interpreter alone")
    return broken


def sideways(graph: Imports) -> set[str]:
    """The arrows between rooms that no table allows, as `module -> module`."""
    allowed = allowed_rooms()
    arrows = set()
    for module, names in graph.items():
        own = room(module)
        for name in names & graph.keys():
            package = own.split(".")[0]
            beside = own in allowed and room(name) != own and name != package and name.split(".")[0] == package
            if beside and not any(within(name, other) for other in allowed[own]):
                arrows.add(f"{module} -> {name}")
    return arrows


def _impure(name: str, pure: set[str]) -> bool:
    if within(name, "relay"):
        return name not in pure
    return name.split(".")[0] not in sys.stdlib_module_names or any(within(name, impure) for impure in IMPURE)


def test_the_modules_keep_the_rules() -> None:
    graph = imports(ROOT)
    assert "relay.models" in graph
    assert "cdk_app.relay.stack" in graph["cdk_app.stage"]
    assert broken_rules(graph, pure_modules(ROOT)) == []


def test_a_room_imports_only_what_its_line_allows() -> None:
    assert sorted(sideways(imports(ROOT))) == []


def test_the_tables_allow_no_cycle() -> None:
    rooms = {name: {room(other) for other in others} for name, others in allowed_rooms().items()}
    assert cycles(rooms) == []


def test_every_room_has_a_line() -> None:
    known = allowed_rooms().keys() | {"relay.app", "relay.__main__", "emulator.__main__"}
    rooms = {room(module) for module in files(ROOT)} - {
        "relay",
        "cdk_app",
        "emulator",
        "clients",
        "operate",
        "price_lists",
        "authorizer",
    }
    assert rooms == known


@pytest.mark.parametrize(
    "package",
    sorted({path.parent for path in files(ROOT).values()}),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_room_says_what_it_knows_and_what_it_must_not(package: Path) -> None:
    text = ast.get_docstring(ast.parse(package.joinpath("__init__.py").read_text())) or ""
    assert re.match(r"[A-Z]", text), "a docstring that says what lives here"
    assert re.search(r"\b(no|not|never|nothing|none|neither|only)\b", text, re.IGNORECASE), "and what it must not know"


@pytest.mark.parametrize("package", sorted({room(m) for m in files(ROOT)}))
def test_a_room_stays_small(package: str) -> None:
    paths = [path for module, path in files(ROOT).items() if room(module) == package and path.name != "__init__.py"]
    assert len(paths) <= MOST_FILES
    assert sum(lines_of(path) for path in paths) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(files(ROOT).values()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_stays_short(path: Path) -> None:
    assert lines_of(path) <= LONGEST_FILE


def test_few_values_of_the_relay_are_of_any_type() -> None:
    counts = {module: any_names(path) for module, path in files(ROOT).items() if within(module, "relay")}
    assert sum(counts.values()) <= MOST_ANY, {module: count for module, count in counts.items() if count}


def test_a_broad_except_has_its_reason_beside_it() -> None:
    without = {path.relative_to(ROOT).as_posix(): unexplained_excepts(path) for path in files(ROOT).values()}
    assert {name: lines for name, lines in without.items() if lines} == {}


def _write(root: Path, modules: dict[str, str]) -> Path:
    for name, text in modules.items():
        path = (root / "lambda_src" / name).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("modules", "complaint"),
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
        ({"../emulator/front/a.py": "import relay.events"}, "emulator.front.a imports relay.events"),
        ({"../operate/a.py": "import emulator.demo"}, "operate.a imports emulator.demo"),
    ],
)
def test_a_broken_rule_is_named(modules: dict[str, str], complaint: str, tmp_path: Path) -> None:
    root = _write(tmp_path, modules)
    assert any(line.startswith(complaint) for line in broken_rules(imports(root), pure_modules(root)))


@pytest.mark.parametrize(
    ("modules", "arrow"),
    [
        ({"relay/openai/a.py": "import relay.limits.b"}, "relay.openai.a -> relay.limits.b"),
        ({"relay/ledger/a.py": "def f():\n    from relay.limits import b"}, "relay.ledger.a -> relay.limits.b"),
        ({"relay/models.py": "import relay.limits.b"}, "relay.models -> relay.limits.b"),
    ],
)
def test_an_arrow_that_no_line_allows_is_named(modules: dict[str, str], arrow: str, tmp_path: Path) -> None:
    root = _write(tmp_path, {**modules, "relay/limits/b.py": "", "relay/limits/c.py": "import relay.limits.b"})
    assert sideways(imports(root)) == {arrow}


def test_a_name_that_only_begins_alike_is_another_module(tmp_path: Path) -> None:
    root = _write(tmp_path, {"relay/a.py": "import httpx_sse, relay_tools", "relay/b.py": "import httpx"})
    assert broken_rules(imports(root), pure_modules(root)) == []
