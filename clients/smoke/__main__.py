"""`python -m clients.smoke URL`: walks a deployment and says what holds. Exits 0, 1 (a broken promise) or 2 (none checked).

Costs some short responses, and one long thought for `silence`. Nothing is changed, unless --drill is given.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import httpx

from clients import EXAMPLE_MODEL, report
from clients.deployed import deployment
from clients.deployed.account import Account, UnavailableError
from clients.deployed.deployment import Deployment
from clients.report import Finding, Redaction
from clients.signing import CREDENTIAL_ERRORS, Signer, endpoint, explained, is_loopback, signer
from clients.smoke.bearers import KEY_VARIABLE, address
from clients.smoke.checks import CHECKS, SLOW, Walk, check
from clients.smoke.endpoint import Endpoint


def main(arguments: list[str]) -> int:
    """Check and report. Returns 0 when every promise is kept, 1 when one is not, 2 when nothing could be checked."""
    given = _parser().parse_args(arguments)
    began = time.time()
    try:
        url = endpoint(given.url)
        signs = signer(url, sign_host=given.sign_host, region=given.region, profile=given.profile)
        api = address(given.api)
        session = explained(lambda: boto3.Session(profile_name=given.profile))
        redaction = _redaction((url, api), signs, identify=given.identify)
        findings = list(_reported(given, url, signs, session, redaction))
    except CREDENTIAL_ERRORS as failure:
        print(f"smoke: {failure}", file=sys.stderr)
        return 2
    print(redaction.text(report.summary(findings, url)))
    if given.json:
        about = {
            "url": url,
            "edge": bool(signs.host),
            "region": signs.region,
            "model": given.model,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "seconds": round(time.time() - began, 1),
        }
        try:
            report.write(given.json, findings, about, redaction)
        except OSError as error:
            print(f"smoke: --json {given.json}: {error.strerror}", file=sys.stderr)
            return 2
    return report.exit_code(findings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clients.smoke", description=__doc__)
    parser.add_argument("url", help="the Function URL, or the distribution in front of it")
    parser.add_argument("--sign-host", default="", help="the Function URL's host, when the URL is another")
    parser.add_argument("--region", default="", help="default: the one in the Function URL, else the profile's")
    parser.add_argument("--profile", help="the AWS profile to sign with, and to read the account with")
    parser.add_argument("--model", default=EXAMPLE_MODEL, help="one that the environment allows (default: %(default)s)")
    parser.add_argument(
        "--thinking-model", default="", help="one that thinks for long, for the silence (default: --model)"
    )
    parser.add_argument("--silence", type=float, default=45.0, metavar="SECONDS", help="to be survived (%(default)g)")
    parser.add_argument("--deadline", type=float, metavar="SECONDS", help="wait for a stream that the time-out cuts")
    parser.add_argument("--role", default="", metavar="ARN", help="one that may call, to try each permission alone")
    parser.add_argument("--edge", default="", choices=("optional", "required"), help="the environment's edge")
    parser.add_argument(
        "--api", default="", metavar="BASE_URL", help=f"the API's, to check it, too, with the key in {KEY_VARIABLE}"
    )
    parser.add_argument("--drill", action="store_true", help="let the spend watch stop the relay, and take it back")
    parser.add_argument("--quick", action="store_true", help=f"without {', '.join(SLOW)}")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), metavar="CHECK", help=f"of: {', '.join(CHECKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, to be attached to an issue")
    parser.add_argument("--identify", action="store_true", help="leave names of keys, accounts and hosts in the report")
    return parser


def _reported(
    given: argparse.Namespace, url: str, signs: Signer, session: boto3.Session, redaction: Redaction
) -> Iterator[Finding]:
    # One connection per request: a kept one would hide what a new caller sees.
    limits = httpx.Limits(max_keepalive_connections=0)
    timeout = httpx.Timeout(300, connect=10)
    names = tuple(given.only or (name for name in CHECKS if not (given.quick and name in SLOW)))
    with httpx.Client(timeout=timeout, limits=limits, trust_env=not is_loopback(url)) as http:
        at = Endpoint(url=url, model=given.model, http=http, signer=signs)
        walk = Walk(
            at=at,
            session=session,
            deployment=functools.cache(lambda: _deployment(session, at)),
            role=given.role,
            edge_mode=given.edge,
            thinking_model=given.thinking_model,
            silence_seconds=given.silence,
            deadline_seconds=given.deadline,
            drill=given.drill,
            api=given.api,
            api_bearer=os.environ.get(KEY_VARIABLE, ""),
        )
        for finding in check(walk, names):
            print(report.lines(finding, redaction), flush=True)
            yield finding


def _deployment(session: boto3.Session, at: Endpoint) -> Deployment:
    if is_loopback(at.url) and not os.environ.get("AWS_ENDPOINT_URL"):
        raise UnavailableError("the endpoint is on this machine")
    return deployment.find(Account(session, at.signer.region), at.direct.url)


def _redaction(urls: tuple[str, ...], signs: Signer, *, identify: bool) -> Redaction:
    """Loopback addresses tell nobody anything."""
    known = signs.credentials.get_frozen_credentials()
    named = [*(urlsplit(url).netloc for url in urls), signs.host]
    hosts = {host for host in named if host and not is_loopback(f"http://{host}")}
    # What AWS names by itself is cut to its kind, so that the region stays readable.
    own = [host for host in hosts if not host.endswith((".on.aws", ".cloudfront.net"))]
    identity = [] if identify else [known.access_key]
    bearer = os.environ.get(KEY_VARIABLE, "")
    return Redaction(secrets=[known.secret_key, known.token or "", bearer, *identity], hosts=own, identify=identify)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
