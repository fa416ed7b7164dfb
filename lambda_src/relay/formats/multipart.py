"""multipart/form-data as clients write it: read tolerantly, and written anew, strictly and with a boundary of its own. Pure.

Two parsers that disagree about one body would see two models in it; so what was validated is what is sent, and only what has
two readings is refused. Source: RFC 7578 (forms), RFC 2046 section 5.1.1 (boundaries), RFC 8187 (filename*).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.models import Json

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# One parameter of a header, its value quoted or not. Source: RFC 9110, section 5.6.6; blanks as clients write them.
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*([A-Za-z*]{1,64})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^";]*)[ \t]*')
# Lists are called "include[]", objects "chunking_strategy[type]".
_NAME = re.compile(rb"[A-Za-z0-9_]{1,256}(?:\[[A-Za-z0-9_]{0,64}\]){0,3}")
# What browsers record is called "audio/webm;codecs=opus".
_MEDIA_TYPE = re.compile(rb"[\w.+-]{1,64}/[\w.+-]{1,64}(?=[ \t]*(;|\Z))")
_MEDIA_PARAMETER = re.compile(rb"[\w.,+-]{1,64}")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# What a text may be in besides UTF-8; clients of Java say ISO-8859-1 of what is ASCII.
_CHARSETS = {b"": "utf-8", b"utf-8": "utf-8", b"utf8": "utf-8", b"us-ascii": "ascii", b"iso-8859-1": "latin-1"}
_MOST_PARTS = 64
# Of one part; what clients write is under 300 bytes, and a file's name may have 255 characters of 12 bytes ("%F0%9F%98%80").
_HEAD_BYTES = 8192


class Part(Frozen):
    """One field. `filename` is None for a plain one."""

    name: str
    value: bytes
    filename: bytes | None = None
    content_type: bytes | None = None


def parse(body: bytes, content_type: str) -> list[Part]:
    """The fields of `body`. Raises RelayError(BAD_REQUEST or UNSUPPORTED_MEDIA)."""
    delimiter = b"\r\n--" + _boundary(content_type)
    # What stands before the first delimiter and behind the last is for nobody. Source: RFC 2046, section 5.1.1.
    _, *pieces = (b"\r\n" + body).split(delimiter, _MOST_PARTS + 1)
    parts: list[Part] = []
    for number, piece in enumerate(pieces, 1):
        if piece.startswith(b"--") and piece[2:].lstrip(b" \t")[:1] in (b"", b"\r", b"\n"):
            if not parts or number < len(pieces):
                raise _bad("it has no field, or goes on behind its last boundary")
            return parts
        line, end, part = piece.partition(b"\r\n")
        if line.strip(b" \t") or not end:
            raise _bad("a boundary is not on a line of its own")
        parts.append(_part(part))
    raise _bad(f"its last boundary is missing, or it has more than {_MOST_PARTS} fields")


def text_fields(parts: list[Part]) -> dict[str, str]:
    """The plain fields by name; lists and objects (`name[...]`) are left out. Raises when a plain one comes twice."""
    fields: dict[str, str] = {}
    structured = {part.name.partition("[")[0] for part in parts if "[" in part.name}
    for part in parts:
        if "[" in part.name:
            continue
        if part.name in structured:
            # Some readers let the list replace the field.
            raise _bad(f"the field {part.name!r} appears as a list too")
        if part.name in fields:
            raise _bad(f"the field {part.name!r} appears twice")
        if part.filename is None:
            try:
                fields[part.name] = part.value.decode()
            except UnicodeDecodeError:
                raise _bad(f"the field {part.name!r} is not valid UTF-8") from None
        else:
            fields[part.name] = ""
    return fields


def serialise(parts: Sequence[Part], fields: Mapping[str, Json]) -> tuple[bytes, str]:
    """The body and its content type, with `fields` in place of the plain ones of the same name."""
    written = [
        _head(part) + str(fields.get(part.name, "")).encode() if _plain(part) else _head(part) + part.value
        for part in parts
    ]
    # Depends on the content, so that no part can hold it but by breaking SHA-256; and the same input stays the same.
    boundary = "relay-" + hashlib.sha256(b"".join(written)).hexdigest()[:40]
    delimiter = b"--" + boundary.encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in written) + delimiter + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary}"


def _plain(part: Part) -> bool:
    return part.filename is None and "[" not in part.name


def _head(part: Part) -> bytes:
    lines = b'Content-Disposition: form-data; name="' + part.name.encode() + b'"'
    if part.filename is not None:
        # As browsers write it. Source: html.spec.whatwg.org, multipart/form-data encoding algorithm.
        lines += b'; filename="' + part.filename.replace(b'"', b"%22") + b'"'
    if part.content_type is not None:
        lines += b"\r\nContent-Type: " + part.content_type
    return lines + b"\r\n\r\n"


def _boundary(content_type: str) -> bytes:
    media, semicolon, rest = content_type.strip().partition(";")
    found = (
        _parameters((semicolon + rest).encode(errors="replace"))
        if media.strip().lower() == "multipart/form-data"
        else None
    )
    boundary = _unquoted(found.get(b"boundary", b"")) if found else b""
    if not _BOUNDARY.fullmatch(boundary):
        raise RelayError(ErrorKind.UNSUPPORTED_MEDIA, "This path takes multipart/form-data with a boundary.")
    return boundary


def _parameters(text: bytes) -> dict[bytes, bytes] | None:
    """The parameters behind a header's value, names in lower case; None for what is none or says one twice."""
    parameters: dict[bytes, bytes] = {}
    place = 0
    while place < len(text.rstrip(b"; \t")):
        match = _PARAMETER.match(text, place)
        if match is None or match[1].lower() in parameters:
            return None
        parameters[match[1].lower()] = match[2].strip()
        place = match.end()
    return parameters


