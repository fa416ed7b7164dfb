"""The structure counter: what one request enters, and how much text there is."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from bench import structure
from bench.tracer import Recording
from tests.support.synthesis import ROOT


def test_a_recording_counts_files_lines_moves_and_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "relay"
    folder.mkdir()
    folder.joinpath("traced_inner.py").write_text("def double(number):\n    return number * 2\n")
    folder.joinpath("traced_outer.py").write_text(
        "import traced_inner\n\n\ndef twice(number):\n    number = traced_inner.double(number)\n"
        "    return traced_inner.double(number)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    import traced_outer  # type: ignore[import-not-found]

    recording = Recording(f"{folder}/")
    before = sys.gettrace()
    sys.settrace(recording.trace)
    try:
        traced_outer.twice(1)
        recording.begin()
        traced_outer.twice(2)
    finally:
        sys.settrace(before)
        gc.enable()
    result = recording.result()
    assert result["entered"] == {"traced_inner.py": 1, "traced_outer.py": 2}
    assert result["calls"] == 3
    assert result["pairs"] == [
        ["traced_outer.py:twice", "traced_inner.py:double", 2],
        ["traced_inner.py:double", "traced_outer.py:twice", 2],
        ["traced_outer.py:twice", ":", 1],  # back to where the call came from
    ]


@pytest.mark.parametrize("variables", [{}, structure.WITH_LIMITS], ids=["without limits", "with limits"])
def test_a_request_leaves_nothing_to_the_garbage_collector(variables: dict[str, str]) -> None:
    """What objects that hold one another keep is freed some fifty requests later, with all that they hold."""
    assert structure.trace(ROOT / "lambda_src", variables).garbage == 0


def test_a_request_of_the_relay_is_traced() -> None:
    request = structure.trace(ROOT / "lambda_src", {})
    assert {"handler.py", "lambda_runtime/loop.py", "openai/transport.py"} <= set(request.entered)
    assert "aws/client.py" not in request.entered, "a warm request without limits asks AWS nothing"
    assert request.lines == sum(request.entered.values())
    assert request.moves > request.files
    assert ("lambda_runtime/loop.py:Runtime._serve", "handler.py:Relay.__call__", 1) in request.pairs


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("try:\n    f()\nexcept Exception:\n    pass\n", [3]),
        ("try:\n    f()\nexcept BaseException as error:\n    raise\n", [3]),
        ("try:\n    f()\nexcept (Exception, KeyboardInterrupt):\n    pass\n", [3]),
        ("try:\n    f()\nexcept:\n    pass\n", [3]),
        ("try:\n    f()\nexcept Exception:  # a plug-in may raise anything\n    pass\n", []),
        ("try:\n    f()\nexcept Exception:\n    # a plug-in may raise anything\n    pass\n", []),
        ("try:\n    f()\nexcept ExceptionGroup:\n    pass\n", []),
    ],
)
def test_an_unexplained_except_is_noticed(text: str, lines: list[int], tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert structure.unexplained_excepts(path) == lines


def test_any_is_counted_where_it_is_a_type(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('from typing import Any\n\nx: dict[str, Any] = {"Any": 1}\n\n\ndef f(y: Any) -> None: ...\n')
    assert structure.any_names(path) == 2
