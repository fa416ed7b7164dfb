"""What signs AWS calls, and where it comes from. The only module that imports boto3.

boto3 takes 200-400 ms to import and to build two clients, at every cold start, for calls that are one signed POST each.
It is needed only for finding credentials where they are not plainly in the environment (SnapStart's container
endpoint): there it is imported from the Lambda runtime's own packages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relay.aws.errors import AwsError
from relay.frozen import Frozen


class Credentials(Frozen):
    """What signs a request. `token` is "" for long-lived keys."""

    access_key: str
    secret_key: str
    token: str = ""


def credential_source(access_key: str, secret_key: str, token: str) -> Callable[[], Credentials]:
    """Returns the source of credentials, to be called before each request. It raises AwsError("NoCredentials").

    On Lambda they are given by the environment and live as long as it does. Where they are "", boto3 finds and
    refreshes them.
    """
    if access_key and secret_key:
        fixed = Credentials(access_key=access_key, secret_key=secret_key, token=token)
        return lambda: fixed
    return _Boto3Credentials()


class _Boto3Credentials:
    """boto3's default chain, looked up at the first call."""

    def __init__(self) -> None:
        self._chain: Any = None  # botocore has no types

    def __call__(self) -> Credentials:
        if self._chain is None:
            self._chain = _default_chain()
        if self._chain is None:
            raise AwsError("NoCredentials")
        frozen = self._chain.get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token or "")


def _default_chain() -> Any:
    import site

    site.main()  # `bootstrap` starts Python without it; the runtime's packages are on the path only afterwards
    try:
        import boto3
    except ImportError:
        raise AwsError("NoCredentials") from None
    return boto3.Session().get_credentials()
