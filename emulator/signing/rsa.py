"""RSA as JSON Web Tokens use it (RFC 8017, RSASSA-PKCS1-v1_5 with SHA-2; RFC 7518): keys, signatures, verification.

For a local issuer's tokens and nothing else: Python's integers leak time, so nobody's real secret belongs here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

EXPONENT = 65537
_ROUNDS = 40  # Miller-Rabin: wrong once in 4**40
# RFC 8017, section 9.2, note 1: what stands before the hash.
_PREFIXES = {
    "RS256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    "RS384": ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    "RS512": ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
ALGORITHMS = tuple(_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    modulus: int
    exponent: int = EXPONENT

    @property
    def size(self) -> int:
        """Bytes of a signature."""
        return (self.modulus.bit_length() + 7) // 8

    def verifies(self, message: bytes, signature: bytes, algorithm: str) -> bool:
        """Whether `signature` is of `message`. Raises KeyError for an algorithm that is none of RSA's."""
        if len(signature) != self.size:
            return False
        number = pow(int.from_bytes(signature), self.exponent, self.modulus)
        return hmac.compare_digest(number.to_bytes(self.size), _encoded(message, self.size, algorithm))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    public: PublicKey
    exponent: int = field(repr=False)

    def sign(self, message: bytes, algorithm: str = "RS256") -> bytes:
        number = int.from_bytes(_encoded(message, self.public.size, algorithm))
        return pow(number, self.exponent, self.public.modulus).to_bytes(self.public.size)


def generate(bits: int = 2048) -> PrivateKey:
    """A new key; takes a second or so."""
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        totient = (p - 1) * (q - 1)
        if p != q and totient % EXPONENT:
            return PrivateKey(public=PublicKey(modulus=p * q), exponent=pow(EXPONENT, -1, totient))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _encoded(message: bytes, size: int, algorithm: str) -> bytes:
    name, prefix = _PREFIXES[algorithm]
    tail = prefix + hashlib.new(name, message).digest()
    return b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail


def _prime(bits: int) -> int:
    while True:
        # Odd, and with its two highest bits set, so that the product of two has all its bits.
        candidate = secrets.randbits(bits) | (0b11 << (bits - 2)) | 1
        if all(candidate % small for small in _SMALL) and _is_prime(candidate):
            return candidate


def _is_prime(number: int) -> bool:
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


_SMALL = [number for number in range(3, 2000, 2) if all(number % each for each in range(3, int(number**0.5) + 1, 2))]
