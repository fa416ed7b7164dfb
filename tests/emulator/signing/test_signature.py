"""Signatures: what stock clients sign is accepted, everything else is refused with AWS's words, and nothing is
called.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import httpx
import pytest

from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from emulator.signing.canonical_request import canonical_headers
from emulator.signing.identities import Identity, local_role_session, local_user
from emulator.signing.signature import RefusedError, SignedRequest, Verifier, sign

DOUBLE = pathlib.Path(__file__).parent.parent.parent / "support" / "doubles" / "raw_runtime.py"
REGION = "eu-central-1"
USER, ROLE = local_user(), local_role_session()
VERIFIER = Verifier((USER, ROLE), REGION)
BODY = b'{"a":1}'


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def signed(
    who: Identity = USER, *, target: str = "/v1/x", region: str = REGION, body: bytes = BODY, **headers: str
) -> SignedRequest:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    result = who.sign("POST", f"http://127.0.0.1:9{target}", region=region, body=body, headers=named)
    pairs = [("Host", "127.0.0.1:9"), *result.items()]
    return SignedRequest(method="POST", target=target, headers=pairs, body=body)


def changed(request: SignedRequest, **headers: str | None) -> SignedRequest:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    pairs = [(name, text) for name, text in request.headers if name.lower() not in names]
    pairs += [(name, text) for name, text in names.items() if text is not None]
    return SignedRequest(method=request.method, target=request.target, headers=pairs, body=request.body)


@pytest.mark.parametrize("who", [USER, ROLE], ids=["user", "role session"])
@pytest.mark.parametrize(
    "target",
    ["/", "/v1/x", "/v1/x?b=2&a=1&a=0", "/v1/a%20b", "/v1/a%2Fb", "/v1//x", "/v1/./x", "/v1/\u00e9"[:4] + "%C3%A9"],
)
def test_a_signed_request_is_who_signed_it(who: Identity, target: str) -> None:
    assert VERIFIER.verify(signed(who, target=target, content_type="application/json"), now()) is who


def test_a_session_token_belongs_to_its_key() -> None:
    with pytest.raises(RefusedError, match="security token"):
        VERIFIER.verify(changed(signed(ROLE), x_amz_security_token=None), now())
    with pytest.raises(RefusedError, match="security token"):
        VERIFIER.verify(changed(signed(USER), x_amz_security_token="x"), now())


def other_body(request: SignedRequest) -> SignedRequest:
    return SignedRequest(method=request.method, target=request.target, headers=request.headers, body=b"other")


def other_path(request: SignedRequest) -> SignedRequest:
    return SignedRequest(method=request.method, target="/v1/y", headers=request.headers, body=request.body)


def other_method(request: SignedRequest) -> SignedRequest:
    return SignedRequest(method="PUT", target=request.target, headers=request.headers, body=request.body)


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda it: changed(it, authorization=None), "MissingAuthenticationTokenException", "Missing Authentication"),
        (lambda it: changed(it, authorization="Bearer sk-x"), "IncompleteSignatureException", "Authorization header"),
        (other_body, "InvalidSignatureException", "does not match"),
        (other_path, "InvalidSignatureException", "does not match"),
        (other_method, "InvalidSignatureException", "does not match"),
        (lambda it: changed(it, host="elsewhere"), "InvalidSignatureException", "does not match"),
        (lambda it: changed(it, content_type="text/plain"), "InvalidSignatureException", "does not match"),
        (lambda it: changed(it, content_type=None), "InvalidSignatureException", "does not match"),
        (lambda it: changed(it, x_amz_date=None), "IncompleteSignatureException", "X-Amz-Date"),
        (lambda it: changed(it, x_amz_content_sha256="0" * 64), "InvalidSignatureException", "sha256"),
        (lambda it: changed(it, x_amz_content_sha256="UNSIGNED-PAYLOAD"), "InvalidSignatureException", "sha256"),
        (lambda _: signed(region="us-east-1"), "InvalidSignatureException", "valid region"),
        (lambda _: signed(local_user(number=9)), "UnrecognizedClientException", "security token"),
    ],
    ids=[
        "unsigned",
        "bearer",
        "body",
        "path",
        "method",
        "host",
        "signed header changed",
        "signed header gone",
        "no date",
        "hash",
        "unsigned payload",
        "region",
        "unknown key",
    ],
)
def test_a_spoilt_request_is_refused(spoil: Callable[[SignedRequest], SignedRequest], kind: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        VERIFIER.verify(spoil(signed(content_type="application/json")), now())
    assert refused.value.kind == kind


def test_a_wrong_secret_is_refused() -> None:
    same_key = local_user()
    assert same_key.access_key == USER.access_key
    with pytest.raises(RefusedError, match="does not match"):
        VERIFIER.verify(signed(same_key), now())


def test_another_service_is_refused() -> None:
    request = signed()
    authorization = request.header("authorization") or ""
    with pytest.raises(RefusedError, match="service"):
        VERIFIER.verify(changed(request, authorization=authorization.replace("/lambda/", "/s3/")), now())


@pytest.mark.parametrize(("minutes", "words"), [(6, "expired"), (-6, "not yet current")])
def test_the_clock_may_be_five_minutes_off_and_no_more(minutes: int, words: str) -> None:
    request = signed()
    with pytest.raises(RefusedError, match=words):
        VERIFIER.verify(request, now() + datetime.timedelta(minutes=minutes))
    almost = datetime.timedelta(minutes=minutes / 6 * 4.9)
    assert VERIFIER.verify(request, now() + almost) is USER


def test_yesterdays_scope_is_refused() -> None:
    request = signed()
    authorization = request.header("authorization") or ""
    stamp = (request.header("x-amz-date") or "")[:8]
    with pytest.raises(RefusedError, match="scope"):
        VERIFIER.verify(changed(request, authorization=authorization.replace(stamp, "20200101")), now())


def test_host_has_to_be_signed() -> None:
    request = signed()
    authorization = (request.header("authorization") or "").replace("SignedHeaders=host;", "SignedHeaders=")
    with pytest.raises(RefusedError, match="'Host' must be a 'SignedHeader'"):
        VERIFIER.verify(changed(request, authorization=authorization), now())


def resigned(
    names: str,
    extra: tuple[tuple[str, str], ...] = (),
    *,
    stamp: str = "",
    scope: str = "",
    date_header: str = "X-Amz-Date",
    day: str = "",
) -> SignedRequest:
    """A request whose signature is right for whatever it claims: `names` is its list of signed headers as it stands."""
    stamp = stamp or now().strftime("%Y%m%dT%H%M%SZ")
    day = day or stamp[:8]
    scope = scope or f"{day}/{REGION}/lambda/aws4_request"
    headers = [("Host", "127.0.0.1:9"), (date_header, stamp), *extra]
    listed = names.split(";")
    canonical = (
        f"POST\n/v1/x\n\n{canonical_headers(headers, listed)}\n{names}\n{hashlib.sha256(BODY).hexdigest()}".encode()
    )
    signature = sign(USER.secret_key, stamp, tuple(scope.split("/")), canonical).decode()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={USER.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return SignedRequest(method="POST", target="/v1/x", headers=[*headers, ("Authorization", authorization)], body=BODY)


def test_a_request_signed_by_hand_is_accepted() -> None:
    assert VERIFIER.verify(resigned("host;x-amz-date"), now()) is USER
    assert VERIFIER.verify(resigned("host;x-amz-date;x-title", (("X-Title", "a  b"),)), now()) is USER
    dated = now().strftime("%Y%m%dT%H%M%SZ")
    assert VERIFIER.verify(resigned("date;host", stamp=dated, date_header="Date"), now()) is USER


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("x-amz-date;host", "does not match"),
        ("host;host;x-amz-date", "does not match"),
        ("host;x-amz-date;x-amz-date", "does not match"),
        ("host;x-amz-date;x-not-there", "does not match"),
        ("Host;X-Amz-Date", "'Host' must be a 'SignedHeader'"),
        ("host", "'X-Amz-Date' must be a 'SignedHeader'"),
        ("x-amz-date", "'Host' must be a 'SignedHeader'"),
        ("host;x-amz-date;", "does not match"),
    ],
)
def test_the_list_of_signed_headers_is_sorted_lower_case_and_whole(names: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        VERIFIER.verify(resigned(names), now())


@pytest.mark.parametrize("name", ["X-Amz-Meta", "x-amz-target", "X-AMZ-CONTENT-SHA256"])
def test_every_header_of_amazons_has_to_be_signed(name: str) -> None:
    value = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(RefusedError, match=r"(?i)x-amz-.*must be a 'SignedHeader'"):
        VERIFIER.verify(resigned("host;x-amz-date", ((name, value),)), now())
    listed = ";".join(sorted(["host", "x-amz-date", name.lower()]))
    assert VERIFIER.verify(resigned(listed, ((name, value),)), now()) is USER


def test_what_cloudfront_adds_behind_the_signature_is_let_through() -> None:
    assert VERIFIER.verify(resigned("host;x-amz-date", (("x-amz-cf-id", "abc"), ("via", "1.1 x"))), now()) is USER


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("20200101/eu-central-1/lambda/aws4_request", "Date in Credential scope"),
        ("{day}/us-east-1/lambda/aws4_request", "valid region"),
        ("{day}/eu-central-1/execute-api/aws4_request", "correct service: 'lambda'"),
        ("{day}/eu-central-1/lambda/aws4", "valid terminator: 'aws4_request', not 'aws4'"),
        ("{day}/eu-central-1/lambda", "exactly 5 slash-delimited elements"),
        ("{day}/eu-central-1/lambda/aws4_request/x", "exactly 5 slash-delimited elements"),
    ],
)
def test_a_scope_that_is_not_ours_is_refused_in_awss_words(scope: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        VERIFIER.verify(resigned("host;x-amz-date", scope=scope.format(day=f"{now():%Y%m%d}")), now())


@pytest.mark.parametrize("stamp", ["", "now", "20261301T000000Z", "2026-11-27T00:00:00Z", "20261127T000000+0000"])
def test_a_date_in_another_format_is_refused(stamp: str) -> None:
    with pytest.raises(RefusedError, match="basic format"):
        VERIFIER.verify(changed(signed(), x_amz_date=stamp), now())


def test_a_header_given_twice_is_no_value() -> None:
    request = signed()
    twice = [*request.headers, *((name, text) for name, text in request.headers if name.lower() == "x-amz-date")]
    with pytest.raises(RefusedError, match="basic format"):
        VERIFIER.verify(
            SignedRequest(method=request.method, target=request.target, headers=twice, body=request.body), now()
        )


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        ("AWS4-HMAC-SHA256", "Invalid key=value pair"),
        ("AWS4-HMAC-SHA256 Credential", "Invalid key=value pair"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e", "requires 'Signature' parameter. .*requires 'SignedHeaders'"),
        ("AWS4-HMAC-SHA256 Credential=, SignedHeaders=host, Signature=0", "requires 'Credential' parameter"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "5 slash-delimited"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Credential=a/b/c/d/e, Signature=0", "more than once"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/b/d/e, SignedHeaders=host, Signature=0", "Invalid key=value pair"),
    ],
)
def test_an_authorization_that_lacks_something_says_what(authorization: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        VERIFIER.verify(changed(signed(), authorization=authorization), now())
    assert refused.value.kind == "IncompleteSignatureException"


# -- through the door ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door() -> Iterator[LocalLambda]:
    double = Function(command=(sys.executable, "-I", "-S", str(DOUBLE)), task_root=DOUBLE.parent)
    with LocalLambda(double, identities=(USER, ROLE)) as running:
        yield running


def post(door: LocalLambda, headers: Mapping[str, str], body: bytes = BODY) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/x", content=body, headers=headers)


def test_a_refused_request_has_awss_shape_and_reaches_no_process() -> None:
    double = Function(command=(sys.executable, "-I", "-S", str(DOUBLE)), task_root=DOUBLE.parent)
    late = now() + datetime.timedelta(minutes=10)
    with (
        LocalLambda(double, identities=(USER,)) as running,
        LocalLambda(double, identities=(USER,), clock=lambda: late) as ahead,
    ):
        unsigned = post(running, {})
        wrong = post(running, local_user().sign("POST", f"{running.url}/v1/x", region=REGION, body=BODY))
        stale = post(ahead, USER.sign("POST", f"{ahead.url}/v1/x", region=REGION, body=BODY))
        assert [one.status_code for one in (unsigned, wrong, stale)] == [403, 403, 403]
        assert unsigned.json() == {"Message": "Missing Authentication Token"}
        assert wrong.headers["x-amzn-errortype"] == "InvalidSignatureException"
        assert "expired" in stale.json()["Message"]
        assert (running.pids(), ahead.pids()) == ([], [])


def test_curl_signs_what_the_door_accepts(door: LocalLambda) -> None:
    steps = {"do": [["begin", None], ["write", "from curl"], ["end", None]]}
    command = ["curl", "-sN", "--aws-sigv4", f"aws:amz:{REGION}:lambda", "--user"]
    command += [f"{USER.access_key}:{USER.secret_key}", "-H", "content-type: application/json"]
    done = subprocess.run(
        [*command, "-d", json.dumps(steps), f"{door.url}/v1/x"], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "from curl"
