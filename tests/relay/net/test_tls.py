"""TLS contexts: what they verify, and by whose certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from relay.net import tls


@pytest.mark.parametrize("ca_file", [None, certifi.where()])
def test_name_and_chain_are_verified(ca_file: str | None) -> None:
    context = tls.context(ca_file)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_file_of_ones_own_takes_the_place_of_the_bundles(tmp_path: Path) -> None:
    pem = Path(certifi.where()).read_text()
    one = pem[pem.index("-----BEGIN") : pem.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    tmp_path.joinpath("one.pem").write_text(one)
    assert tls.context(str(tmp_path / "one.pem")).cert_store_stats()["x509_ca"] == 1
    assert tls.context(bundled=tmp_path / "none").cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_that_holds_none_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        tmp_path.joinpath("ca.pem").write_text(content)
    with pytest.raises(OSError, match=r".+"):
        tls.context(str(tmp_path / "ca.pem"))
