"""RSA signatures against a vector that others made, and against themselves."""

from __future__ import annotations

import pytest

from emulator.signing import rsa

# RFC 7515, appendix A.2: the key, what is signed, and the signature.
MODULUS = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs"
    "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV"
    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
)
SIGNED = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
SIGNATURE = (
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
    "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e"
    "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)


def test_the_signature_of_the_rfc() -> None:
    key = rsa.PublicKey(modulus=int.from_bytes(rsa.from_base64url(MODULUS)))
    signature = rsa.from_base64url(SIGNATURE)
    assert key.verifies(SIGNED.encode(), signature, "RS256")
    assert not key.verifies(SIGNED.encode() + b"x", signature, "RS256")
    assert not key.verifies(SIGNED.encode(), signature[:-1], "RS256")
    assert not key.verifies(SIGNED.encode(), bytes([signature[0] ^ 1]) + signature[1:], "RS256")
    assert not key.verifies(SIGNED.encode(), signature, "RS384")


@pytest.mark.parametrize("algorithm", rsa.ALGORITHMS)
def test_what_one_signs_only_its_own_key_verifies(algorithm: str) -> None:
    own, other = rsa.generate(1024), rsa.generate(1024)
    signature = own.sign(b"message", algorithm)
    assert own.public.verifies(b"message", signature, algorithm)
    assert not other.public.verifies(b"message", signature, algorithm)
    assert own.public.modulus.bit_length() == 1024
