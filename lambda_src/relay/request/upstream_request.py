"""From a caller's request to what may be sent to OpenAI: parsed strictly, checked, and built anew. Pure.

Nothing is copied: headers and path are the relay's own, and the body is written from what was validated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.errors import ErrorKind, RelayError
from relay.formats import strict_json
from relay.limits.cost_bound import Bound
from relay.limits.sent_body import Contents, Sent
from relay.models import Caller, Json, Request
from relay.policies.policy import Policy
from relay.pricing.prices import Price
from relay.request import contents, endpoints, media
from relay.request.endpoints import Endpoint
from relay.request.policy import RequestPolicy

if TYPE_CHECKING:
    from relay.formats import multipart

USER_AGENT = "openai-lambda-relay"
# A content coding that is named in a message: gzip, zstd, br, deflate, x-gzip (RFC 9110, section 8.4.1).
_CODING = re.compile(r"[a-z0-9-]{1,20}")


class UpstreamRequest:
    """One request on its way to OpenAI. `fields` is what the body says; `bound` still narrows it before it is sent.

    `models` are all that the body names, the one that generates first; `choices` is how many responses are asked for.
    `output_cap` is the environment's, in tokens. `added_usage`: the relay has asked for usage in the stream, the caller
    has not. `as_text`: the caller wants the bare text of a stream.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        id: str = "",
        fields: dict[str, Json],
        parts: Sequence[multipart.Part] = (),
        contents: Contents,
        output_cap: int,
    ) -> None:
        self.endpoint = endpoint
        self.id = id
        self.fields = fields
        self.parts = parts
        self.contents = contents
        self.output_cap = output_cap
        self.models = tuple(contents.models)
        choices = fields.get("n")
        self.choices = choices if isinstance(choices, int) else 1
        self._written: tuple[bytes, str] | None = None
        self.wants_stream = False
        self.added_usage = False
        self.as_text = False

    def bound(self, policy: Policy, price: Price | None) -> Bound:
        """The most that this request can cost, once it is narrowed to a caller's `policy`: the body that `body` gives from
        here on is the one that was bounded. Raises cost_bound.UnboundedError."""
        entry = self.endpoint.bound
        self.fields.update(entry.changes(self.fields, policy, price, self.output_cap))
        self._written = self._write()
        return entry.of(Sent(fields=self.fields, contents=self.contents, body=self._written[0]), policy, price)

    def body(self) -> tuple[bytes, str]:
        """The bytes to send and their content type."""
        return self._written or self._write()

    def _write(self) -> tuple[bytes, str]:
        if self.endpoint.body == "none":
            return b"", ""
        if self.parts:
            from relay.formats import multipart

            return multipart.serialise(self.parts, self.fields)
        return strict_json.serialise(self.fields), "application/json"

    def headers(self, *, key: str, content_type: str, request_id: str) -> dict[str, str]:
        """All headers of the request, with `key` as the credential."""
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "text/event-stream" if self.wants_stream else "*/*",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
            # OpenAI keeps it beside its own id, so that a person can find one request in both logs.
            "x-client-request-id": request_id,
        }
        return headers | ({"content-type": content_type} if content_type else {})


def prepare(request: Request, policy: RequestPolicy, *, max_body_bytes: int, identifier: str) -> UpstreamRequest:
    """Checks `request` against the table of endpoints and the environment's policy. Raises RelayError.

    `identifier` stands for the caller at OpenAI where the caller has not named its own user.
    """
    endpoint, id = endpoints.match(request.method, request.path, request.headers)
    if endpoint.body == "none":
        return UpstreamRequest(endpoint=endpoint, id=id, fields={}, contents=Contents(), output_cap=0)
    _check_encoding(request.headers.get("content-encoding", ""))
    if len(request.body) > max_body_bytes:
        raise RelayError(ErrorKind.TOO_LARGE, f"The body is larger than the {max_body_bytes} bytes that are allowed.")
    fields, parts = _parsed(endpoint, request)
    asked_for_usage = _asks_for_usage(fields)
    endpoint.rules(fields, policy)
    if endpoint.caller_id and not fields.get("safety_identifier"):
        fields["safety_identifier"] = identifier
    found = contents.inspect(fields, policy, endpoint.fields)
    if parts:
        media.weigh_form(parts, endpoint.fields, found)
    upstream = UpstreamRequest(
        endpoint=endpoint, fields=fields, parts=parts, contents=found, output_cap=policy.max_output_tokens
    )
    upstream.added_usage = _asks_for_usage(fields) and not asked_for_usage
    upstream.wants_stream = endpoint.streams(fields)
    upstream.as_text = upstream.wants_stream and _accepts_text(request)
    return upstream


def caller_identifier(caller: Caller, key: str) -> str:
    """A stable name for `caller` that does not give away who it is: a keyed hash, so it cannot be guessed backwards."""
    # BLAKE2 takes keys of up to 64 bytes; what makes a secret's ARN hard to guess is its end.
    secret = hashlib.blake2b(key.encode()).digest()
    return hashlib.blake2b(caller.key.encode(), key=secret, digest_size=16).hexdigest()


def _check_encoding(header: str) -> None:
    """Refuses a compressed body: what is judged has to be the bytes that came, within their limit of size."""
    coding = next((name for name in map(str.strip, header.lower().split(",")) if name not in ("", "identity")), "")
    if coding:
        name = f"content-encoding {coding}" if _CODING.fullmatch(coding) else "this content-encoding"
        text = f"A request body with {name} is not accepted. Send it uncompressed, without the content-encoding header."
        raise RelayError(ErrorKind.UNSUPPORTED_MEDIA, text, param="content-encoding")


def _parsed(endpoint: Endpoint, request: Request) -> tuple[dict[str, Json], Sequence[multipart.Part]]:
    content_type = request.headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    if endpoint.body == "form" or (endpoint.body == "either" and media.startswith("multipart/")):
        # Not above: its patterns take a millisecond to compile, and most requests have no form.
        from relay.formats import multipart

        parts = multipart.parse(request.body, content_type)
        return dict(multipart.text_fields(parts)), parts
    # curl's -d says "form" for what is JSON; a body of another kind is refused by the parser anyway.
    if media.startswith("multipart/"):
        raise RelayError(ErrorKind.UNSUPPORTED_MEDIA, "This path takes application/json.")
    return strict_json.parse(request.body), ()


def _asks_for_usage(fields: dict[str, Json]) -> bool:
    options = fields.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _accepts_text(request: Request) -> bool:
    return request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip().lower() == "text/plain"
