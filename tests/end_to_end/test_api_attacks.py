"""Bearers that let nobody in, by the hundred: what API Gateway can refuse never invokes the relay, nothing reaches OpenAI."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from authorizer import api_key
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.fakes.issuer import Issuer, signing_input
from emulator.signing import rsa
from tests.relay.doors.test_rest_api import EVENT, token_event
from tests.support.api_door import CLAIMS, INVOKER, ISSUER, ApiDoor, api_door
from tests.support.synthesis import API, Synthesised

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 100}


@pytest.fixture(scope="module")
def door(templates: dict[str, Synthesised], bundle: Path) -> Iterator[ApiDoor]:
    # Nobody comes past the edge but through the API, which has a web ACL of its own.
    edge = {"EDGE": "required", "EDGE_SECRET_ARN": "origin"}
    with api_door(templates[API.name].directory, bundle, overrides=edge) as running:
        yield running


@pytest.fixture(scope="module")
def http(door: ApiDoor) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door.url, timeout=30) as client:
        yield client


def refused(door: ApiDoor, http: httpx.Client, requests: list[tuple[str, dict[str, str]]]) -> None:
    """Each (path, headers) is refused by API Gateway: in OpenAI's shape, without the relay, without OpenAI."""
    before = door.local.api_counters().get("invoked", 0), len(door.upstream.requests)
    for path, headers in requests:
        response = http.post(path, json=CHAT, headers=headers)
        error = response.json()["error"]
        assert response.status_code in (401, 404), (path, headers, response.text)
        assert set(error) == {"message", "type", "param", "code"}
        assert response.headers["x-should-retry"] == "false"
        sent = [value.partition(" ")[2][:40] for value in headers.values()]
        assert not [text for text in sent if len(text) > 20 and text in response.text]
    assert (door.local.api_counters().get("invoked", 0), len(door.upstream.requests)) == before


def bearers(tokens: list[str], path: str = "/sso/v1/chat/completions") -> list[tuple[str, dict[str, str]]]:
    return [(path, {"authorization": f"Bearer {token}"}) for token in tokens]


