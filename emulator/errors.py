"""The one base of the errors that people cause and can mend; their text is one line that says how."""

from __future__ import annotations


class EmulatorError(Exception):
    """Something that the emulator needs is missing or wrong. The text is for a person."""
