"""The signing `fetch` under OpenAI's JavaScript SDK."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from clients.signing import ADVICE, advice
from tests.support.child_process import child
from tests.support.signed_door import REGION, SIGNED_HEADERS, Door, refusal

ROOT = Path(__file__).parent.parent.parent
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")

NODE_SDK = """
import OpenAI from "openai";
import { signedFetch } from "./clients/signed_fetch.mjs";
const [url, region, signHost] = process.argv.slice(1);
const fetch = signedFetch({ region, signHost });
const relay = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, fetch });
const messages = [{ role: "user", content: "é" }];
const events = await relay.chat.completions.create({ model: "m", stream: true, messages });
for await (const event of events) console.log(event.choices[0].delta.content);
"""


@needs_node
@pytest.mark.parametrize("host", ["", f"abc.lambda-url.{REGION}.on.aws"])
def test_javascript_sdk_streams_event_by_event(door: Door, host: str) -> None:
    door.host = host
    command = ["node", "--input-type=module", "-e", NODE_SDK, door.url, REGION, *([host] if host else [])]
    with child(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        door.go.release()
        seen = []
        for line in process.stdout:
            seen.append(line.strip())
            door.go.release()
    assert seen == ["one", "two", "three", "four"]
    signed = door.requests[0].headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert set(signed.split(";")) <= SIGNED_HEADERS


def run(script: str, *arguments: str, **settings: str | None) -> str:
    """What a module prints. A setting of None is taken out of the environment."""
    environ = {name: text for name, text in {**os.environ, **settings}.items() if text is not None}
    command = ["node", "--input-type=module", "-e", PRELUDE + script, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


PRELUDE = """
import OpenAI from "openai";
import { advice, endpoint, signedFetch } from "./clients/signed_fetch.mjs";
const [url, ...rest] = process.argv.slice(1);
let tries = 0;
const counted = (...given) => { tries += 1; return fetch(...given); };
const ask = async (options, baseURL = `${url}/v1`) => {
  const relay = new OpenAI({ baseURL, apiKey: "none", fetch: signedFetch({ url, fetch: counted, ...options }) });
  try { await relay.models.list(); } catch (error) { console.log(tries, error.status, error.code, error.message); }
};
"""
KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@needs_node
def test_missing_credentials_are_told_at_once() -> None:
    told = run("await ask({});", "http://127.0.0.1:1", **KEYS)
    assert told.startswith("0 401 aws_credentials 401 The request was not sent: There are no AWS credentials")
    assert "@aws-sdk/credential-providers" in told


@needs_node
@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (
            "async () => { throw new Error('Token is expired. Run aws sso login.'); }",
            "Token is expired. Run aws sso login.",
        ),
        ("() => { throw new Error('at once'); }", "at once"),
        ("async () => undefined", "no accessKeyId"),
        ("async () => ({ accessKeyId: 'AKIA' })", "no secretAccessKey"),
    ],
)
def test_credentials_that_fail_are_told_as_themselves(provider: str, message: str) -> None:
    told = run(f"await ask({{ credentials: {provider} }});", "http://127.0.0.1:1")
    assert told.startswith("0 401 aws_credentials 401 The request was not sent: ")
    assert message in told


@needs_node
def test_refusals_by_aws_are_told_with_advice(door: Door) -> None:
    told = run("await ask({ region: 'eu-west-9' });", door.url)
    assert told.startswith("1 403 aws 403 AWS: Forbidden: ")
    assert "lambda:InvokeFunctionUrl" in told


@needs_node
def test_advice_is_the_same_as_in_python() -> None:
    messages = [part.upper() for parts, _ in ADVICE for part in parts] + ["", "Internal", "Service Unavailable"]
    told = run("console.log(JSON.stringify(JSON.parse(rest[0]).map(advice)));", "", json.dumps(messages))
    assert json.loads(told) == [advice(message) for message in messages]


@needs_node
@pytest.mark.parametrize("end", ["/v1", "/v1/", "//v1", "/v1/v1"])
def test_a_base_url_is_forgiven(door: Door, end: str) -> None:
    run("await ask({}, url + rest[0]);", door.url, end)
    assert [request.path for request in door.requests] == ["/v1/models"]
    assert refusal(door.requests[0], b"", door.requests[0].host) == ""


@needs_node
def test_endpoint_is_found_in_every_way_of_writing_it() -> None:
    script = "for (const end of ['', '/', '/v1', '/v1/', '//']) console.log(endpoint(url + end));"
    assert set(run(script, "https://h.example").split()) == {"https://h.example/v1"}


@needs_node
def test_what_cannot_work_is_told_when_it_is_built() -> None:
    script = "for (const make of [() => signedFetch(), () => signedFetch({ url: 'foo' }), () => endpoint('')])"
    script += "try { make(); } catch (error) { console.log(error.message); }"
    told = run(script, AWS_REGION=None, AWS_DEFAULT_REGION=None).splitlines()
    assert told == [
        "There is no AWS region: give `region`, or `url` with the Function URL, or set AWS_REGION.",
        "The URL is 'foo'; allowed: one with a scheme, such as https://abc.lambda-url.eu-central-1.on.aws",
        "The URL is ''; allowed: one with a scheme, such as https://abc.lambda-url.eu-central-1.on.aws",
    ]


@needs_node
@pytest.mark.parametrize(
    "options",
    [
        {"url": "https://abc.lambda-url.ap-south-1.on.aws/"},
        {"url": "https://d1.cloudfront.net", "signHost": "abc.lambda-url.ap-south-1.on.aws"},
        {"url": "https://d1.cloudfront.net", "signHost": "https://abc.lambda-url.ap-south-1.on.aws/"},
        {"url": "https://abc.lambda-url.eu-west-1.on.aws", "region": "ap-south-1"},
    ],
)
def test_region_is_read_from_the_function_url(options: dict[str, str]) -> None:
    script = """
    const fetch = async (_, init) => { console.log(init.headers.get("authorization")); return new Response("{}"); };
    const options = JSON.parse(rest[0]);
    await signedFetch({ ...options, fetch })(options.url);
    """
    assert "/ap-south-1/lambda/aws4_request" in run(script, "", json.dumps(options))


@needs_node
def test_a_signal_inside_a_request_is_heard(door: Door) -> None:
    script = """
    const controller = new AbortController();
    const body = JSON.stringify({ model: "m", stream: true });
    const request = new Request(`${url}/v1/chat/completions`, { method: "POST", body, signal: controller.signal });
    const response = await signedFetch({ url })(request);
    console.log(response.status);
    controller.abort();
    await response.text().catch((error) => console.log(error.name));
    """
    assert run(script, door.url).split() == ["200", "AbortError"]


def test_nothing_of_node_is_needed() -> None:
    lines = ROOT.joinpath("clients", "signed_fetch.mjs").read_text().splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("//", "*", "/*")))
    assert re.findall(r"\b(?:Buffer|require|__dirname|setImmediate)\b|\bnode:", code) == []
    # Elsewhere `process` is not defined, so that its bare name would throw.
    assert code.count("process") == code.count("globalThis.process?.")
