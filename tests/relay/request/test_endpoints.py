"""The table of endpoints: exactly these paths, and nothing of a caller's in what is asked upstream."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.request import endpoints

SERVED = {
    ("POST", "/v1/chat/completions"): "/chat/completions",
    ("POST", "/v1/responses"): "/responses",
    ("POST", "/v1/responses/input_tokens"): "/responses/input_tokens",
    ("POST", "/v1/responses/compact"): "/responses/compact",
    ("POST", "/v1/embeddings"): "/embeddings",
    ("POST", "/v1/moderations"): "/moderations",
    ("POST", "/v1/images/generations"): "/images/generations",
    ("POST", "/v1/images/edits"): "/images/edits",
    ("POST", "/v1/audio/speech"): "/audio/speech",
    ("POST", "/v1/audio/transcriptions"): "/audio/transcriptions",
    ("GET", "/v1/models"): "/models",
    ("GET", "/v1/models/gpt-5"): "/models",
    ("GET", "/v1/usage"): "",
}


def refused(method: str, path: str, headers: dict[str, str] | None = None) -> RelayError:
    with pytest.raises(RelayError) as caught:
        endpoints.match(method, path, headers or {})
    return caught.value


@pytest.mark.parametrize(("asked", "upstream"), SERVED.items())
def test_what_is_served_goes_to_a_fixed_path(asked: tuple[str, str], upstream: str) -> None:
    endpoint, _ = endpoints.match(*asked, {})
    assert endpoint.upstream == upstream


def test_the_table_holds_nothing_else() -> None:
    assert len(endpoints.TABLE) == len(SERVED)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "post", "Post", "POST ", "", "\0"]
)
@pytest.mark.parametrize("path", [path for method, path in SERVED if method == "POST"])
def test_other_methods_are_told_which_one_is_taken(method: str, path: str) -> None:
    if (method, path) == ("GET", "/v1/responses"):
        return  # a WebSocket's handshake, below
    error = refused(method, path)
    assert error.kind is ErrorKind.METHOD_NOT_ALLOWED
    assert error.response_headers()["allow"] == "POST"


@pytest.mark.parametrize("method", ["POST", "DELETE", "get"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-5"])
def test_models_are_only_read(method: str, path: str) -> None:
    assert refused(method, path).response_headers()["allow"] == "GET"


UNKNOWN = """
/ /v1 /v1/ /v2/models /v1/models/ /v1/models// /v1/models/a/b /v1/models/gpt-5/ v1/models //v1/models
/v1//models /v1/./models /v1/../v1/models /v1/%6dodels /v1/models%2fgpt-5 /V1/models /v1/models;a /v1/models?a
/v1/models#a /v1/modelsx \\v1\\models @x/v1/models http://x/v1/models /v1/realtimex /v1/responses/wsx
/v1/responses/ /v1/responses/resp_1 /v1/chat /v1/{id}
"""


@pytest.mark.parametrize(
    "path",
    ["", "/v1/\ud800", *UNKNOWN.split()],
)
def test_every_other_path_is_unknown(path: str) -> None:
    assert refused("GET", path).kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/realtime/", "/v1/realtime/client_secrets", "/v1/responses/ws"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_realtime_is_told_why_not(method: str, path: str) -> None:
    assert refused(method, path).kind is ErrorKind.NO_WEBSOCKETS


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/models", "/v1/other", "/"])
@pytest.mark.parametrize(
    "headers",
    [
        {"upgrade": "websocket"},
        {"upgrade": "h2c, WebSocket"},
        {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"},
    ],
    ids=["upgrade", "one of two", "upgrade taken off"],
)
def test_a_websocket_is_told_426_whatever_a_door_left_of_its_handshake(path: str, headers: dict[str, str]) -> None:
    error = refused("GET", path, headers)
    assert error.kind is ErrorKind.NO_WEBSOCKETS
    assert error.kind.spec.status == 426
    assert json.loads(error.body())["error"]["code"] == "websockets_not_supported"
    assert error.response_headers()["x-should-retry"] == "false"


def test_a_handshake_is_known_by_method_and_path_alone() -> None:
    assert refused("GET", "/v1/responses").kind is ErrorKind.NO_WEBSOCKETS


@pytest.mark.parametrize("value", ["h2c", "TLS/1.2, HTTP/1.1", ""])
def test_other_upgrades_are_ignored(value: str) -> None:
    assert endpoints.match("GET", "/v1/models", {"upgrade": value})[0] is endpoints.MODELS


@pytest.mark.parametrize(
    ("segment", "id"),
    [
        ("gpt-5", "gpt-5"),
        ("ft:gpt-5:org::id", "ft:gpt-5:org::id"),
        ("ft%3Agpt-5", "ft:gpt-5"),
        ("a%2Fb", "a/b"),
        ("%2e%2e", ".."),
        ("..", ".."),
        ("%zz", "%zz"),
        ("%ff", "\ufffd"),
        ("%00", "\0"),
        ("x" * 65_536, "x" * 65_536),
    ],
)
def test_the_id_of_a_model_is_decoded_and_goes_nowhere(segment: str, id: str) -> None:
    endpoint, found = endpoints.match("GET", f"/v1/models/{segment}", {})
    assert (found, endpoint.upstream) == (id, "/models")


@given(st.text(), st.text())
def test_any_method_and_path_is_served_or_refused(method: str, path: str) -> None:
    assert refused(method, path).kind in (ErrorKind.NOT_FOUND, ErrorKind.NO_WEBSOCKETS, ErrorKind.METHOD_NOT_ALLOWED)


def streams(path: str, fields: dict[str, Any]) -> bool:
    return endpoints.match("POST", path, {})[0].streams(fields)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/images/generations"])
def test_json_streams_when_stream_is_true_and_by_nothing_else(path: str) -> None:
    assert streams(path, {"stream": True})
    for fields in ({}, {"stream": False}, {"stream": None}, {"stream": 1}, {"stream": "true"}, {"stream": [True]}):
        assert not streams(path, fields)
    assert not streams(path, {"stream_format": "sse"})


def test_speech_streams_by_its_own_field_only() -> None:
    assert streams("/v1/audio/speech", {"stream_format": "sse"})
    assert not streams("/v1/audio/speech", {"stream_format": "audio", "stream": True})


def test_a_form_streams_by_a_word() -> None:
    assert streams("/v1/audio/transcriptions", {"stream": "true"})
    assert not streams("/v1/audio/transcriptions", {"stream": "false"})
    assert not streams("/v1/audio/transcriptions", {"stream": True})


def test_edits_of_pictures_stream_by_a_flag_or_by_the_word_of_a_form() -> None:
    assert streams("/v1/images/edits", {"stream": True})
    assert streams("/v1/images/edits", {"stream": "true"})
    for value in (False, "false", 1, None, "True"):
        assert not streams("/v1/images/edits", {"stream": value})


@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/v1/moderations", "/v1/responses/input_tokens", "/v1/responses/compact"]
)
def test_what_has_no_stream_never_streams(path: str) -> None:
    assert not streams(path, {"stream": True, "stream_format": "sse"})


def test_an_endpoint_without_a_bound_does_not_construct() -> None:
    with pytest.raises(TypeError, match="bound"):
        endpoints.Endpoint(method="POST", path="/v1/new", upstream="/new")  # type: ignore[call-arg]


def test_no_other_module_of_the_relay_names_a_path_of_the_api() -> None:
    root = Path(endpoints.__file__).parents[1]
    naming = [
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/v1/")
        if not node.value.endswith("{proxy+}")  # every path, as a door takes it
    ]
    assert set(naming) == {"endpoints.py"}
