"""What the demo shows of texts that others wrote: it stands on the terminal and steers nothing."""

from __future__ import annotations

import io
import json
import sys

import pytest

from emulator import demo
from emulator.fakes.raw_upstream import chat_events
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from tests.emulator.test_commands import DOUBLE
from tests.support import hostile_texts
from tests.support.hostile_texts import commands_in


@pytest.mark.parametrize("text", hostile_texts.ALL, ids=range(len(hostile_texts.ALL)))
def test_a_text_is_printable(text: str) -> None:
    shown = demo.printable(text)
    assert commands_in(shown.replace("\t", " ")) == []


def test_the_demo_shows_every_text_as_text() -> None:
    texts = [f"{text}\n" for text in hostile_texts.STORABLE if len(text) < 1000]
    events = "".join(event.decode() for event in chat_events(*texts))
    steps = [["begin", None], ["write", events], ["end", None]]
    environment = {"STEPS": json.dumps(steps)}
    function = Function(
        command=(sys.executable, "-I", "-S", str(DOUBLE)), task_root=DOUBLE.parent, environment=environment
    )
    out = io.StringIO()
    with LocalLambda(function) as relay:
        shown = demo.ask(relay, upstream="[/x]\x1b[2J", prompt="[/nope]\x1b]0;owned\x07", model="m", out=out)
    assert shown.complete
    output = out.getvalue()
    assert commands_in(output.replace("\t", " ")) == []
    assert "> [/nope]\\x1b]0;owned\\x07" in output
    assert [text for text in texts if demo.printable(text) not in output] == []
