"""How those who may call are written, and of which kind each is. Knows nothing of the CDK and of what is granted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum


class Kind(Enum):
    """What a principal in the configuration is."""

    IDENTITY = "the IAM ARN of a role or user"
    ACCOUNT = "a 12-digit account id"
    ORGANISATION = "the id of an organisation"
    REFERENCE = "an ARN that the CDK knows only when it deploys"


_EXAMPLE_ROLE = "arn:aws:iam::123456789012:role/my-service"
_PATTERNS = {
    Kind.ACCOUNT: r"\d{12}|arn:aws[a-z-]*:iam::\d{12}:root",
    Kind.IDENTITY: r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
    Kind.ORGANISATION: r"o-[a-z0-9]{10,32}",
    # How the CDK writes a value that is not known yet, such as `role.role_arn`, as text.
    Kind.REFERENCE: r"\$\{Token\[[\w. +=,@/:-]+\]\}",
}


def kind(text: object) -> Kind | None:
    """The kind of a principal; None when it is none."""
    if not isinstance(text, str):
        return None
    return next((found for found, pattern in _PATTERNS.items() if re.fullmatch(pattern, text)), None)


def account_of(text: str) -> str:
    """The id of the account that `text` means as a whole; "" when it means something else."""
    whole = re.fullmatch(r"(?:arn:[a-z-]+:iam::)?(\d{12})(?::root)?", text)
    return whole[1] if whole else ""


def is_account(text: str, account: str | None) -> bool:
    """Whether `text` means the account `account` as a whole."""
    return account is not None and account_of(text) == account


def problems(field: str, given: object, allowed: tuple[Kind, ...]) -> Iterator[str]:
    """One line for each of `given` that is of no kind that is allowed, or is there twice."""
    if not isinstance(given, tuple):
        yield f"{field} is {given!r}; allowed: a tuple, such as ({_EXAMPLE_ROLE!r},)"
        return
    words = ", ".join(
        f"{each.value} ({_EXAMPLE_ROLE})" if each is Kind.IDENTITY else each.value
        for each in allowed
        if each is not Kind.REFERENCE
    )
    for index, principal in enumerate(given):
        if kind(principal) not in allowed:
            yield (
                f"{field}[{index}] is {principal!r}; allowed: {words}; no wildcard, and for an assumed role the role's "
                "own ARN"
            )
        elif principal in given[:index]:
            yield f"{field}[{index}] is {principal!r}; allowed: each principal once"