def _unquoted(value: bytes) -> bytes:
    """A parameter's text. A backslash escapes a quote or a backslash; any other is one of a Windows path."""
    if not value.startswith(b'"'):
        return value
    return re.sub(rb'\\(["\\])', rb"\1", value[1:-1])


def _part(raw: bytes) -> Part:
    head, separator, value = raw.partition(b"\r\n\r\n")
    if not separator or len(head) > _HEAD_BYTES:
        raise _bad("a field has no headers")
    headers = _headers(head)
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise _bad("a field has a content-transfer-encoding; send it as it is")
    disposition, semicolon, rest = headers.get(b"content-disposition", b"").partition(b";")
    parameters = _parameters(semicolon + rest) if disposition.strip().lower() == b"form-data" else None
    name = _unquoted(parameters.get(b"name", b"")) if parameters else b""
    if not parameters or b"name*" in parameters or not _NAME.fullmatch(name):
        raise _bad("a field's content-disposition is not form-data with one name of letters, digits and _")
    media, charset = _media_type(headers.get(b"content-type"))
    filename = _filename(parameters)
    if filename is None and media is not None and media.startswith(b"text/"):
        media, value = None, _in_utf8(value, charset, name)
    return Part(name=name.decode(), value=value, filename=filename, content_type=media)


def _headers(head: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    # Long lines may be folded. Source: RFC 5322, section 2.2.3.
    for line in re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n"):
        name, colon, text = line.partition(b":")
        if (
            not colon
            or not name.strip()
            or name != name.strip()
            or name.lower() in headers
            or _CONTROL.search(text.strip())
        ):
            raise _bad("a field's headers cannot be read")
        headers[name.lower()] = text.strip()
    return headers


def _filename(parameters: Mapping[bytes, bytes]) -> bytes | None:
    """The file's name, without folders of Windows; the extended form counts where both are given (RFC 6266, section 4.3)."""
    plain, extended = parameters.get(b"filename"), parameters.get(b"filename*")
    if extended is not None:
        charset, _, text = extended.partition(b"'")
        encoding = _CHARSETS.get(charset.lower(), "") if charset else ""
        try:
            name = unquote_to_bytes(text.partition(b"'")[2]).decode(encoding or "ascii").encode()
        except UnicodeDecodeError:
            raise _bad("a field's filename* cannot be read") from None
    elif plain is not None:
        name = _unquoted(plain)
    else:
        return None
    if _CONTROL.search(name):
        raise _bad("a file's name holds control characters")
    return name.rpartition(b"\\")[2]


def _media_type(header: bytes | None) -> tuple[bytes | None, bytes]:
    """A field's content type as it is written again, and its charset in lower case."""
    if header is None:
        return None, b""
    media = _MEDIA_TYPE.match(header)
    parameters = _parameters(header[media.end() :]) if media else None
    if media is None or parameters is None or media[0].lower().startswith(b"multipart/"):
        raise _bad("a field's content type cannot be read")
    texts = {name: _unquoted(value) for name, value in parameters.items()}
    kept = [b"; " + name + b"=" + text for name, text in texts.items() if _MEDIA_PARAMETER.fullmatch(text)]
    return media[0] + b"".join(kept), texts.get(b"charset", b"").lower()


def _in_utf8(value: bytes, charset: bytes, name: bytes) -> bytes:
    try:
        return value.decode(_CHARSETS[charset]).encode()
    except (KeyError, UnicodeDecodeError):
        raise _bad(
            f"the field {name.decode()!r} is not in the charset that it names, or in none of UTF-8, ASCII and Latin-1"
        ) from None


def _bad(why: str) -> RelayError:
    return RelayError(ErrorKind.BAD_REQUEST, f"The form is not valid: {why}.", code="invalid_form")
