"""AWS Signature Version 4 for one relay endpoint. Knows botocore; must not know an HTTP library or OpenAI.

A Function URL with AuthType AWS_IAM wants requests signed for the service `lambda`
(docs.aws.amazon.com/lambda/latest/dg/urls-auth.html). Only headers that no hop changes are signed: CloudFront
rewrites or drops others, and one changed signed header turns every request into a 403.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError, NoRegionError

# docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html: https://<url-id>.lambda-url.<region>.on.aws
FUNCTION_URL_HOST = re.compile(r"^[^.]+\.lambda-url\.([a-z0-9-]+)\.on\.aws$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs requests for `host` ("" means the host of each request's own URL) in `region`.

    `credentials` is botocore's object, not a snapshot: it refreshes itself and is read anew for each request.
    """

    credentials: Credentials
    region: str
    host: str = ""

    def sign(self, method: str, url: str, body: bytes, content_type: str = "") -> dict[str, str]:
        """The headers to add to the request. May block for as long as a refresh of the credentials takes."""
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
        SigV4Auth(self.credentials.get_frozen_credentials(), "lambda", self.region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items() if name.lower() != "content-type"}


def signer(url: str, *, sign_host: str = "", region: str = "", profile: str | None = None) -> Signer:
    """A signer for the endpoint `url` with boto3's default credentials (environment, profile, SSO, role ...).

    `sign_host` is the Function URL's host when `url` is a CloudFront distribution in front of it: a signature
    has to be made for the host that verifies it. The region is read from a Function URL's name when there is
    one. Raises botocore's NoCredentialsError or NoRegionError here and not inside a request, where the SDK
    would retry them and report a connection error.
    """
    session = boto3.Session(profile_name=profile)
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    named = FUNCTION_URL_HOST.match(sign_host or urlsplit(url).hostname or "")
    region = region or (named.group(1) if named else session.region_name or "")
    if not region:
        raise NoRegionError
    return Signer(credentials=credentials, region=region, host=sign_host)


def endpoint(url: str) -> str:
    """Where OpenAI's paths begin, however it was written: "https://host/", "https://host/v1"."""
    return url.rstrip("/").removesuffix("/v1")
