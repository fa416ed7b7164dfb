"""Who may call the local Function URL: access keys and the IAM principals behind them. Signs for them, too.

Secrets are made anew at each start: the endpoint may spend a real OpenAI key, so its credentials must not be
guessable.
"""

from __future__ import annotations

import json
import pathlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCOUNT = "123456789012"  # the account of AWS's own documentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One access key. `unique_id` is AIDA... for a user and AROA...:session for a session of a role."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    account: str = ACCOUNT
    unique_id: str
    arn: str
    organisation: str | None = "o-localexample"

    def sign(
        self,
        method: str,
        url: str,
        *,
        region: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        service: str = "lambda",
    ) -> dict[str, str]:
        """The request's headers with SigV4 added, as a stock client of `service` sends them."""
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
        credentials = Credentials(self.access_key, self.secret_key, self.session_token or None)
        SigV4Auth(credentials, service, region).add_auth(request)
        return dict(request.headers.items())


def local_user(name: str = "local-developer", *, number: int = 1) -> Identity:
    return Identity(
        access_key=f"AKIALOCALUSER{number:07d}",
        secret_key=secrets.token_hex(20),
        unique_id=f"AIDALOCALUSER{number:08d}",
        arn=f"arn:aws:iam::{ACCOUNT}:user/{name}",
    )


def local_role_session(role: str = "local-service", session: str = "session", *, number: int = 1) -> Identity:
    return Identity(
        access_key=f"ASIALOCALROLE{number:07d}",
        secret_key=secrets.token_hex(20),
        session_token=secrets.token_hex(64),
        unique_id=f"AROALOCALROLE{number:08d}:{session}",
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
    )


def read_identities(path: pathlib.Path) -> tuple[Identity, ...]:
    """From a JSON list of objects with the fields of `Identity`. Raises ValueError saying what is wrong."""
    entries = json.loads(path.read_text())
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: a JSON list with at least one identity is needed")
    try:
        return tuple(Identity(**entry) for entry in entries)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
