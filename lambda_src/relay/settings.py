"""The process's settings, read once from the environment that Lambda and the stack write. Pure.

Nothing else reads the environment; the README's table lists every variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar, cast, get_args

from relay.doors import rest_api
from relay.doors.rest_api import Api
from relay.frozen import Frozen
from relay.models import EdgeMode
from relay.policies import policy_json
from relay.policies.policy import Policies
from relay.pricing import prices
from relay.pricing.prices import PriceList
from relay.request.policy import RequestPolicy

T = TypeVar("T")

_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/%-]*)?")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])([:/]|\Z)")


class SettingsError(Exception):
    """A setting is missing or wrong. The message names it; it never quotes the value of a secret (there is none here)."""


class ProcessSettings(Frozen):
    """What is needed before the settings can be read, to report that they are wrong. Reading it cannot fail."""

    runtime_api: str
    """Host and port of Lambda's Runtime API: "127.0.0.1:9001"."""
    log_level: str
    """One of Lambda's names: "INFO". What is none of them counts as INFO."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ProcessSettings:
        """Reads what Lambda sets."""
        return cls(
            runtime_api=environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            log_level=environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO").upper(),
        )


class AwsSettings(Frozen):
    """How AWS's services are reached, by the variables that all AWS SDKs obey.

    `ca_file` is "" for the certificates of the bundle. Keys are "" where boto3 has to find them (SnapStart).
    Source: docs.aws.amazon.com/sdkref/latest/guide, "Settings reference".
    """

    region: str
    secrets_manager_url: str
    dynamodb_url: str
    ca_file: str
    access_key_id: str
    secret_access_key: str
    session_token: str

    def __repr__(self) -> str:
        return f"AwsSettings(region={self.region!r}, ...)"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> AwsSettings:
        """Reads what Lambda sets, and what sets it aside."""
        return cls(
            region=environ.get("AWS_REGION", ""),
            secrets_manager_url=_aws_url(environ, "secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            dynamodb_url=_aws_url(environ, "dynamodb", "AWS_ENDPOINT_URL_DYNAMODB"),
            ca_file=environ.get("AWS_CA_BUNDLE", ""),
            access_key_id=environ.get("AWS_ACCESS_KEY_ID", ""),
            secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY", ""),
            session_token=environ.get("AWS_SESSION_TOKEN", ""),
        )


class Settings(Frozen):
    """What one relay process needs to know. Times are in seconds, sizes in bytes.

    `openai_secret_arn` and `edge_secret_arn` are names or ARNs; `table_name` is "" where no limits are kept. `api` is the
    API that lets in holders of keys and tokens, None where there is none.
    `heartbeat_seconds` 0 means none. `usage_days` is how long records of usage are kept.
    """

    aws: AwsSettings
    openai_base_url: str
    openai_secret_arn: str
    edge: EdgeMode
    edge_secret_arn: str
    table_name: str
    api: Api | None
    request_policy: RequestPolicy
    caller_policies: Policies
    prices: PriceList
    settle_failure: Literal["keep", "retry"]
    usage_days: int
    function_name: str
    max_body_bytes: int
    heartbeat_seconds: float
    deadline_reserve_seconds: float

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Reads and checks everything; raises SettingsError with one line that names the variable."""
        return cls(
            aws=AwsSettings.from_environ(environ),
            openai_base_url=_url(environ, "OPENAI_BASE_URL", "https://api.openai.com/v1"),
            openai_secret_arn=_required(environ, "OPENAI_SECRET_ARN"),
            edge=(mode := _edge(environ, "EDGE")),
            edge_secret_arn=_edge_secret(environ, "EDGE_SECRET_ARN", mode),
            table_name=environ.get("TABLE_NAME", ""),
            api=_api(environ),
            request_policy=_parse(environ, "REQUEST_POLICY", RequestPolicy.from_json),
            caller_policies=_parse(environ, "CALLER_POLICIES", policy_json.parse),
            # Only what differs from the list that comes with the relay.
            prices=_parse(environ, "PRICES", prices.parse),
            settle_failure=_settle_failure(environ, "SETTLE_FAILURE"),
            usage_days=int(_number(environ, "USAGE_DAYS", 400, low=1, high=3653)),
            function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            max_body_bytes=int(_number(environ, "MAX_BODY_BYTES", 6_000_000, low=1024, high=6_291_456)),
            heartbeat_seconds=_number(environ, "HEARTBEAT_SECONDS", 10, low=0, high=14),
            deadline_reserve_seconds=_number(environ, "DEADLINE_RESERVE_SECONDS", 3, low=0.1, high=60),
        )


def _aws_url(environ: Mapping[str, str], service: str, variable: str) -> str:
    for name in (variable, "AWS_ENDPOINT_URL"):
        if given := environ.get(name):
            if not _URL.fullmatch(given):
                raise SettingsError(f"{name} is not an http(s) URL without query and credentials: {given!r}")
            return given
    region = environ.get("AWS_REGION", "")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{suffix}"


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _url(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, "").strip() or default
    if not _URL.fullmatch(value):
        raise SettingsError(f"{name} is not an http(s) URL without query and credentials: {value!r}")
    if value.startswith("http:") and not _LOOPBACK.match(value):
        raise SettingsError(f"{name} has to be https, or the key would travel in clear: {value!r}")
    return value.rstrip("/")


def _parse(environ: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(environ.get(name, ""))
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _settle_failure(environ: Mapping[str, str], name: str) -> Literal["keep", "retry"]:
    text = environ.get(name, "").strip() or "keep"
    if text not in ("keep", "retry"):
        raise SettingsError(f"{name} is {text!r}; it has to be keep or retry")
    return cast(Literal["keep", "retry"], text)


def _edge(environ: Mapping[str, str], name: str) -> EdgeMode:
    text = environ.get(name, "").strip() or "off"
    if text not in get_args(EdgeMode):
        raise SettingsError(f"{name} is {text!r}; it has to be one of {', '.join(get_args(EdgeMode))}")
    return cast(EdgeMode, text)


def _edge_secret(environ: Mapping[str, str], name: str, mode: EdgeMode) -> str:
    text = environ.get(name, "").strip()
    if mode != "off" and not text:
        raise SettingsError(f"{name} is not set, and EDGE is {mode}")
    return text


def _api(environ: Mapping[str, str]) -> Api | None:
    id, stage = environ.get("API_ID", "").strip(), environ.get("API_STAGE", "").strip() or "relay"
    issuers = _parse(environ, "API_ISSUERS", rest_api.parse_issuers)
    origins = tuple(environ.get("API_ORIGINS", "").split())
    if not id:
        return None
    if not environ.get("TABLE_NAME", "").strip():
        raise SettingsError("TABLE_NAME is not set, and API_ID is: without a table no key could be revoked")
    if not (re.fullmatch(r"[a-z0-9]{1,64}", id) and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", stage)):
        raise SettingsError("API_ID and API_STAGE have to be those of a REST API, such as abcde12345 and relay")
    return Api(id=id, stage=stage, issuers=issuers, origins=origins)


def _number(environ: Mapping[str, str], name: str, default: float, *, low: float, high: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise SettingsError(f"{name} is not a number: {text!r}") from None
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text}; it has to be between {low:g} and {high:g}")
    return value
