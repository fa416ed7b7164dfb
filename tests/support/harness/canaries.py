"""Secrets that tests plant, and the search for them. What is found anywhere but in the stream itself is a leak."""

from __future__ import annotations

from pathlib import Path

KEY = "sk-PlantedKey0123456789abcdefPlantedKey"
OLD_KEY = "sk-PlantedOldKey0123456789PlantedOldKey"
PROMPT = "PlantedPrompt"
COMPLETION = "PlantedCompletion"
TOKEN = "PlantedSessionToken"
COOKIE = "PlantedCookie"

ALL = (KEY, OLD_KEY, PROMPT, COMPLETION, TOKEN, COOKIE)


def leaks(text: bytes, *, allowed: tuple[str, ...] = ()) -> list[str]:
    """The planted secrets in `text`, but for the allowed ones."""
    return [secret for secret in ALL if secret not in allowed and secret.encode() in text]


def leaks_below(directory: Path) -> list[str]:
    """The planted secrets in the files below `directory`, each with its place."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [f"{secret} in {path.name}" for path in files for secret in leaks(path.read_bytes())]
