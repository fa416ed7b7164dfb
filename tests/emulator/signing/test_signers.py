"""Signatures of three signers, for odd paths and queries, against the canonicalisation written from the specification.

Each signer gets what it can put on the wire as AWS wants it: botocore takes a query as it stands, aws4fetch parses URLs
as browsers do, curl 7 neither encodes a path nor sorts a query. What they sign differently from AWS is refused by AWS.
"""

from __future__ import annotations

import datetime
import itertools
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from emulator.fakes.raw_upstream import RawUpstream, json_answer
from emulator.signing.canonical_request import canonical_path, canonical_queries, canonical_requests
from emulator.signing.identities import Identity, local_role_session, local_user
from emulator.signing.signature import RefusedError, SignedRequest, Verifier, sign

HERE = Path(__file__).parent
REGION = "eu-central-1"
USER, ROLE = local_user(), local_role_session()
VERIFIER = Verifier((USER, ROLE), REGION)
BODY = b'{"model":"gpt-5-mini","input":"Gr\xc3\xbc\xc3\x9fe"}'
HEADERS = {"content-type": "application/json", "x-title": "  two   words ", "x-empty": ""}

PLAIN_PATHS = ("/", "/v1/models", "/v1/chat/completions", "/v1/models/", "/v1/a.b_c~d-e")
ODD_PATHS = (
    "/v1/a%20b",
    "/v1/a%2Fb",
    "/v1/%C3%A9%E2%82%AC",
    "/v1/(a)!*'b",
    "/v1/ft:gpt-5:org::id",
    "/v1/a+b,c;d=e@f$g&h",
    "/v1/%25%3F%23",
    "/v1/%%%",
)
# What a signer that normalises paths signs, and the wire carries as it was written.
LOOSE_PATHS = ("//v1/models", "/v1//models//", "/v1/./models", "/v1/x/../models", "/../v1/models")
STRICT_QUERIES = ("", "a=1", "a=1&b=2", "a=", "a=%20b", "a=%2F%3A%3D&b=%26", "k%20=v", "a=1&a=2", "%C3%A9=%E2%82%AC")
UNSORTED_QUERIES = ("b=2&a=1", "a=2&a=1", "a=b&A=B", "a10=1&a1=2&a=3", "flag", "flag&a=1", "z=1&%41=2")
LOOSE_QUERIES = ("a=b+c", "a=b%2Bc", "a=b%2fc", "a=é", "a='(x)'!*", "a=1&&b=2", "a=b=c", "a=%zz")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def target(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def by_botocore(who: Identity, path: str, query: str) -> SignedRequest:
    url = f"http://127.0.0.1:9000{target(path, query)}"
    signed = who.sign("POST", url, region=REGION, body=BODY, headers=HEADERS)
    headers = [("Host", "127.0.0.1:9000"), *signed.items()]
    return SignedRequest(method="POST", target=target(path, query), headers=headers, body=BODY)


BOTOCORE = [
    *itertools.product((USER, ROLE), (*PLAIN_PATHS, *ODD_PATHS, *LOOSE_PATHS), STRICT_QUERIES),
    # botocore sorts by the names as they are written, as the specification wants of encoded names.
    *itertools.product((USER, ROLE), PLAIN_PATHS, UNSORTED_QUERIES[:-1]),
]


def test_botocores_signatures_are_those_of_the_specification() -> None:
    assert len(BOTOCORE) > 300
    for who, path, query in BOTOCORE:
        assert VERIFIER.verify(by_botocore(who, path, query), now()) is who, (path, query)


def test_aws4fetchs_signatures_are_those_of_the_specification() -> None:
    paths, queries = (*PLAIN_PATHS, *ODD_PATHS, *LOOSE_PATHS), (*STRICT_QUERIES, *UNSORTED_QUERIES, *LOOSE_QUERIES)
    cases = list(itertools.product((USER, ROLE), paths, queries))
    asked = [
        {
            "method": "POST",
            "url": f"http://127.0.0.1:9000{target(path, query)}",
            "headers": HEADERS,
            "body": BODY.decode(),
            "identity": asdict(who),
            "region": REGION,
        }
        for who, path, query in cases
    ]
    command = ["node", str(HERE / "aws4fetch_signer.mjs")]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True)
    wire = json.loads(done.stdout)
    assert len(wire) == len(cases) > 300
    for (who, path, query), sent in zip(cases, wire, strict=True):
        headers = [(name, text) for name, text in sent["headers"]]
        request = SignedRequest(method="POST", target=sent["target"], headers=headers, body=BODY)
        assert VERIFIER.verify(request, now()) is who, (path, query)


