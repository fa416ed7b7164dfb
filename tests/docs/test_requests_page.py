"""docs/requests.md says what the relay does with each value that openai-python's types know."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version

import pytest
from relay.request import endpoints

from tests.relay.request.test_sdk_values import NEVER
from tests.support.sdk_outcomes import outcomes
from tests.support.synthesis import ROOT

PAGE = ROOT / "docs" / "requests.md"


def _tables() -> str:
    lines = [
        "",
        f"With openai-python {version('openai')}:",
        "",
        "| endpoint | values tried | need a setting | of the others, refused under a budget |",
        "|---|---:|---:|---:|",
        *_counts(),
        "",
        "## Refused unless a setting of `RequestPolicy` allows it",
        "",
        "| setting | what it would allow |",
        "|---|---|",
        *_by_setting(),
        "",
        "## Refused in every environment",
        "",
        "| endpoint | what | why |",
        "|---|---|---|",
        *(f"| `{path}` | `{what}` | {why} |" for (path, what), why in sorted(NEVER.items())),
        "",
        "## Refused under a budget in dollars or a limit on tokens",
        "",
        "Whatever is not known to be bounded, and of what is known:",
        "",
        "| endpoints | what |",
        "|---|---|",
        *_unbounded(),
    ]
    return "\n".join(lines) + "\n"


def _counts() -> Iterator[str]:
    tried = Counter(each.endpoint.path for each in outcomes())
    needing = Counter(each.endpoint.path for each in outcomes() if each.settings or each.refused)
    unbounded = Counter(each.endpoint.path for each in outcomes() if each.unbounded and not each.settings)
    for path, count in tried.items():
        yield f"| `{path}` | {count:,} | {needing[path]:,} | {unbounded[path]:,} |"


def _by_setting() -> Iterator[str]:
    """Each setting with the tools and the places that it is the first to open."""
    places: dict[str, set[str]] = defaultdict(set)
    for each in outcomes():
        for setting in each.settings[:1]:
            places[setting].add(each.tool or each.what)
    for setting, names in sorted(places.items()):
        yield f"| `{setting}` | {_listed(names)} |"


def _unbounded() -> Iterator[str]:
    paths: dict[str, set[str]] = defaultdict(set)
    for each in outcomes():
        if each.unbounded and not each.settings:
            text = each.unbounded.removeprefix("nothing bounds what ").removesuffix(" costs").rstrip(",")
            text = re.sub(r"\[\d+\]", "[]", text)
            paths[re.sub(r"'([^']*)'", r"`\1`", text)].add(each.endpoint.path)
    grouped: dict[str, set[str]] = defaultdict(set)
    for text, those in paths.items():
        grouped[_listed(those)].add(text)
    for endpoints_of, texts in sorted(grouped.items()):
        yield f"| {endpoints_of} | {'; '.join(sorted(texts))} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def test_the_tables_are_those_of_the_tests(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text()
    begin, end = re.search(r"<!-- requests: .*-->\n", text), text.index("<!-- end of requests -->")
    assert begin
    filled = text[: begin.end()] + _tables() + text[end:]
    if pytestconfig.getoption("--accept-snapshots"):
        PAGE.write_text(filled)
    else:
        assert text == filled, "pytest tests/docs/test_requests_page.py --accept-snapshots writes it anew"


def test_every_endpoint_with_a_body_is_tried() -> None:
    bodies = {endpoint.path for endpoint in endpoints.TABLE if endpoint.body != "none"}
    assert {each.endpoint.path for each in outcomes()} == bodies
