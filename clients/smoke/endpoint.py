"""The endpoint under check: signed, unsigned and strange requests to it, and its streams with the time of each event."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from botocore.credentials import Credentials

from clients.signing import Signer

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MODELS = "/v1/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One server-sent event, or a comment: seconds since the request was sent, its type, its data."""

    at: float
    type: str
    data: bytes = b""

    @property
    def is_comment(self) -> bool:
        return self.type == ":"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A response as it came. `reads` are (seconds since the request was sent, bytes); `broken` is "" for a clean end.

    `headers_at` and `ended_at` count from the same moment.
    """

    status: int
    headers: Mapping[str, str]
    headers_at: float
    reads: Sequence[tuple[float, bytes]]
    ended_at: float
    broken: str = ""

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self.reads)

    @property
    def request_id(self) -> str:
        """Lambda's, as the relay gives it."""
        return self.headers.get("x-request-id", "")

    @property
    def is_event_stream(self) -> bool:
        return self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream")

    def events(self) -> list[Event]:
        """The events and comments in order; each arrived with the read that completed it."""
        return list(_events(self.reads))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is checked, and with what. `stranger` signs for the same place with a secret that is not valid."""

    url: str
    model: str
    http: httpx.Client
    signer: Signer

    @property
    def stranger(self) -> Signer:
        known = self.signer.credentials.get_frozen_credentials()
        wrong = Credentials(known.access_key, "0" * 40, known.token)
        return dataclasses.replace(self.signer, credentials=wrong)

    @property
    def sign_host(self) -> str:
        return self.signer.host or urlsplit(self.url).netloc

    @property
    def is_behind_edge(self) -> bool:
        """Whether requests go to another host than the one that they are signed for."""
        return self.sign_host != urlsplit(self.url).netloc.lower()

    @property
    def direct(self) -> Endpoint:
        """The Function URL itself, past the edge."""
        return dataclasses.replace(self, url=f"{urlsplit(self.url).scheme}://{self.sign_host}")

    def request(
        self,
        body: bytes = b"",
        signer: Signer | None = None,
        path: str = CHAT,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """Build a request; without `signer` it is not signed. A header whose value is "" is left out altogether."""
        url = self.url + path
        given = {"content-type": "application/json"} if method == "POST" else {}
        if signer is not None:
            given |= signer.sign(method, url, body, given.get("content-type", ""))
        given |= {"accept-encoding": "identity", **(headers or {})}
        request = self.http.build_request(method, url, content=body, headers=given)
        for name, text in given.items():
            if not text:
                del request.headers[name]
        return request

    def send(self, request: httpx.Request) -> httpx.Response:
        return self.http.send(request)

    def models(self, signer: Signer | None = None) -> httpx.Response:
        """Ask for the list of models, which costs nothing at OpenAI."""
        return self.send(self.request(b"", signer or self.signer, MODELS, method="GET"))

    def chat(self, content: str = "Count from one to thirty in words, separated by commas.", **extra: Any) -> bytes:
        message = {"role": "user", "content": content}
        return json.dumps({"model": self.model, "messages": [message], **extra}).encode()

    def stream(self, body: bytes, path: str = CHAT, *, leave_after: int = 0) -> Stream:
        """Read a signed request's response. `leave_after` events (0: never) the connection is closed."""
        sent = time.perf_counter()
        response = self.http.send(self.request(body, self.signer, path), stream=True)
        reads: list[tuple[float, bytes]] = []
        headers_at, broken = time.perf_counter() - sent, ""
        try:
            for data in response.iter_raw():
                reads.append((time.perf_counter() - sent, data))
                if leave_after and len([event for event in _events(reads) if not event.is_comment]) >= leave_after:
                    break
        except httpx.HTTPError as error:
            broken = f"{type(error).__name__}: {error}"
        finally:
            response.close()
        return Stream(
            status=response.status_code,
            headers=response.headers,
            headers_at=headers_at,
            reads=reads,
            ended_at=time.perf_counter() - sent,
            broken=broken,
        )


def _events(reads: Sequence[tuple[float, bytes]]) -> Iterator[Event]:
    """A blank line ends an event; a comment is a line of its own."""
    rest, fields = b"", []
    for at, data in reads:
        *whole, rest = (rest + data).split(b"\n")
        for line in (raw.removesuffix(b"\r") for raw in whole):
            if line.startswith(b":"):
                yield Event(at=at, type=":")
            elif line:
                fields.append(line)
            elif fields:
                yield _event(at, fields)
                fields = []


def _event(at: float, lines: Sequence[bytes]) -> Event:
    fields = [line.partition(b":")[::2] for line in lines]
    values = {name: value.strip() for name, value in fields}
    data = b"\n".join(value.strip() for name, value in fields if name == b"data")
    return Event(at=at, type=values.get(b"event", b"").decode(errors="replace"), data=data)


def gaps(events: Sequence[Event]) -> list[float]:
    """Seconds between each two of them."""
    return [later.at - earlier.at for earlier, later in itertools.pairwise(events)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def error_code(response: httpx.Response) -> str:
    """The code of an error in OpenAI's shape, "-" where it has none, "" for any other body."""
    try:
        error = response.json()["error"]
        shaped = set(error) >= {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        return ""
    return str(error["code"] or "-") if shaped else ""


def short(response: httpx.Response) -> str:
    """Status and beginning of the body, for a finding."""
    return f"{response.status_code} {response.text[:80]!r}"
