"""One signed, streamed chat completion, shown as it arrives, and what can be said about it afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import httpx
from rich.console import Console
from rich.text import Text

from emulator.local_lambda import LocalLambda


@dataclass(slots=True, kw_only=True)
class DemoResult:
    """What was seen of the answer; times are seconds since the request was sent."""

    status: int = 0
    request_id: str = ""
    chunks: int = 0
    first_token: float = 0.0
    duration: float = 0.0
    finish_reason: str = ""
    done: bool = False
    problem: str = ""

    @property
    def complete(self) -> bool:
        return self.status == 200 and self.done and bool(self.finish_reason) and not self.problem


def ask(relay: LocalLambda, *, upstream: str, prompt: str, model: str, out: TextIO) -> DemoResult:
    console = Console(file=out, markup=False, emoji=False, highlight=False, soft_wrap=True)
    path = "/v1/chat/completions"
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}).encode()
    headers = relay.sign("POST", path, body=body, headers={"content-type": "application/json"})
    url = (relay.edge_url or relay.url) + path
    console.print(f"POST {url}, signed by {relay.identities[0].arn}", style="dim")
    if relay.edge_url:
        console.print(f"through the edge, signed for {relay.url}", style="dim")
    console.print(f"upstream: {printable(upstream)}\n", style="dim")
    console.print(f"> {printable(prompt)}\n", style="bold")
    shown, began = DemoResult(), time.monotonic()
    try:
        with httpx.stream("POST", url, content=body, headers=headers, timeout=120, trust_env=False) as response:
            shown.status = response.status_code
            shown.request_id = response.headers.get("x-request-id", response.headers.get("x-amzn-requestid", ""))
            if response.status_code == 200:
                show(response, shown, out, began)
            else:
                shown.problem = f"status {response.status_code}: {response.read().decode('utf-8', 'replace')[:300]}"
    except httpx.HTTPError as error:
        shown.problem = f"the stream broke: {error}"
    shown.duration = time.monotonic() - began
    shown.problem, shown.request_id = printable(shown.problem), printable(shown.request_id)
    summarise(console, relay, shown)
    return shown


def show(response: httpx.Response, shown: DemoResult, out: TextIO, began: float) -> None:
    """Writes the tokens as they arrive and fills `shown`."""
    for data in sse_data(response.iter_lines()):
        if data == "[DONE]":
            shown.done = True
            continue
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            shown.problem = f"the stream ended in an error: {event['error'].get('message')}"
            return
        shown.chunks += 1
        for choice in event.get("choices", []):
            text = choice.get("delta", {}).get("content") or ""
            if text and not shown.first_token:
                shown.first_token = time.monotonic() - began
            out.write(printable(text))
            out.flush()
            shown.finish_reason = choice.get("finish_reason") or shown.finish_reason
    if not shown.done or not shown.finish_reason:
        shown.problem = shown.problem or "the stream ended without [DONE] or without a finish reason"


def printable(text: str) -> str:
    """Return what a model, a person or a server wrote so that it cannot steer the terminal: escapes for what is no text."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode("ascii") for char in text
    )


def sse_data(lines: Iterator[str]) -> Iterator[str]:
    """The data of each event; comments and other fields are passed over (chat completions use no others)."""
    for line in lines:
        if line.startswith("data:"):
            yield line[5:].strip()


def summarise(console: Console, relay: LocalLambda, shown: DemoResult) -> None:
    starts = relay.init_seconds()
    cold = f", {starts[0]:.2f} s of which started the process" if starts else ""
    console.print("\n")
    rows = (
        (("status", str(shown.status)), ("request", shown.request_id)),
        (("first token after", f"{shown.first_token:.2f} s{cold}"),),
        (("chunks", str(shown.chunks)), ("in", f"{shown.duration:.2f} s")),
    )
    for row in rows:
        console.print(Text("   ").join(Text.assemble((name, "dim"), f" {value}") for name, value in row))
