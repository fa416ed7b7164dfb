"""The folder of trusted certificates: found by the names that OpenSSL computes, and enough for a handshake."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import certifi
import pytest
from relay.net import tls

from cdk_app.bundle import certificates
from cdk_app.bundle.build import CERTIFICATES

ALL = Path(certifi.where())


def openssl(*arguments: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, cwd=cwd).stdout.strip()


def authority(at: Path, name: str, *more: str) -> Path:
    """A self-signed certificate for "localhost" and its key, `name`.pem and `name`.key."""
    files = ["-keyout", str(at / f"{name}.key"), "-out", str(at / f"{name}.pem")]
    new = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", *new, *files, "-addext", "subjectAltName=DNS:localhost", *more)
    return at / f"{name}.pem"


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Both sides in memory. Raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(2):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    here.do_handshake()


def serving(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return made


def test_every_certificate_has_the_name_by_which_openssl_looks_for_it(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    certificates.add(ALL, ours)
    theirs.mkdir()
    for number, path in enumerate(sorted(ours.iterdir())):
        theirs.joinpath(f"{number}.pem").write_bytes(path.read_bytes())
    openssl("rehash", theirs)
    named = {path.name: path.read_bytes() for path in theirs.iterdir() if path.is_symlink()}
    assert named == {path.name: path.read_bytes() for path in ours.iterdir()}
    assert len(named) == ALL.read_text().count("-----BEGIN CERTIFICATE-----") > 100


@pytest.mark.parametrize(
    "subject",
    [
        ["/C=DE/O=  Two   blanks  and\tmore /CN=CAPITALS"],
        ["/CN=Ümläut ÀÉ 😀", "-utf8"],
        ["/CN=a+OU=b+O=c/C=DE", "-multivalue-rdn"],
        ["/serialNumber=12/emailAddress=A@B.example/dnQualifier=x"],
        ["/O=" + "o" * 64 + "/OU=" + "u" * 64 + "/CN=" + "c" * 64],
    ],
    ids=["blanks", "utf-8", "several in one", "odd types", "long"],
)
def test_names_are_made_equal_as_openssl_makes_them(subject: list[str], tmp_path: Path) -> None:
    made = authority(tmp_path, "a", "-subj", *subject)
    der = ssl.PEM_cert_to_DER_cert(made.read_text())
    assert certificates.subject_hash(der) == openssl("x509", "-in", made, "-noout", "-subject_hash")


@pytest.mark.parametrize("mask", ["nombstr", "pkix", "utf8only", "default", "MASK:0x800", "MASK:0x100"])
def test_all_kinds_of_strings_are_read(mask: str, tmp_path: Path) -> None:
    """The kinds in which OpenSSL writes a name: T61String, UTF8String, BMPString, UniversalString."""
    settings = tmp_path / "openssl.cnf"
    settings.write_text(f"[req]\nstring_mask = {mask}\ndistinguished_name = dn\nutf8 = yes\n[dn]\n")
    made = authority(tmp_path, "a", "-config", str(settings), "-utf8", "-subj", "/O=Plain/CN=Grün über")
    der = ssl.PEM_cert_to_DER_cert(made.read_text())
    assert certificates.subject_hash(der) == openssl("x509", "-in", made, "-noout", "-subject_hash")


def test_whom_the_folder_holds_is_trusted_also_where_two_share_a_name(tmp_path: Path) -> None:
    first, second = (authority(tmp_path, name, "-subj", "/CN=same name") for name in ("first", "second"))
    for path in (ALL, first, second):
        certificates.add(path, tmp_path / CERTIFICATES)
    assert len({path.name for path in (tmp_path / CERTIFICATES).glob("*.1")}) >= 1
    client = tls.context(bundled=tmp_path / CERTIFICATES)
    for each in (first, second):
        handshake(client, serving(each))


def test_the_last_one_needs_no_line_break(tmp_path: Path) -> None:
    file = tmp_path / "all.pem"
    file.write_text(ALL.read_text().rstrip("\n"))
    certificates.add(file, tmp_path / "without")
    certificates.add(ALL, tmp_path / "with")
    without, whole = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("without", "with")
    )
    assert without == whole


@pytest.mark.parametrize("kind", ["TRUSTED CERTIFICATE", "PRIVATE KEY", ""])
def test_what_is_no_list_of_certificates_is_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.write_text(ALL.read_text().replace("CERTIFICATE", kind, 2) if kind else "")
    with pytest.raises(ValueError, match=r"some\.pem"):
        certificates.add(file, tmp_path / CERTIFICATES)


def test_whom_the_folder_does_not_hold_is_not_trusted(tmp_path: Path) -> None:
    known, other = (authority(tmp_path, name, "-subj", "/CN=same name") for name in ("known", "other"))
    certificates.add(known, tmp_path / CERTIFICATES)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls.context(bundled=tmp_path / CERTIFICATES), serving(other))


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    certificates.add(ALL, tmp_path / CERTIFICATES)
    assert tls.context(bundled=tmp_path / CERTIFICATES).get_ca_certs() == []


def test_without_a_bundle_the_certificates_are_read_from_their_file(tmp_path: Path) -> None:
    assert len(tls.context(bundled=tmp_path / "none").get_ca_certs()) > 100


def test_a_file_that_is_named_is_all_that_counts(tmp_path: Path) -> None:
    known, other = (authority(tmp_path, name, "-subj", f"/CN={name}") for name in ("known", "other"))
    certificates.add(other, tmp_path / CERTIFICATES)
    client = tls.context(str(known), bundled=tmp_path / CERTIFICATES)
    handshake(client, serving(known))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, serving(other))
