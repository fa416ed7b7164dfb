"""What a check found, as lines for a person and as JSON for an issue. Knows no endpoint and no AWS."""

from __future__ import annotations

import enum
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class Result(enum.Enum):
    """What became of a promise. What was only observed has no right answer: it is what AWS does."""

    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"
    OBSERVED = "observed"


MARKS = {Result.KEPT: "ok  ", Result.BROKEN: "FAIL", Result.SKIPPED: "skip", Result.OBSERVED: "see "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise, what became of it, and what was seen. `cure`: what to do; `final`: nothing more can be checked."""

    promise: str
    result: Result
    seen: str
    cure: str = ""
    final: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    check: str = ""

    @property
    def kept(self) -> bool:
        return self.result is Result.KEPT


def judged(promise: str, kept: bool, seen: str, cure: str = "", **figures: float) -> Finding:
    """Return a promise that was kept or broken; `figures` are in the units that end their names."""
    result = Result.KEPT if kept else Result.BROKEN
    return Finding(promise=promise, result=result, seen=seen, cure="" if kept else cure, figures=figures)


def skipped(promise: str, why: str, cure: str = "") -> Finding:
    """Return a promise that was not put to the test, and why."""
    return Finding(promise=promise, result=Result.SKIPPED, seen=why, cure=cure)


def observed(what: str, seen: str, **figures: float) -> Finding:
    """Return what AWS does where nothing is promised."""
    return Finding(promise=what, result=Result.OBSERVED, seen=seen, figures=figures)


# What names a key, an account, or an endpoint: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html.
_NAMES = (
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA|ANPA|AGPA|ABIA|ACCA)[A-Z0-9]{12,}\b"), "<key-id>"),
    (re.compile(r"(?<![\w.-])\d{12}(?![\w-])"), "<account>"),
    (re.compile(r"\b[a-z0-9]{10,}(?=\.lambda-url\.)"), "<url-id>"),
    (re.compile(r"\b[a-z0-9]{6,}(?=\.cloudfront\.net)"), "<distribution>"),
    (re.compile(r"\b(?:org|proj)[-_][A-Za-z0-9]{8,}\b"), "<organization>"),
)
_SECRETS = (
    (re.compile(r"\bsk-[A-Za-z0-9_*-]{6,}"), "<api-key>"),
    (re.compile(r"(?i)\bsignature=[0-9a-f]{16,}"), "Signature=<signature>"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is taken out of every text: secrets always; names of keys, accounts and hosts unless `identify`."""

    secrets: Sequence[str] = ()
    hosts: Sequence[str] = ()
    identify: bool = False

    def text(self, text: str) -> str:
        for secret in self.secrets:
            if len(secret) > 3:
                text = text.replace(secret, "<secret>")
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        if self.identify:
            return text
        for host in self.hosts:
            text = text.replace(host, "<host>") if host else text
        for pattern, instead in _NAMES:
            text = pattern.sub(instead, text)
        return text

    def finding(self, finding: Finding) -> dict[str, object]:
        """The finding as JSON's values; what is empty is left out."""
        fields = {
            "check": finding.check,
            "promise": self.text(finding.promise),
            "result": finding.result.value,
            "seen": self.text(finding.seen),
            "cure": self.text(finding.cure),
            "figures": {name: round(value, 4) for name, value in finding.figures.items()},
        }
        return {name: value for name, value in fields.items() if value}


def lines(finding: Finding, redaction: Redaction) -> str:
    """The finding for a terminal."""
    told = [f"{MARKS[finding.result]}  {finding.promise}", f"      {finding.seen}"]
    told += [f"      {finding.cure}"] if finding.cure else []
    return redaction.text("\n".join(told))


def summary(findings: Sequence[Finding], url: str) -> str:
    """The last line."""
    counts = Counter(finding.result for finding in findings)
    judged = counts[Result.KEPT] + counts[Result.BROKEN]
    left = f"; {counts[Result.SKIPPED]} could not be checked" if counts[Result.SKIPPED] else ""
    if counts[Result.BROKEN]:
        return f"{counts[Result.BROKEN]} of {judged} promises are broken{left}"
    return f"all {judged} promises are kept by {url}{left}" if judged else f"nothing could be checked at {url}"


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when every promise that was checked is kept, 1 when one is broken, 2 when none could be checked."""
    results = {finding.result for finding in findings}
    if Result.BROKEN in results:
        return 1
    return 0 if Result.KEPT in results else 2


def write(path: Path, findings: Sequence[Finding], about: Mapping[str, object], redaction: Redaction) -> None:
    """Write the report as JSON. Raises OSError."""
    counts = Counter(finding.result for finding in findings)
    document = {
        "format": 1,
        **{name: redaction.text(value) if isinstance(value, str) else value for name, value in about.items()},
        "exit_code": exit_code(findings),
        "counts": {result.value: counts[result] for result in Result},
        "findings": [redaction.finding(finding) for finding in findings],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
