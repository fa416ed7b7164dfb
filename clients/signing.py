"""AWS Signature Version 4 for one relay endpoint, and what AWS's refusals mean. Knows botocore; no HTTP library.

A Function URL with AuthType AWS_IAM wants requests signed for the service `lambda`
(docs.aws.amazon.com/lambda/latest/dg/urls-auth.html). Only headers that no hop changes are signed: CloudFront
rewrites or drops others, and one changed signed header turns every request into a 403.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore import exceptions as botocore_errors
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError

T = TypeVar("T")

# docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html: https://<url-id>.lambda-url.<region>.on.aws
FUNCTION_URL_HOST = re.compile(r"^[^.]+\.lambda-url\.([a-z0-9-]+)\.on\.aws$")
EXAMPLE_URL = "https://abc.lambda-url.eu-central-1.on.aws"
# What reading credentials raises: botocore's own errors, and those of files and programs named in the configuration.
CREDENTIAL_ERRORS = (BotoCoreError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs requests for `host` ("" means the host of each request's own URL) in `region`.

    `credentials` is botocore's object, not a snapshot: it refreshes itself and is read anew for each request.
    """

    credentials: Credentials
    region: str
    host: str = ""

    def sign(self, method: str, url: str, body: bytes, content_type: str = "") -> dict[str, str]:
        """Return the headers to add to the request; may block while credentials are refreshed.

        Raises what botocore raises when that fails, its text extended by what to do.
        """
        parts = urlsplit(url)
        headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        if content_type:
            headers["content-type"] = content_type
        request = AWSRequest(
            method=method,
            url=f"{parts.scheme}://{self.host or parts.netloc}{parts.path or '/'}",
            headers=headers,
            # Given apart from the URL, botocore encodes them canonically, however the caller's library did.
            params=parse_qsl(parts.query, keep_blank_values=True),
        )
        frozen = explained(self.credentials.get_frozen_credentials)
        SigV4Auth(frozen, "lambda", self.region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items() if name.lower() != "content-type"}


def signer(url: str, *, sign_host: str = "", region: str = "", profile: str | None = None) -> Signer:
    """Build a signer for the endpoint `url` with boto3's default credentials (environment, profile, SSO, role ...).

    `sign_host` is the Function URL's host when `url` is a CloudFront distribution in front of it: a signature
    has to be made for the host that verifies it. The region is read from a Function URL's name when there is
    one. Raises ValueError for what is no URL, and botocore's errors (NoCredentialsError, NoRegionError ...) here
    and not inside a request.
    """
    host = _host(sign_host)
    session = explained(lambda: boto3.Session(profile_name=profile))
    credentials = explained(session.get_credentials)
    if credentials is None:
        raise explained_error(NoCredentialsError())
    named = FUNCTION_URL_HOST.match(host or urlsplit(endpoint(url)).hostname or "")
    region = region or (named.group(1) if named else os.environ.get("AWS_REGION") or session.region_name or "")
    if not region:
        raise explained_error(NoRegionError())
    return Signer(credentials=credentials, region=region, host=host)


def endpoint(url: str) -> str:
    """Return the URL at which OpenAI's paths begin, for "https://host/", "https://host/v1" ...; ValueError for others."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError(f"the URL is {url!r}; allowed: one with scheme and host, such as {EXAMPLE_URL}")
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def is_loopback(url: str) -> bool:
    """Tell whether `url` names this machine, where no company proxy may stand between."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(sign_host: str) -> str:
    """The host of `sign_host`, which may be written as the whole Function URL."""
    if not sign_host:
        return ""
    return urlsplit(endpoint(sign_host if "://" in sign_host else f"https://{sign_host}")).netloc.lower()


# -- what went wrong, and what to do -----------------------------------------------------------------------------------

_LOG_IN = "run `aws sso login` (with --profile NAME where you use one)"
_NETWORK = "check the network, HTTPS_PROXY and NO_PROXY"
# botocore's classes by name, since not every release has each of them; the first that fits counts.
_REMEDIES = {
    "NoRegionError": "give a region or set AWS_REGION",
    "InvalidRegionError": "correct the region, AWS_REGION or AWS_DEFAULT_REGION",
    "ProfileNotFound": "correct the profile or AWS_PROFILE (`aws configure list-profiles` shows those that exist)",
    "NoCredentialsError": f"{_LOG_IN}, choose a profile with AWS_PROFILE, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY",
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
    "SSOError": _LOG_IN,
    "LoginError": "run `aws login`",
    "TokenRetrievalError": _LOG_IN,
    "CredentialRetrievalError": f"correct what the profile names (credential_process, role), or {_LOG_IN}",
    "ConfigParseError": "correct that file, or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE",
    "ConfigNotFound": "correct AWS_CONFIG_FILE",
    "InvalidConfigError": "correct the profile in ~/.aws/config",
    "InvalidRetryConfigurationError": "correct AWS_RETRY_MODE and AWS_MAX_ATTEMPTS",
    "InvalidDefaultsMode": "correct AWS_DEFAULTS_MODE",
    "ProxyConnectionError": "correct HTTPS_PROXY, or name the host in NO_PROXY",
    "InvalidProxiesConfigError": "correct HTTPS_PROXY",
    "SSLError": "check AWS_CA_BUNDLE, SSL_CERT_FILE and the certificate of your company's proxy",
    "HTTPClientError": _NETWORK,
    "ConnectionError": _NETWORK,
}