def test_curls_signatures_are_those_of_the_specification() -> None:
    cases = list(itertools.product((USER, ROLE), PLAIN_PATHS, [query for query in STRICT_QUERIES if "a=" in query]))
    with RawUpstream() as server:
        server.answer(*json_answer(200, {}))
        command: list[str] = []
        for who, path, query in cases:
            url = server.url.removesuffix("/v1") + target(path, query)
            token = ["-H", f"x-amz-security-token: {who.session_token}"] if who.session_token else []
            credentials = f"{who.access_key}:{who.secret_key}"
            sigv4 = ["--aws-sigv4", f"aws:amz:{REGION}:lambda", "--user", credentials]
            form = ["-H", "content-type: application/json", "--data-binary", BODY.decode()]
            command += ["--next", "-sS", "-o", "/dev/null", "--path-as-is", *sigv4, *token, *form, url]
        subprocess.run(["curl", *command[1:]], timeout=60, check=True)
        received = server.requests
    assert len(received) == len(cases) >= 50
    for (who, path, query), got in zip(cases, received, strict=True):
        request = SignedRequest(method=got.method, target=got.target, headers=got.headers, body=got.body)
        assert VERIFIER.verify(request, now()) is who, (path, query)


@pytest.mark.parametrize(
    "query", ["a=%2f", "a=b+c", "a=é", "%41=1", "a=(x)"], ids=["lower-case", "plus", "raw", "needless", "reserved"]
)
def test_a_query_signed_as_it_stands_is_refused_where_aws_would_encode_it_anew(query: str) -> None:
    with pytest.raises(RefusedError, match="does not match"):
        VERIFIER.verify(by_botocore(USER, "/v1/models", query), now())


@pytest.mark.parametrize("path", ["//v1/models", "/v1/./models", "/v1//models"])
def test_a_path_signed_without_normalising_it_is_refused_as_by_aws(path: str) -> None:
    """So curl is refused for `"$URL/v1/models"` when `$URL` ends in a slash."""
    stamp = now().strftime("%Y%m%dT%H%M%SZ")
    scope = (stamp[:8], REGION, "lambda", "aws4_request")
    headers = [("host", "127.0.0.1:9000"), ("x-amz-date", stamp)]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    listed = "".join(f"{name}:{text}\n" for name, text in headers)
    canonical = f"GET\n{path}\n\n{listed}\nhost;x-amz-date\n{empty}".encode()
    signature = sign(USER.secret_key, stamp, scope, canonical).decode()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={USER.access_key}/{'/'.join(scope)}, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )
    request = SignedRequest(method="GET", target=path, headers=[*headers, ("authorization", authorization)], body=b"")
    with pytest.raises(RefusedError, match="does not match"):
        VERIFIER.verify(request, now())


# AWS's published test suite for Signature Version 4: credentials, scope and time are the same in each.
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
STAMP = "20150830T123600Z"
SCOPE = ("20150830", "us-east-1", "service", "aws4_request")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
BASE = [("Host", "example.amazonaws.com"), ("X-Amz-Date", STAMP)]


@pytest.mark.parametrize(
    ("method", "target", "headers", "signature"),
    [
        ("GET", "/", BASE, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", BASE, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/ሴ", BASE, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            BASE,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("GET", "//", BASE, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/example1/example2/../..", BASE, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "GET",
            "/",
            [*BASE, ("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "GET",
            "/",
            [*BASE, ("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')],
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
    ids=["get", "post", "utf-8", "query order", "slashes", "relative", "repeated header", "white space"],
)
def test_the_published_signatures(method: str, target: str, headers: list[tuple[str, str]], signature: str) -> None:
    signed = sorted({name.lower() for name, _ in headers})
    (canonical,) = canonical_requests(method, target, headers, signed, EMPTY)
    assert sign(KEY, STAMP, SCOPE, canonical).decode() == signature


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/./b/../c/", "/a/c/"),
        ("//a///b//", "/a/b/"),
        ("/a%2fb", "/a%252fb"),
        ("/a b", "/a%20b"),
        ("/\udcff", "/%FF"),
    ],
)
def test_paths(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ("",)),
        ("b&a", ("a=&b=",)),
        ("a=2&a=10&a=1", ("a=1&a=10&a=2",)),
        ("a=%2f", ("a=%2F",)),
        ("a=b=c", ("a=b%3Dc",)),
        ("a=b+c", ("a=b%2Bc", "a=b%20c")),
        ("&&", ("",)),
        ("a=%", ("a=%25",)),
        ("a=\udcff", ("a=%FF",)),
    ],
)
def test_queries(query: str, canonical: tuple[str, ...]) -> None:
    assert canonical_queries(query) == canonical
