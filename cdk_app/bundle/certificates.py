"""The certificates that TLS trusts, laid out so that OpenSSL reads only those that it comes to need.

OpenSSL looks for the issuer of a certificate in a folder under a hash of the issuer's name: openssl-rehash(1). Reading
all 118 authorities from one file instead takes 16 ms at every cold start, of which a handshake needs one or two. The
hash is computed here, because neither Python's `ssl` offers it nor has every machine an `openssl` command.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)
# Tags of X.690. The context tag 0 is a certificate's version.
_VERSION, _SEQUENCE, _SET, _UTF8 = 0xA0, 0x30, 0x31, 0x0C
# The strings that are compared as text, by tag: UTF8, Printable, T61, IA5, Visible, Universal, BMP.
_ENCODINGS = {
    _UTF8: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


def add(file: Path, folder: Path) -> None:
    """Puts every certificate of `file` (PEM) into `folder`, each in a file of its own: "5ad8a5d6.0".

    Raises ValueError where `file` has none, or something else than certificates.
    """
    folder.mkdir(exist_ok=True)
    whole = file.read_text(encoding="utf-8")
    found = _PEM.findall(whole)
    if not found or len(found) != whole.count("-----BEGIN "):
        raise ValueError(f"{file} is not a list of certificates in PEM")
    for text in found:
        name, number = subject_hash(ssl.PEM_cert_to_DER_cert(text)), 0
        while (path := folder / f"{name}.{number}").exists():
            number += 1  # authorities may share a name
        path.write_text(text + "\n", encoding="ascii")


def subject_hash(certificate: bytes) -> str:
    """What `openssl x509 -subject_hash` prints of a certificate (DER): the first bytes of the SHA-1 of its subject in
    OpenSSL's canonical form, the lowest first. Not for security: whom it finds still has to have signed."""
    ((_, whole),) = _elements(certificate)
    (_, signed), *_ = _elements(whole)
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    _serial, _algorithm, _issuer, _validity, subject, *_ = fields
    digest = hashlib.sha1(_canonical(subject), usedforsecurity=False).digest()
    return digest[3::-1].hex()


def _canonical(name: bytes) -> bytes:
    """A name without its outermost header, its texts made equal where RFC 5280 (section 7.1) compares them as equal."""
    parts = []
    for _, part in _elements(name):
        pairs = [_element(_SEQUENCE, b"".join(_pair(pair))) for _, pair in _elements(part)]
        parts.append(_element(_SET, b"".join(sorted(pairs))))  # X.690, 11.6: a set's elements in order
    return b"".join(parts)


def _pair(pair: bytes) -> Iterator[bytes]:
    (type_tag, type_content), (tag, content) = _elements(pair)
    yield _element(type_tag, type_content)
    if tag in _ENCODINGS:
        # bytes.lower and bytes.split know ASCII only, as OpenSSL's canonical form does
        tag, content = _UTF8, b" ".join(content.decode(_ENCODINGS[tag]).encode().lower().split())
    yield _element(tag, content)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in DER. Tags have one byte in what certificates are made of."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:
            width = length - 0x80
            length, at = int.from_bytes(data[at : at + width], "big"), at + width
        yield tag, data[at : at + length]
        at += length


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    width = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 0x80 else bytes([0x80 + width]) + size.to_bytes(width, "big")
    return bytes([tag]) + length + content
