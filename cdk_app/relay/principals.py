"""Configured principals -> the CDK's. Knows the three ways of writing one and nothing of what is granted."""

from __future__ import annotations

import re

from aws_cdk import aws_iam as iam


def principal(text: str) -> iam.IPrincipal:
    """An account id or `arn:...:root` is the whole account, whose own policies then say who; else one identity."""
    account = re.fullmatch(r"(?:arn:[a-z-]+:iam::)?(\d{12})(?::root)?", text)
    return iam.AccountPrincipal(account[1]) if account else iam.ArnPrincipal(text)
