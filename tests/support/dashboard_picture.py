"""The dashboard as text for docs/monitoring.md: where each widget is, and what it shows. Read from the template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DOCUMENT = "docs/monitoring.md"
BEGIN, END = "<!-- dashboard -->", "<!-- /dashboard -->"
COLUMNS = 96  # characters for CloudWatch's 24 columns
PER_COLUMN = COLUMNS // 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """`lines` are horizontal annotations; x, y, width and height are CloudWatch's."""

    title: str
    kind: str
    shows: list[str]
    lines: list[str]
    x: int
    y: int
    width: int
    height: int


def widgets_of(template: dict[str, Any]) -> list[Widget]:
    """In the order of the dashboard."""
    (board,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Dashboard")
    body = board["Properties"]["DashboardBody"]
    # References to other resources stand between the parts; what they are does not matter here.
    text = "X".join(part for part in body["Fn::Join"][1] if isinstance(part, str))
    return [_widget(one) for one in json.loads(text)["widgets"]]


def _widget(one: dict[str, Any]) -> Widget:
    properties = one["properties"]
    annotations = properties.get("annotations", {}).get("horizontal", [])
    return Widget(
        title=properties["title"],
        kind=one["type"],
        shows=list(_shown(properties)),
        lines=[f"{line['label']} {line['value']}" for line in annotations],
        **{name: one[name] for name in ("x", "y", "width", "height")},
    )


def _shown(properties: dict[str, Any]) -> Iterator[str]:
    if "query" in properties:
        found = re.search(r"stats ([^|\n]*)", properties["query"])
        yield found[1].strip() if found else ""
    yield from properties.get("alarms", [])
    for metric in properties.get("metrics", []):
        *names, options = metric
        # WAF has one metric of this name for each rule.
        name = options["label"] if names[1] == "BlockedRequests" else names[1]
        yield f"{name} {options.get('stat', 'Average')}"


def markdown(widgets: list[Widget], document: str) -> str:
    """The document with the dashboard between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```\n{picture(widgets)}\n```\n\n{table(widgets)}\n{END}{after}"


def picture(widgets: list[Widget]) -> str:
    """Boxes where CloudWatch draws graphs, a row of text for each two of its rows."""
    rows = [[" "] * (COLUMNS + 1) for _ in range(max(w.y + w.height for w in widgets) // 2 + 1)]
    for widget in widgets:
        left, right = widget.x * PER_COLUMN, (widget.x + widget.width) * PER_COLUMN
        top, bottom = widget.y // 2, (widget.y + widget.height) // 2
        for row in range(top, bottom + 1):
            rows[row][left] = rows[row][right] = "|"
        for column in range(left, right + 1):
            for row in (top, bottom):
                rows[row][column] = "+" if rows[row][column] in "|+" else "-"
        title = widget.title[: right - left - 3]
        rows[top + 1][left + 2 : left + 2 + len(title)] = title
    return "\n".join("".join(row).rstrip() for row in rows)


def table(widgets: list[Widget]) -> str:
    lines = ["| widget | shows |", "|---|---|"]
    for widget in widgets:
        shows = [f"`{one}`" for one in widget.shows] if widget.kind != "alarm" else ["the state of every alarm"]
        lines.append(f"| {widget.title} | {', '.join([*shows, *widget.lines])} |")
    return "\n".join(lines)
