"""The table of errors: each kind is one row, is used somewhere, and says the same in every form."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from relay import errors
from relay.errors import ErrorKind, RelayError

FOLDER = Path(errors.__file__).parent


def kinds_raised() -> set[str]:
    """The names of all kinds that a module other than the table itself mentions as `ErrorKind.NAME`."""
    return {
        node.attr
        for path in FOLDER.rglob("*.py")
        if path != Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorKind"
    }


def test_every_kind_is_raised_somewhere_and_no_other() -> None:
    assert kinds_raised() == {kind.name for kind in ErrorKind}


def test_no_two_kinds_share_a_row() -> None:
    # An Enum makes members of equal values one and the same, which would log the wrong outcome.
    assert len(ErrorKind) == len(ErrorKind.__members__)


@pytest.mark.parametrize("kind", ErrorKind)
def test_a_row_is_what_openais_clients_understand(kind: ErrorKind) -> None:
    spec = kind.spec
    assert 400 <= spec.status < 600
    assert spec.type in ("invalid_request_error", "api_error", "rate_limit_error", "insufficient_quota")
    assert spec.text.endswith(".")
    assert spec.text.isascii()
    assert (spec.status < 500) or spec.type == "api_error"
    # What the caller did wrong does not get better by itself.
    assert not (spec.retry and spec.status < 429)


@pytest.mark.parametrize("kind", ErrorKind)
def test_the_body_has_openais_shape_on_one_line(kind: ErrorKind) -> None:
    body = RelayError(kind).body()
    assert b"\n" not in body
    assert json.loads(body) == {
        "error": {"message": kind.spec.text, "type": kind.spec.type, "param": None, "code": kind.spec.code}
    }


def test_text_param_and_code_may_be_more_exact_than_the_row() -> None:
    error = RelayError(ErrorKind.BAD_REQUEST, "Too much.", param="n", code="invalid_value")
    assert json.loads(error.body())["error"] == {
        "message": "Too much.",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_value",
    }


@pytest.mark.parametrize("text", ["a\r\nb", "a\0b", "\ud800", "é😀", "\u2028", '"', "x" * 100_000])
def test_any_text_fits_on_one_line_of_utf8(text: str) -> None:
    body = RelayError(ErrorKind.BAD_REQUEST, text, param=text, code=text).body()
    assert not set(body) & set(b"\r\n\0")
    assert json.loads(body.decode())["error"]["message"] == text.replace("\ud800", "?")


def test_the_headers_tell_whether_to_try_again() -> None:
    headers = RelayError(ErrorKind.UPSTREAM_RATE_LIMIT, headers={"retry-after": "5"}).response_headers()
    assert headers == {"content-type": "application/json", "x-should-retry": "true", "retry-after": "5"}
    assert RelayError(ErrorKind.BAD_REQUEST).response_headers()["x-should-retry"] == "false"


def test_what_is_for_the_log_stays_out_of_the_answer() -> None:
    error = RelayError(ErrorKind.UPSTREAM_BROKEN, log="a detail")
    assert "a detail" in str(error)
    assert b"detail" not in error.body()
    assert "detail" not in str(error.response_headers())


def test_the_text_is_not_in_the_exception_itself() -> None:
    # Tracebacks and logs print exceptions, and the text may quote a request.
    assert "quoted" not in str(RelayError(ErrorKind.BAD_REQUEST, "quoted"))
