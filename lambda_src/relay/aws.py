"""AWS on the wire. The only module that knows boto3. Foreign exceptions stop here."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from relay.keys import StoreError

# One attempt, about 1.4 s in the worst case: a store that is down has to become a 503 within 1.5 s, and a second
# attempt is the caller's to make.
_CONFIG = Config(connect_timeout=0.5, read_timeout=0.9, retries={"total_max_attempts": 1})


class SecretsManager:
    """Reads one secret. Credentials and endpoint come from boto3's own chain."""

    def __init__(self, secret_id: str) -> None:
        self._secret_id = secret_id
        self._client: Any = boto3.client("secretsmanager", config=_CONFIG)

    def read(self) -> str:
        """The secret's text. Raises StoreError, whose text names the cause and never the value."""
        try:
            answer = self._client.get_secret_value(SecretId=self._secret_id)
        except ClientError as error:
            raise StoreError(f"Secrets Manager: {error.response.get('Error', {}).get('Code', 'error')}") from error
        except BotoCoreError as error:
            raise StoreError(f"Secrets Manager: {type(error).__name__}") from error
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise StoreError("Secrets Manager: the secret has no text value")
        return text