def own(**changes: Any) -> dict[str, Any]:
    """Claims that let in, but for the changes; None takes one out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "relay", "sub": "mallory", "iat": now, "exp": now + 600, **CLAIMS, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def test_the_same_without_a_flaw_lets_in(door: ApiDoor, http: httpx.Client) -> None:
    for path, bearer in (("/sso/v1", door.issuer.sign(own(sub="honest"))), ("/v1", door.key("ci-honest"))):
        response = http.post(f"{path}/chat/completions", json=CHAT, headers={"authorization": f"Bearer {bearer}"})
        assert response.status_code == 200, response.text


def test_the_api_is_no_way_past_the_edge_for_others(door: ApiDoor) -> None:
    before = len(door.upstream.requests)
    headers = door.local.sign("GET", "/v1/models")
    response = httpx.get(f"{door.local.url}/v1/models", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "edge_required")
    assert len(door.upstream.requests) == before


def wrong_claims() -> list[dict[str, Any]]:
    now = int(time.time())
    no_texts: list[Any] = [[], 0, True, {}, ["ann"], None]
    wrong: dict[str, list[Any]] = {
        "exp": [now - 1, now - 60, 0, -1, "soon", str(now + 600), True, [now + 600], {}, 1.5, None],
        "nbf": [now + 300, now + 10**6, "0", str(now), True, [0], {}],
        "iat": [now + 300, now + 10**6, "0", True, [0]],
        "aud": [
            *("", "Relay", "relay ", " relay", "relay/", "relay2", "rela", "https://relay", "*", "relay,x", "ci", None),
            *([], ["x"], ["relay2", "RELAY"], [["relay"]], {"relay": 1}, 0, True, "relay\n", "relay\x00"),
        ],
        "iss": [
            *(
                ISSUER[:-1],
                f"{ISSUER}/",
                ISSUER.upper(),
                ISSUER.replace("https", "http"),
                f"{ISSUER}#",
                f"{ISSUER}?",
                None,
            ),
            *(
                "https://id.example.com.evil.example/",
                "https://evil.example/",
                "",
                "*",
                " ",
                f" {ISSUER}",
                f"{ISSUER} ",
            ),
            *([ISSUER], {"iss": ISSUER}, 0, True, "https://token.example.com/", "file:///keys", "http://127.0.0.1/"),
        ],
        "department": ["", "Research", "research ", "sales", ["research"], True, 0, {}, "*", None],
        "email": no_texts,
        "sub": no_texts,
        "scope": ["", "relay", "use", "relay/use2", "RELAY/USE", "relay/", "a,relay/use", "relay/use,", None],
    }
    claims = [own(**{name: value}) for name, values in wrong.items() for value in values]
    return [*claims, own(scope=None, scp=["relay", "use"]), own(scope="openid", scp=["relay/use"])]


def test_claims_that_are_not_what_was_asked_for(door: ApiDoor, http: httpx.Client) -> None:
    tokens = [door.issuer.sign(claims) for claims in wrong_claims()]
    assert len(tokens) >= 90
    refused(door, http, bearers(tokens))


def test_algorithms_that_anybody_could_sign_with(door: ApiDoor, http: httpx.Client) -> None:
    public = next(iter(door.issuer.keys.values())).public
    kid = next(iter(door.issuer.keys))
    modulus = public.modulus.to_bytes(public.size)
    secrets = [
        modulus,
        rsa.base64url(modulus).encode(),
        json.dumps({"n": rsa.base64url(modulus)}).encode(),
        b"",
        kid.encode(),
    ]
    tokens = []
    for algorithm in ("HS256", "HS384", "HS512"):
        for secret in secrets:
            signed = signing_input({"alg": algorithm, "typ": "JWT", "kid": kid}, own())
            mac = hmac.new(secret, signed.encode(), hashlib.new(f"sha{algorithm[2:]}").name).digest()
            tokens.append(f"{signed}.{rsa.base64url(mac)}")
    others: list[Any] = [None, 0, True, [], ["RS256"], {}]
    others += ["none", "None", "NONE", "nOnE", "", "null", "RS256 ", "rs256", "ES256", "PS256"]
    for name in others:
        signed = signing_input({"alg": name, "typ": "JWT", "kid": kid}, own())
        genuine = door.issuer.sign(own()).rpartition(".")[2]
        tokens += [f"{signed}.", f"{signed}.{genuine}"]
        tokens.append(door.issuer.sign(own(), alg=name))
    signed = signing_input({"typ": "JWT", "kid": kid}, own())
    tokens.append(f"{signed}.")
    assert len(tokens) >= 60
    refused(door, http, bearers(tokens))


def test_keys_of_others(door: ApiDoor, http: httpx.Client) -> None:
    stranger = Issuer(ISSUER)
    kid = next(iter(door.issuer.keys))
    tokens = [stranger.sign(own(), kid=kid), stranger.sign(own())]
    names: list[Any] = [
        "",
        "x",
        "../keys",
        "/etc/passwd",
        f"{kid} ",
        kid.upper(),
        None,
        0,
        True,
        [kid],
        {"kid": kid},
        "' OR 1=1",
    ]
    tokens += [door.issuer.sign(own(), kid=name) for name in names]
    public = rsa.base64url(next(iter(stranger.keys.values())).public.modulus.to_bytes(256))
    for extra in (
        {"jwk": {"kty": "RSA", "n": public, "e": "AQAB"}},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1"},
    ):
        tokens.append(stranger.sign(own(), kid=kid, **extra))
        tokens.append(stranger.sign(own(), kid="own", **extra))
    refused(door, http, bearers(tokens))


def test_tokens_that_were_changed_after_they_were_signed(door: ApiDoor, http: httpx.Client) -> None:
    header, claims, signature = door.issuer.sign(own()).split(".")
    other = signing_input({}, own(sub="admin")).partition(".")[2]
    tokens = [f"{header}.{other}.{signature}"]
    for place in range(0, len(signature) - 2, 9):
        letter = "A" if signature[place] != "A" else "B"
        tokens.append(f"{header}.{claims}.{signature[:place]}{letter}{signature[place + 1 :]}")
    for place in range(0, len(claims), 11):
        letter = "A" if claims[place] != "A" else "B"
        tokens.append(f"{header}.{claims[:place]}{letter}{claims[place + 1 :]}.{signature}")
    tokens += [
        f"{header}.{claims}", f"{header}.{claims}.", f"{header}.{claims}.{signature}.{signature}", f"{header}..{signature}",
        f".{claims}.{signature}", "..", "...", "a.b.c", f"{header}.{claims}.{signature}AA",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.{signature}!", f"e30.{claims}.{signature}", f"W10.{claims}.{signature}",
        f"{header}.W10.{signature}",
        f"{header}.{claims}.{signature} x", "x" * 7000, "eyJ" * 2000, "null", "{}",
    ]  # fmt: skip
    assert len(tokens) >= 60
    refused(door, http, bearers(tokens))


def test_keys_that_were_never_issued_and_keys_that_hold_no_longer(door: ApiDoor, http: httpx.Client) -> None:
    key = door.key("ci-victim")
    expired, revoked = door.key("ci-expired", seconds=-1), door.key("ci-revoked")
    door.keys.revoke(door.stored(revoked))
    others = [api_key.create() for _ in range(25)]  # well formed: keys of another environment
    refused(door, http, bearers([expired, revoked, *others], "/v1/chat/completions"))
    asked = door.local.api_counters()["authorizer invoked"]
    mistyped = [key[:at] + ("x" if key[at] != "x" else "y") + key[at + 1 :] for at in range(9, len(key))]
    malformed = [
        "sk-relay-",
        key[:-1],
        f"{key}0",
        key.upper(),
        key.replace("-", "_"),
        f"{key},{key}",
        "sk-proj-0123456789",
    ]
    malformed += [key[9:], f"sk-{key}", f"{key} {key}", f"{key};", f'"{key}"', key[::-1], "*", "%2a"]
    refused(door, http, bearers(malformed, "/v1/chat/completions"))
    assert door.local.api_counters()["authorizer invoked"] == asked, "the authorizer is not asked about what is no key"
    refused(door, http, bearers(mistyped, "/v1/chat/completions"))


def test_what_is_denied_is_remembered(door: ApiDoor, http: httpx.Client) -> None:
    unknown = bearers([api_key.create()] * 5, "/v1/models")
    asked = door.local.api_counters()["authorizer invoked"]
    refused(door, http, unknown)
    assert door.local.api_counters()["authorizer invoked"] == asked + 1


def test_bearers_at_the_wrong_place(door: ApiDoor, http: httpx.Client) -> None:
    key, token, path = door.key("ci-place"), door.token(), "/v1/chat/completions"
    requests: list[tuple[str, dict[str, str]]] = [(path, {}), (f"/sso{path}", {})]
    requests += [*bearers([token], path), *bearers([key], f"/sso{path}")]
    for name in ("x-api-key", "api-key", "x-authorization", "proxy-authorization", "cookie", "x-amz-security-token"):
        requests += [(path, {name: f"Bearer {key}"}), (f"/sso{path}", {name: f"Bearer {token}"})]
    requests += [
        (f"{path}?{name}={key}", {}) for name in ("key", "api_key", "access_token", "authorization", "Authorization")
    ]
    for scheme in ("", "Basic ", "Token ", "AWS4-HMAC-SHA256 ", "Bearer:", "Bearer\t", "bearer  "):
        requests.append((path, {"authorization": f"{scheme}{key}"}))
    identities = (
        "x-relay-caller",
        "x-amzn-oidc-identity",
        "x-amzn-oidc-data",
        "x-principal-id",
        "x-forwarded-user",
        "x-user",
    )
    requests += [(path, {name: "key:ci-bot"}) for name in identities]
    requests += [(path, {name: json.dumps({"name": "ci-bot", "keyId": "0" * 16})}) for name in identities]
    refused(door, http, requests)


def test_paths_that_no_method_serves(door: ApiDoor, http: httpx.Client) -> None:
    both = {"authorization": f"Bearer {door.key('ci-paths')}"}
    paths = (
        "/",
        "/v1",
        "/v1/",
        "/V1/models",
        "/v2/models",
        "/relay/v1/models",
        "/sso",
        "/sso/v1",
        "/sso/v1/",
        "/sso/models",
    )
    refused(
        door,
        http,
        [(path, both) for path in (*paths, "/.well-known/openid-configuration", "/ping", "/admin", "/%76%31/models")],
    )


def test_a_subject_that_could_not_be_told_apart_is_refused_by_the_relay(door: ApiDoor, http: httpx.Client) -> None:
    """API Gateway lets any text pass as a claim; the relay takes only what can be counted, logged and shown."""
    before = len(door.upstream.requests)
    for subject in ("", " ", "a b", "a\n", "ä", "\u202e", "a" * 256, "a\x00"):
        headers = {"authorization": f"Bearer {door.issuer.sign(own(sub=subject))}"}
        response = http.post("/sso/v1/chat/completions", json=CHAT, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "no_identity")
    assert len(door.upstream.requests) == before


def test_who_has_no_policy_is_refused_whoever_signed(door: ApiDoor, http: httpx.Client) -> None:
    before = len(door.upstream.requests)
    for name in ("admin", "bot", "c"):  # the environment lets in key:ci-*
        response = http.get("/v1/models", headers={"authorization": f"Bearer {door.key(name)}"})
        assert (response.status_code, response.json()["error"]["code"]) == (403, "caller_not_allowed")
    assert len(door.upstream.requests) == before


def forged() -> list[dict[str, Any]]:
    apis = [{"apiId": "local0api0"}, {"apiId": "local0api0", "stage": "relay"}, {"apiId": "other"}, {}]
    events = [
        {**each, "requestContext": {**each["requestContext"], **api}} for each in (EVENT, token_event()) for api in apis
    ]
    events += [{**event, "httpMethod": "GET", "path": "/v1/models"} for event in events]
    iam = {"iam": {"accountId": "123456789012", "userId": "AIDAX", "userArn": "arn:aws:iam::123456789012:user/x"}}
    for event in list(events):
        events.append({**event, "requestContext": {**event["requestContext"], "authorizer": iam}})
    return events


def test_forged_events_of_direct_invokers(door: ApiDoor) -> None:
    client = boto3.client(
        "lambda",
        endpoint_url=door.local.invoke_url,
        region_name=door.local.region,
        aws_access_key_id=INVOKER.access_key,
        aws_secret_access_key=INVOKER.secret_key,
        aws_session_token=INVOKER.session_token,
        config=Config(retries={"total_max_attempts": 1}),
    )
    before = len(door.upstream.requests)
    events = forged()
    assert len(events) >= 32
    for event in events:
        answer = client.invoke(FunctionName="local", Payload=json.dumps(event))
        assert json.loads(answer["Payload"].read())["errorType"] == "Function.NotAnHttpEvent"
        for name in ("local:api", f"{door.local.function.arn}:api"):
            with pytest.raises(ClientError, match="AccessDenied"):
                client.invoke(FunctionName=name, Payload=json.dumps(event))
    assert len(door.upstream.requests) == before


def test_no_bearer_is_written_down_anywhere(door: ApiDoor, http: httpx.Client) -> None:
    key, token = door.key("ci-scan"), door.token("scan")
    for path, bearer in (("/v1", key), ("/sso/v1", token)):
        for body in (CHAT, {"model": "unknown"}, {}):
            http.post(f"{path}/chat/completions", json=body, headers={"authorization": f"Bearer {bearer}"})
    table = json.dumps(door.limits.store.call("Scan", {"TableName": door.limits.name})["Items"])
    sent = "".join(str(each) for each in door.upstream.requests)
    logs = door.local.logs.text()
    assert "key:ci-scan" in table
    processes = "".join(
        Path(f"/proc/{pid}/{name}").read_text(errors="replace")
        for pid in door.local.pids()
        for name in ("cmdline", "environ")
    )
    for place in (table, sent, logs, processes):
        for secret in (key, key[9:30], token, token[-60:], "sk-planted-openai-key" if place is not sent else key):
            assert secret not in place or place is processes
    assert key not in processes
    assert set(string.hexdigits) >= set(api_key.id_of(key))
