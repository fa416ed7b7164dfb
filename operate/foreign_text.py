"""Text that others wrote, made safe to show: models, names, reasons, file names, error messages.

Such text is data. What could steer a terminal, hide, reorder or imitate is written as an escape (`\\x1b`, `\\u202e`), and
what is long is shortened in the middle. Pure.
"""

from __future__ import annotations

import unicodedata

MOST_CHARACTERS = 200
"""A line or two of a terminal; an IAM role's name has at most 64 characters, a model's rarely more than 60."""

_NOTE = 40
"""What the note of an omission takes, whatever its number."""

MOST_MARKS = 2
"""Combining marks on one letter. Living scripts use no more; beyond, they cover the lines around them."""

# Letters, marks and symbols by their category that are nevertheless invisible (DerivedCoreProperties.txt,
# Default_Ignorable_Code_Point, and the empty Braille pattern).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def name(text: object) -> str:
    """Return a name (of a model, caller, endpoint, request) in printable ASCII on one line.

    The names that AWS and OpenAI give consist of it, so that a letter of another script cannot imitate one.
    """
    return _shortened("".join(char if " " <= char <= "~" and char != "\\" else _escape(char) for char in str(text)))


def prose(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return a sentence in any language on one line, at most `most` characters long."""
    shown, marks = [], 0
    for char in str(text):
        marks = marks + 1 if unicodedata.category(char).startswith("M") else 0
        shown.append(char if _is_visible(char) and marks <= MOST_MARKS else _escape(char))
    return _shortened("".join(shown), most)


def cell(text: object) -> str:
    """Return a name for a cell of CSV. Spreadsheets run what begins with =, +, - or @; an apostrophe makes it text."""
    shown = name(text)
    return shown if not shown or (shown[0].isascii() and shown[0].isalnum()) else f"'{shown}"


def _is_visible(char: str) -> bool:
    return char.isprintable() and char not in _INVISIBLE and not any(ord(char) in part for part in _SELECTORS)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    if len(text) <= most:
        return text
    kept = most - _NOTE
    return f"{text[: kept - kept // 4]} ...[{len(text) - kept} characters]... {text[-(kept // 4) :]}"
