"""Reads one secret from AWS Secrets Manager. Knows nothing of what is in it."""

from __future__ import annotations

from collections.abc import Mapping

from relay.aws.client import Client
from relay.aws.errors import AwsError, SecretError

_NOT_FOUND = "ResourceNotFoundException"
# What an operator can do about it; other codes stand for themselves.
_CAUSES = {
    _NOT_FOUND: "the secret does not exist in this account and region, or it has no value yet",
    "AccessDeniedException": "this function's role may not read the secret",
    "DecryptionFailure": "this function's role may not use the secret's KMS key",
    "InvalidRequestException": "the secret is scheduled for deletion",
    "ExpiredTokenException": "this function's credentials have expired",
    "ThrottlingException": "this account reads secrets more often than AWS allows",
    "Unreachable": "no response in time",
}


class SecretsManager:
    """One secret, by name or ARN. A read is broken off when `stop_fd` becomes readable."""

    def __init__(self, client: Client, secret_id: str, *, stop_fd: int = -1) -> None:
        self._client = client
        self._secret_id = secret_id
        self._stop_fd = stop_fd

    def read(self, until: float | None = None) -> str:
        """Returns the secret's text, by `until` (time.monotonic()'s clock) or within 1.2 s.

        Raises SecretError, whose text names the cause and never the value, and RelayError(SHUTDOWN).
        """
        return self._read({}, until)

    def read_previous(self, until: float | None = None) -> str | None:
        """Returns the text before the last change, or None when there was none. Raises as `read` does."""
        try:
            return self._read({"VersionStage": "AWSPREVIOUS"}, until)
        except SecretError as error:
            if isinstance(error.__cause__, AwsError) and error.__cause__.code == _NOT_FOUND:
                return None
            raise

    def _read(self, version: Mapping[str, str], until: float | None) -> str:
        body = {"SecretId": self._secret_id, **version}
        try:
            text = self._client.call("GetSecretValue", body, until=until, stop_fd=self._stop_fd).get("SecretString")
        except AwsError as error:
            # Never AWS's own message: it may repeat what the request carried, and this text is logged.
            cause = _CAUSES.get(error.code, "")
            raise SecretError(f"Secrets Manager: {error.code} for {self._secret_id}: {cause}".rstrip(": ")) from error
        if not isinstance(text, str):
            raise SecretError(f"Secrets Manager: the secret {self._secret_id} has no text value")
        return text
