"""AWS on the wire. The only module that knows boto3. Foreign exceptions stop here."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from relay import store
from relay.keys import StoreError

# One attempt, about 1.4 s in the worst case: a store that is down has to become a 503 within 1.5 s, and a second
# attempt is the caller's to make.
_CONFIG = Config(connect_timeout=0.5, read_timeout=0.9, retries={"total_max_attempts": 1})
# The ledger repeats what may be repeated, within its own 1.5 s; DynamoDB answers in under 10 ms as a rule. What the
# ledger sends it builds itself, so boto3's check of the parameters would only cost time.
_STORE_CONFIG = Config(
    connect_timeout=0.3, read_timeout=0.5, retries={"total_max_attempts": 1}, parameter_validation=False
)
# A connection idle for longer than this may be dead without knowing it, after a freeze above all.
_FRESH_SECONDS = 20.0


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


class DynamoDb:
    """The store's one attempt per call. Credentials and endpoint come from boto3's own chain."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("dynamodb", config=_STORE_CONFIG)
        self._used = 0.0

    def call(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """See relay.store.DynamoDb. "UpdateItem" is boto3's `update_item`."""
        if time.time() - self._used > _FRESH_SECONDS:
            # By wall clock: the other one stands still while the environment is frozen.
            self._client.close()
        self._used = time.time()
        method = getattr(self._client, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        try:
            answer: Mapping[str, Any] = method(**body)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == store.CONDITION_FAILED:
                raise store.ConditionFailedError(error.response.get("Item")) from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise store.StoreError("ServiceUnavailable" if status >= 500 else code, code) from error
        except BotoCoreError as error:
            raise store.StoreError("Unreachable", type(error).__name__) from error
        return answer
