"""The canonical request of Signature Version 4, computed from what stood on the wire, as a service does. Pure.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, for every service but Amazon S3.
Written from the specification: the signers that clients use (botocore's, aws4fetch's, curl's) are held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

_UNRESERVED = "-_.~"  # beside letters and digits: RFC 3986, section 2.3


def to_bytes(text: str) -> bytes:
    """The bytes of a header or target; what was not UTF-8 on the wire comes back as it was."""
    return text.encode("utf-8", "surrogateescape")


def canonical_path(path: str) -> str:
    """`path` without dot segments and doubled slashes, each segment encoded once more: `%2F` becomes `%252F`."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(quote(to_bytes(segment), safe=_UNRESERVED))
    end = "/" if segments and path.endswith("/") else ""
    return "/" + "/".join(segments) + end


def canonical_queries(query: str) -> tuple[str, ...]:
    """The canonical form of `query`: names and values decoded, encoded strictly, sorted by name and then by value.

    A "+" is a plus by RFC 3986 and a space in an HTML form; no AWS page says which, so there is a form for each.
    """
    readings = (query, query.replace("+", "%20")) if "+" in query else (query,)
    return tuple(_canonical_query(reading) for reading in readings)


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encode(name), _encode(value)) for name, _, value in pairs)
    )


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(to_bytes(text)), safe=_UNRESERVED)


def canonical_headers(headers: Sequence[tuple[str, str]], signed: Sequence[str]) -> str:
    """One line per signed name: values of a repeated header joined by commas, runs of white space as one space."""
    lines = []
    for name in signed:
        values = [" ".join(text.split()) for key, text in headers if key.lower() == name]
        lines.append(f"{name}:{','.join(values)}\n")
    return "".join(lines)


def canonical_requests(
    method: str, target: str, headers: Sequence[tuple[str, str]], signed: Sequence[str], payload_hash: str
) -> tuple[bytes, ...]:
    """The canonical request for each reading of the query; `target` is the raw path with its query."""
    path, _, query = target.partition("?")
    listed = f"{canonical_headers(headers, signed)}\n{';'.join(signed)}\n{payload_hash}"
    return tuple(
        to_bytes(f"{method}\n{canonical_path(path)}\n{canonical}\n{listed}") for canonical in canonical_queries(query)
    )
