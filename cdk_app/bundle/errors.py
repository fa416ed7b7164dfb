"""The one error of this room."""

from __future__ import annotations


class BundleError(Exception):
    """The bundle cannot be made. The text is one line for a person: which file or package, and the cure."""
