"""Texts that a caller may choose for a model, and what would go wrong where one were taken for more than text."""

from __future__ import annotations

import re

# ruff: noqa: E501
ESC = "\x1b"

MARKUP = (
    "[/items]", "[/nope]", "[/]", "[bold red]all callers stopped[/]", "[link=http://x.example]gpt-5[/link]",
    "[@click=app.quit]x[/]", "[blink]", "\\[bold]", "[[", "]]", "[red", "[on call] looking", "see [/runbook]",
    "[#ff0000]x[/#ff0000]", ":smile:", ":warning: stopped", "123.45 http://x.example 10.0.0.1 None True",
)  # fmt: skip
TERMINAL = (
    f"{ESC}]0;owned\x07{ESC}[2J{ESC}[31mHALTED", f"{ESC}[2K\rgpt-5", f"{ESC}]8;;http://x.example{ESC}\\gpt-5{ESC}]8;;{ESC}\\",
    f"{ESC}P+q544e{ESC}\\", f"{ESC}]52;c;cm0gLXJmIH4={ESC}\\", f"{ESC}[6n", f"{ESC}c", "\x9b31mred", "\x9d0;title\x9c", "\x07\x07",
    "gpt-5\r\rgpt-4", "ab\x08\x08cd", "a\x7fb", "a\x00b", "a\tb", "a\nb", "a\vb\fc", "a\r\nb,c,d", "\x0eshift\x0f", "a\x85b",
    "\ue000private", "\ud800alone",
)  # fmt: skip
INVISIBLE = (
    "\u202egpt-5\u202c", "\u2066a\u2069", "gpt\u200b-5", "gpt\u200d-5", "\ufeffgpt-5", "gpt\u00ad-5", "a\u2028b\u2029c", "\u3164", "a\u00a0b",
    "a\u034fb", "x\ufe0f", "x\U000e0067\U000e007f", "\u2800\u2800", "gpt-5" + "\u0301\u0302\u0303\u0304\u0305" * 8,
    "g\u0440t-5", "\uff1d1+1", "\u05d0\u05d1gpt", "ﷺ", "🏳️‍🌈",
)  # fmt: skip
FORMULAS = (
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x.example","gpt-5")', "=cmd|' /C calc'!A0", '"=1', "'=1", " =1",
    ',=1,"', "%0A=1", "|calc",
)  # fmt: skip
ODD = (
    "x" * 5_000,
    "gpt-5 " * 400,
    "'; DROP TABLE callers; --",
    "../../etc/passwd",
    "{0} %s ${HOME}",
    "-",
    "--help",
    "null",
    "a,b;c",
    '"',
)

ALL = (*MARKUP, *TERMINAL, *INVISIBLE, *FORMULAS, *ODD)
# What DynamoDB can hold: a lone surrogate has no UTF-8.
STORABLE = tuple(text for text in ALL if not re.search("[\ud800-\udfff]", text))

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def commands_in(output: str) -> list[str]:
    """Return what in `output` would do anything but stand on a terminal; styles such as bold are the tool's own."""
    return [
        f"{char!r} in {line[:80]!r}"
        for line in _STYLE.sub("", output).split("\n")
        for char in line
        if not _stands(char)
    ]


def _stands(char: str) -> bool:
    return char.isprintable()
