"""How many tokens a recording can be at most, read from its first bytes. Pure.

Audio input counts 10 tokens a second (platform.openai.com/docs/guides/realtime-costs), so what matters is how few bytes a
second can take. That is known of MP3 and of plain WAV. Opus, FLAC and AAC write silence in next to nothing, so a few
bytes of theirs may be hours: nothing bounds them but what the model takes.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

TOKENS_PER_SECOND = 10
# The thinnest MP3 (8 kbit/s) has 1,000 bytes a second, so a token has at least 100. Half of that and less, to be sure.
# Source: ISO/IEC 13818-3 (LSF, layer III).
MP3_BYTES_PER_TOKEN = 37
# 4 kHz in 8 bits, half of what telephones take: below it a header is not one of a recording.
_LEAST_WAV_BYTES_PER_SECOND = 4_000
_MOST_CHUNKS = 16
_PLAIN_WAV = (1, 3, 0xFFFE)  # PCM, floating point, and either with an extended header

Read = Callable[[int, int], bytes]
"""The bytes of a recording from an offset on, at most so many."""


def most_tokens(sound: bytes) -> int | None:
    """The most tokens that the recording `sound` can be; None when its format does not say."""
    return _most_tokens(lambda start, length: sound[start : start + length], len(sound))


def most_tokens_of_base64(text: str) -> int | None:
    """The same of a recording in base64, of which only the beginning is decoded."""

    def read(start: int, length: int) -> bytes:
        first = start // 3
        quads = text[first * 4 : ((start + length) // 3 + 1) * 4]
        return binascii.a2b_base64(quads, strict_mode=True)[start - first * 3 :][:length]

    try:
        return _most_tokens(read, len(text) * 3 // 4)
    except ValueError:
        return None


def _most_tokens(read: Read, size: int) -> int | None:
    head = read(0, 12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _wav(read, size)
    start = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        # The tag's size is written in seven bits of each byte. Source: id3.org/id3v2.4.0-structure, section 3.1.
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return size // MP3_BYTES_PER_TOKEN + 1 if _is_mp3_frame(read(start, 3)) else None


def _is_mp3_frame(frame: bytes) -> bool:
    """Whether an MPEG frame of layer III begins here whose bit rate is one of the table (index 0 is "free")."""
    return len(frame) == 3 and frame[0] == 0xFF and frame[1] & 0xE6 == 0xE2 and frame[2] & 0xF0 not in (0, 0xF0)


def _wav(read: Read, size: int) -> int | None:
    """By the rate in the one "fmt " chunk that stands before the data. Source: RFC 2361 and Microsoft's RIFF specification."""
    start, bytes_per_second = 12, 0
    for _ in range(_MOST_CHUNKS):
        chunk = read(start, 24)
        name, length = chunk[:4], int.from_bytes(chunk[4:8], "little")
        if name == b"data" and bytes_per_second >= _LEAST_WAV_BYTES_PER_SECOND:
            return size * TOKENS_PER_SECOND // bytes_per_second + 1
        if name == b"fmt " and not bytes_per_second and len(chunk) == 24:
            kind, channels, rate, _, _, bits = (
                int.from_bytes(chunk[at:end], "little")
                for at, end in ((8, 10), (10, 12), (12, 16), (16, 20), (20, 22), (22, 24))
            )
            bytes_per_second = rate * channels * bits // 8 if kind in _PLAIN_WAV else 0
        elif name in (b"fmt ", b"data") or len(chunk) < 8:
            return None
        start += 8 + length + length % 2
    return None