def explained(read: Callable[[], T]) -> T:
    """Return what `read` returns; what it raises is raised again as `explained_error` words it."""
    try:
        return read()
    except CREDENTIAL_ERRORS as error:
        raise explained_error(error) from None


def explained_error(error: Exception) -> Exception:
    """Return the error with a text of one line: what happened, and which setting to correct or what to run.

    botocore's errors stay the same object; those of files, programs and values become a plain OSError or ValueError.
    """
    told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    text = " ".join(told.split()).rstrip(".:")
    remedy = next(
        (remedy for name, remedy in _REMEDIES.items() if isinstance(error, getattr(botocore_errors, name, ()))), ""
    )
    settings = [name for name in _settings_in(text) if name not in remedy]
    cures = [f"correct {' and '.join(settings)}"] if settings else []
    cures += [remedy] if remedy else []
    if not cures and not isinstance(error, BotoCoreError):
        cures = ["check AWS_ENDPOINT_URL, the other AWS_... variables and the profile"]
    if cures:
        text = f"{text}: {', or '.join(cures)}."
    if isinstance(error, BotoCoreError):
        error.args = (text,)
        return error  # type: ignore[no-any-return]  # botocore has no types
    return OSError(text) if isinstance(error, OSError) else ValueError(text)


def _settings_in(text: str) -> list[str]:
    """The variables of the environment whose values `text` quotes, but for keys and regions, which stand in any URL."""
    silent = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
    return [
        name
        for name, value in sorted(os.environ.items())
        if (name.startswith("AWS_") or name.upper().endswith("_PROXY")) and name not in silent
        if len(value) > 1 and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
    ]


# What AWS writes into a refusal, in lower case, and what to do; the first that fits counts.
ADVICE = (
    (("token included in the request is expired", "expiredtoken"), f"The AWS credentials have expired: {_LOG_IN}."),
    (
        ("token included in the request is invalid",),
        "AWS does not know these credentials: check AWS_ACCESS_KEY_ID; temporary ones need AWS_SESSION_TOKEN, too.",
    ),
    (
        ("scoped to a valid region", "scoped to correct service"),
        "The request was signed for another region: give the one in the Function URL's name.",
    ),
    (
        ("signature expired", "not yet current", "date in credential scope"),
        "The clock of this machine differs from AWS's by more than five minutes: set it.",
    ),
    (
        ("does not match",),
        "Check AWS_SECRET_ACCESS_KEY; behind CloudFront, sign for the Function URL's host (sign_host).",
    ),
    (("missing authentication token",), "The signature did not arrive: does a proxy drop the Authorization header?"),
    (
        ("forbidden", "not authorized", "access denied"),
        "These credentials may not call this URL: the caller's IAM policy or the relay's `invokers` must allow "
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction.",
    ),
    (
        ("rate exceeded", "toomanyrequests", "too many requests"),
        "All of the function's concurrency is in use: try again, or raise `reserved_concurrency`.",
    ),
)


def advice(message: str) -> str:
    """Return what to do about a refusal in AWS's words, or "" when nothing is known."""
    lower = message.lower()
    return next((text for parts, text in ADVICE if any(part in lower for part in parts)), "")


def openai_error(body: bytes, kind: str = "") -> bytes | None:
    """Return AWS's `{"Message": ...}` in the shape of OpenAI's errors, with advice; None for any other body.

    SDKs show only their own shape. `kind` is the header x-amzn-errortype ("AccessDeniedException:...").
    """
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    if not isinstance(fields, dict) or "error" in fields:
        return None
    message = fields.get("Message", fields.get("message"))
    if not isinstance(message, str):
        return None
    told = " ".join(filter(None, (f"AWS: {message.rstrip('.')}.", advice(message))))
    return error_body(told, kind.partition(":")[0] or "aws")


def error_body(message: str, code: str) -> bytes:
    """Return an error that did not come from OpenAI, in the shape of OpenAI's."""
    return json.dumps({"error": {"message": message, "type": "aws_error", "param": None, "code": code}}).encode()
