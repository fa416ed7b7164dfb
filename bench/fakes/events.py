"""The stream that all competitors carry: made by the fake OpenAI, checked by the fake Runtime API.

Each event has the shape and size of a chat completion chunk and ends in its number and the moment at which it
was sent (CLOCK_MONOTONIC, one clock for all processes of a machine), so that whoever receives it knows its age.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

STAMP = re.compile(rb'"n":"(\d{8})","t":"(\d{19})"\}\n\n')
HEAD = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"delta":{"content":"'
)
TAIL = b'"},"finish_reason":null}]%b,"n":"%08d","t":"%019d"}\n\n'
DONE = b"data: [DONE]\n\n"
SMALLEST = len(HEAD) + len(TAIL % (b"", 0, 0))
# What `stream_options.include_usage` adds to every event, and the event that it adds before the end.
NO_USAGE_YET = b',"usage":null'
USAGE = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}\n\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """`count` events of `size` bytes, `rate` a second; rate 0 is as fast as they are taken."""

    count: int
    size: int = 250
    rate: float = 0

    def event(self, number: int, sent_ns: int, usage: bytes = b"") -> bytes:
        return HEAD + b"x" * (self.size - SMALLEST) + TAIL % (usage, number, sent_ns)

    def digest(self) -> str:
        """What `digest` of the received bytes must be if not one of them was lost, added or changed."""
        seen = hashlib.sha256()
        for number in range(self.count):
            seen.update(self.event(number, 0))
        seen.update(DONE)
        return seen.hexdigest()

    def prompt(self) -> str:
        """The stream's description in the only place that every competitor passes on unchanged: a message."""
        return json.dumps({"count": self.count, "size": self.size, "rate": self.rate})

    @classmethod
    def from_body(cls, body: bytes) -> Stream:
        return cls(**json.loads(json.loads(body)["messages"][0]["content"]))


def digest(received: bytes) -> str:
    """The received stream's checksum, whenever it was sent."""
    return hashlib.sha256(STAMP.sub(rb'"n":"\1","t":"0000000000000000000"}\n\n', received)).hexdigest()
