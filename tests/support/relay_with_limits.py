"""The real bundle with limits on: the local Lambda around it, a DynamoDB stand-in behind it, an upstream that counts."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from relay.accounts.account import Account, UsageRecord, account_of, record_of
from relay.aws.update_expression import decode
from relay.ledger import items

from cdk_app.bundle import target_python
from emulator.fakes.aws import AwsStandIn
from emulator.fakes.raw_upstream import (
    EVENT_STREAM,
    LAST_CHUNK,
    RawUpstream,
    Recorded,
    Send,
    Step,
    chunk,
    head,
    json_answer,
)
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from emulator.signing.identities import Identity, local_role_session
from tests.support import dynamo
from tests.support.doubles.store_proxy import StoreProxy

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an answer; `broken`: it did not come to its end."""

    status_code: int
    headers: httpx.Headers
    content: bytes
    broken: bool

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def exchange(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    content, broken = bytearray(), False
    with httpx.Client(timeout=30) as client, client.stream(method, url, content=body, headers=headers) as response:
        try:
            for data in response.iter_raw():
                content += data
        except httpx.RemoteProtocolError:
            broken = True
    return Answer(response.status_code, response.headers, bytes(content), broken)


class Setup:
    """Everything of one test file: start it once, give each test a table of its own."""

    def __init__(
        self, local: LocalLambda, upstream: RawUpstream, proxy: StoreProxy, aws: AwsStandIn, table: str
    ) -> None:
        self.local = local
        self.upstream = upstream
        self.proxy = proxy
        self.aws = aws
        self.table = table

    def send(
        self,
        *,
        identity: Identity | None = None,
        path: str = CHAT,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        asked = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}], "stream": True, **body}
        data = json.dumps(asked).encode()
        given = {"content-type": "application/json", **(headers or {})}
        signed = self.local.sign("POST", path, body=data, headers=given, identity=identity)
        return exchange("POST", self.local.url + path, data, signed)

    def over(self, response: Answer) -> Answer:
        """`response`, once the relay has written its line about it, which it does after settling."""
        id = response.headers["x-request-id"]
        assert self.local.logs.wait_for(
            lambda line: f'"requestId":"{id}"' in line.text and '"event":"request"' in line.text
        )
        return response

    def get(self, path: str, identity: Identity | None = None) -> Answer:
        signed = self.local.sign("GET", path, identity=identity)
        return exchange("GET", self.local.url + path, b"", signed)

    def caller(self, identity: Identity | None = None) -> str:
        who = identity or self.local.identities[0]
        return f"{who.account}/{who.unique_id.partition(':')[0]}"

    def account(self, identity: Identity | None = None) -> Account:
        key = items.in_json(items.account_key(self.caller(identity)))
        return account_of(
            self.aws.call("dynamodb", "GetItem", TableName=self.table, Key=key, ConsistentRead=True).get("Item")
        )

    def group_account(self, name: str) -> Account:
        key = items.in_json(items.group_account_key(name))
        return account_of(
            self.aws.call("dynamodb", "GetItem", TableName=self.table, Key=key, ConsistentRead=True).get("Item")
        )

    def record(self, response: Answer) -> UsageRecord:
        """The one record of the request that was answered with `response`."""
        (found,) = [record for record in self.records() if record.id == response.headers["x-request-id"]]
        return found

    def records(self) -> list[UsageRecord]:
        found = []
        for item in dynamo.items(self.aws.url, self.table, self.aws.operator):
            fields = {name: decode(value) for name, value in item.items()}
            if fields["pk"].startswith("usage#") and not fields["sk"].startswith("refused#"):
                found.append(record_of(fields["sk"].partition("#")[2], fields))
        return found


def roles(*names: str) -> dict[str, Identity]:
    """Sessions of roles of these names, each with a key and an id of its own."""
    return {name: local_role_session(name, number=number) for number, name in enumerate(names, 1)}


class Counter:
    """An upstream script that reports usage and keeps the sum of what it reported, as OpenAI's bill would."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reported: dict[str, tuple[int, int]] = {}

    def __call__(self, request: Recorded) -> list[Step]:
        body = json.loads(request.body)
        prompt, completion = len(body["messages"][0]["content"]), 7
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        with self.lock:
            self.reported[request.header("x-client-request-id") or uuid.uuid4().hex] = (prompt, completion)
        return stream(usage) if body.get("stream") else whole(usage)


def _event(choices: list[Any], **more: Any) -> bytes:
    body = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def words(*text: str) -> list[bytes]:
    return [_event([{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in text]


def stream(usage: Mapping[str, int], *text: str) -> list[Step]:
    """A whole streamed answer that says what it used."""
    done = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    events = [*words(*(text or ("Hello", " there"))), done, _event([], usage=usage), b"data: [DONE]\n\n"]
    return [Send(head(headers=EVENT_STREAM)), *(Send(chunk(event)) for event in events), Send(LAST_CHUNK)]


def whole(usage: Mapping[str, int]) -> list[Step]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    return json_answer(
        200,
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-5-mini",
            "choices": [choice],
            "usage": usage,
        },
    )


@contextlib.contextmanager
def running(
    bundle: Path,
    policies: Mapping[str, Any],
    *,
    identities: Sequence[Identity] = (),
    timeout: float = 10,
    concurrency: int = 2,
    **more: str,
) -> Iterator[Setup]:
    """The bundle in the local Lambda, with `policies` and a table of its own."""
    with AwsStandIn() as aws, RawUpstream() as upstream, StoreProxy(aws.url) as proxy:
        table = aws.create_table(dynamo.SHAPE)
        environment = {
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": aws.put_secret("sk-" + "x" * 40),
            **aws.environment(),
            "AWS_ENDPOINT_URL_DYNAMODB": proxy.url,
            "TABLE_NAME": table,
            "CALLER_POLICIES": json.dumps(policies),
            **more,
        }
        function = Function.of_bundle(
            bundle, python=target_python.find(), environment=environment, timeout=timeout, concurrency=concurrency
        )
        with LocalLambda(function, identities=identities) as local:
            upstream.answer_with(Counter())
            yield Setup(local, upstream, proxy, aws, table)
