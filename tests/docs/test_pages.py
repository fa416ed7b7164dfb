"""The pages under docs/ point to what exists, and the lists that can be derived are derived."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.import_graph import files
from tests.support.synthesis import ROOT
from tests.test_architecture import RELAY

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "clients" / "README.md",
    *sorted(ROOT.joinpath("docs").rglob("*.md")),
]
INDEX = ROOT / "docs" / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# A path may be written from the root, from lambda_src (relay/...), or, in a record, from where the reader is.
BASES = (ROOT, ROOT / "lambda_src", ROOT / "docs")
TOP_FOLDERS = {"app", "relay", "cdk_app", "emulator", "operate", "clients", "price_lists", "bench", "tests"}
# Written by commands, so not in a checkout.
MADE = ("build/", "cdk.out", "node_modules/", ".venv/")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def _code(page: Path) -> Iterator[str]:
    """What stands between single backticks, outside fenced blocks."""
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    yield from re.findall(r"`([^`\n]+)`", prose)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            assert anchor[1:] in {_slug(line) for line in re.findall(r"(?m)^#+ (.*)$", path.read_text())}, anchor


def _slug(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_paths_exist(page: Path) -> None:
    missing = []
    for word in _code(page):
        path = word.split(":")[0].rstrip("/")
        first = path.split("/")[0]
        is_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)+", path) and (
            first in TOP_FOLDERS | {"docs", "lambda_src", ".github"}
        )
        if (is_path or re.fullmatch(r"\w+\.(py|mjs)", path)) and not path.startswith(MADE):
            near = (page.parent, *BASES)
            known = any((base / path).exists() for base in near) or ("/" not in path and any(ROOT.rglob(path)))
            if not known:
                missing.append(path)
    assert missing == []


@each_page
def test_dotted_names_exist(page: Path) -> None:
    modules = files(ROOT) | {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ("bench", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    missing = []
    for word in _code(page):
        name = re.sub(r"\(.*\)$|^python -m | .*$", "", word)
        if not re.fullmatch(rf"({'|'.join(sorted(TOP_FOLDERS))})(\.\w+)+", name) or name.endswith(
            (".py", ".mjs", ".md")
        ):
            continue
        parts = name.split(".")
        module = next((m for n in range(len(parts), 0, -1) if (m := ".".join(parts[:n])) in modules), None)
        rest = parts[len(module.split(".")) :] if module else [name]
        text = modules[module].read_text() if module else ""
        missing += [
            part for part in rest if not re.search(rf"(class|def) {part}\b|^\s*{part}\b.*=", text, re.MULTILINE)
        ]
    assert missing == []


@each_page
def test_diagrams_are_well_formed(page: Path) -> None:
    for diagram in re.findall(r"(?ms)^```mermaid\n(.*?)^```", page.read_text()):
        kind, *lines = diagram.splitlines()
        assert re.fullmatch(r"(flowchart|graph) (LR|TD|TB)|sequenceDiagram|stateDiagram-v2", kind)
        assert diagram.count("[") == diagram.count("]")
        assert diagram.count("(") == diagram.count(")")
        assert diagram.count('"') % 2 == 0
        blocks = r"\s*(loop|alt|opt|par|rect|critical)\b" if kind == "sequenceDiagram" else r"\s*subgraph\b"
        opened = sum(bool(re.match(blocks, line)) for line in lines)
        assert opened == sum(line.strip() == "end" for line in lines)
        if kind == "sequenceDiagram":
            _check_sequence(lines)


def _check_sequence(lines: list[str]) -> None:
    """Every line is of a known kind and names participants that are declared; ";" would end a statement."""
    declared = {found[1] for line in lines if (found := re.match(r"\s*(?:participant|actor) (\w+)", line))}
    for line in lines:
        assert ";" not in line, line
        if arrow := re.match(r"\s*(\w+)\s*-?->>?[+-]?\s*(\w+)\s*:", line) or re.match(
            r"\s*(\w+)-[-)x>]+(\w+)\s*:", line
        ):
            assert {arrow[1], arrow[2]} <= declared, line
        else:
            known = (
                r"\s*(participant|actor|Note|loop|alt|else|opt|par|and|rect|critical|break|end|autonumber|%%)\b|\s*$"
            )
            assert re.match(known, line), line


def test_the_index_names_every_page() -> None:
    text = INDEX.read_text()
    for page in ROOT.joinpath("docs").glob("*.md"):
        assert page == INDEX or f"]({page.name})" in text


def _between(page: Path, name: str, content: str, pytestconfig: pytest.Config) -> None:
    """The lines between two markers are `content`; with --accept-snapshots they become it."""
    text = page.read_text()
    begin, end = re.search(rf"<!-- {name}: .*-->\n", text), re.search(rf"<!-- end of {name} -->", text)
    assert begin
    assert end
    filled = text[: begin.end()] + content + text[end.start() :]
    if pytestconfig.getoption("--accept-snapshots"):
        page.write_text(filled)
    else:
        assert text == filled, "pytest tests/docs/test_pages.py --accept-snapshots writes it anew"


def test_the_index_lists_every_record(pytestconfig: pytest.Config) -> None:
    lines = []
    for path in sorted(ROOT.joinpath("docs", "decisions").glob("*.md")):
        number, title = path.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
        assert path.name.startswith(f"{number}-")
        lines.append(f"- [{number}](decisions/{path.name}) {title}\n")
    _between(INDEX, "records", "\n" + "".join(lines), pytestconfig)


def test_the_rooms_are_described_by_their_docstrings(pytestconfig: pytest.Config) -> None:
    rows = ["| room | what it is | may import |\n", "|---|---|---|\n"]
    for room, allowed in RELAY.items():
        package = ROOT / "lambda_src" / "relay" / room
        path = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        # Of a folder all that it says, of a single module its first sentence.
        text = " ".join(docstring.split()) if package.is_dir() else re.split(r"(?<=\.)\s", docstring)[0]
        rows.append(f"| `{room}` | {text} | {', '.join(f'`{name}`' for name in allowed.split()) or 'nothing'} |\n")
    _between(ARCHITECTURE, "rooms", "\n" + "".join(rows), pytestconfig)


@pytest.mark.parametrize("path", sorted(ROOT.joinpath("docs", "decisions").glob("*.md")), ids=lambda path: path.name)
def test_a_record_has_its_parts(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"(?m)^Status: (accepted|superseded by)", text)
    assert re.findall(r"(?m)^## (.*)$", text)[:3] == ["Context", "Decision", "Consequences"]


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"(?m)^\| ([^|]+) \|", ROOT.joinpath("docs", "glossary.md").read_text())[1:]
    assert terms == sorted(terms, key=str.lower)
    assert len(set(terms)) == len(terms)
