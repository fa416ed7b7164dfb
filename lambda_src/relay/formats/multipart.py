"""multipart/form-data as the relay accepts it: parsed strictly, and written anew with a boundary of its own. Pure.

Two parsers that disagree about one body would see two models in it; so what was validated is what is sent.
Source: RFC 7578, and RFC 2046 section 5.1.1 for the boundaries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.models import Json

_BOUNDARY = re.compile(r'multipart/form-data\s*;\s*boundary=("?)([0-9A-Za-z\'()+_,./:=?-]{1,70})\1\s*', re.IGNORECASE)
# Lists are called "include[]", objects "chunking_strategy[type]". No backslash in a file's name: some readers take it
# for an escape, others do not.
_DISPOSITION = re.compile(
    rb'form-data; name="([A-Za-z0-9_]{1,64}(?:\[[A-Za-z0-9_]{0,32}\]){0,3})"(?:; filename="([^"\\\x00-\x1f\x7f]{0,255})")?',
    re.IGNORECASE,
)
# What browsers record is called "audio/webm;codecs=opus".
_MEDIA_TYPE = re.compile(rb'[\w.+-]{1,64}/[\w.+-]{1,64}(?:; ?[\w-]{1,32}="?[\w.,+-]{1,64}"?){0,3}')
_MOST_PARTS = 64
# Of one part; what clients write is under 300 bytes.
_HEAD_BYTES = 2048


class Part(Frozen):
    """One field. `filename` is None for a plain one."""

    name: str
    value: bytes
    filename: bytes | None = None
    content_type: bytes | None = None


def parse(body: bytes, content_type: str) -> list[Part]:
    """The fields of `body`. Raises RelayError(BAD_REQUEST or UNSUPPORTED_MEDIA)."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise RelayError(ErrorKind.UNSUPPORTED_MEDIA, "This path takes multipart/form-data with a boundary.")
    delimiter = b"\r\n--" + found[2].encode()
    head, *raw = (b"\r\n" + body).split(delimiter, _MOST_PARTS + 1)
    if head or len(raw) < 2 or len(raw) > _MOST_PARTS + 1 or raw[-1].rstrip(b"\r\n") != b"--":
        raise _bad("the parts are not delimited as the content type says")
    return [_part(each) for each in raw[:-1]]


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
        lines += b'; filename="' + part.filename + b'"'
    if part.content_type is not None:
        lines += b"\r\nContent-Type: " + part.content_type
    return lines + b"\r\n\r\n"


def _part(raw: bytes) -> Part:
    head, separator, value = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not raw.startswith(b"\r\n") or not separator or len(head) > _HEAD_BYTES:
        raise _bad("a part has no headers")
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        name, colon, text = line.partition(b":")
        if not colon or name.lower() in headers:
            raise _bad("a part's headers cannot be read")
        headers[name.lower()] = text.strip()
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise _bad("a part is encoded")
    found = _DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
    media = headers.get(b"content-type")
    if found is None or (media is not None and not _MEDIA_TYPE.fullmatch(media)):
        raise _bad("a part's name or content type cannot be read")
    return Part(name=found[1].decode(), value=value, filename=found[2], content_type=media)


def _bad(why: str) -> RelayError:
    return RelayError(ErrorKind.BAD_REQUEST, f"The form is not valid: {why}.", code="invalid_form")
