"""The log: always one line of JSON, never in the way, nothing of anybody's data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from relay.log import Log


class Pipe:
    """Where a log goes in these tests."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)

    def lines(self) -> list[dict[str, Any]]:
        try:
            text = os.read(self.read_fd, 1 << 20).decode()
        except BlockingIOError:
            return []
        assert text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        for fd in (self.read_fd, self.write_fd):
            os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_line_is_json_with_time_level_and_event(pipe: Pipe) -> None:
    Log(fd=pipe.write_fd).info("request", caller="hash", n=1)
    [line] = pipe.lines()
    assert line.pop("timestamp")[-1] == "Z"
    assert line == {"level": "INFO", "event": "request", "caller": "hash", "n": 1}


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("DEBUG", ["INFO", "WARN", "ERROR"]),
        ("INFO", ["INFO", "WARN", "ERROR"]),
        ("WARN", ["WARN", "ERROR"]),
        ("ERROR", ["ERROR"]),
        ("FATAL", []),
        ("nonsense", ["INFO", "WARN", "ERROR"]),
    ],
)
def test_the_level_decides_what_is_written(pipe: Pipe, level: str, written: list[str]) -> None:
    log = Log(level, fd=pipe.write_fd)
    log.info("a")
    log.warn("b")
    log.error("c")
    assert [line["level"] for line in pipe.lines()] == written


@pytest.mark.parametrize(
    ("level", "written"),
    [("DEBUG", "INFO"), ("INFO", "INFO"), ("WARN", "WARN"), ("ERROR", "ERROR"), ("FATAL", "FATAL")],
)
def test_a_record_is_written_at_any_level_and_passes_lambdas_own_filter(pipe: Pipe, level: str, written: str) -> None:
    Log(level, fd=pipe.write_fd).record("request", n=1)
    [line] = pipe.lines()
    assert (line["level"], line["n"]) == (written, 1)


def failing(secret: str) -> Exception:
    try:
        raise ValueError(secret)
    except ValueError as error:
        return error


def test_of_a_failure_type_and_frames_are_written_and_never_its_text(pipe: Pipe) -> None:
    Log(fd=pipe.write_fd).error("bug", failure=failing("the prompt"))
    [line] = pipe.lines()
    assert line["errorType"] == "ValueError"
    assert [frame.split(":")[0] for frame in line["stack"]] == ["test_log.py"]
    assert "the prompt" not in json.dumps(line)


def test_of_an_object_only_the_type_is_written(pipe: Pipe) -> None:
    Log(fd=pipe.write_fd).info("x", value=b"the prompt", other=failing("the prompt"), odd={"a": {1, 2}})
    [line] = pipe.lines()
    assert (line["value"], line["other"], line["odd"]) == ("bytes", "ValueError", {"a": "set"})


def deep(levels: int) -> None:
    if not levels:
        raise RuntimeError
    deep(levels - 1)


def test_of_a_deep_failure_the_innermost_frames_are_kept(pipe: Pipe) -> None:
    try:
        deep(500)
    except RuntimeError as error:
        Log(fd=pipe.write_fd).error("bug", failure=error)
    [line] = pipe.lines()
    assert len(line["stack"]) == 12


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "x" * 100_000},
        {"text": "\u00e9\n\ud800" * 10_000},
        {"stack": ["frame" * 100] * 50},
        {f"name{n}": "x" * 100 for n in range(500)},
        {"nested": {"a": "x" * 100_000}},
    ],
)
def test_a_line_that_is_too_long_is_cut_and_still_json(pipe: Pipe, fields: dict[str, Any]) -> None:
    Log(fd=pipe.write_fd).info("request", requestId="id", **fields)
    [line] = pipe.lines()
    assert (line["event"], line["cut"]) == ("request", True)
    assert len(json.dumps(line, separators=(",", ":"))) < 4096


@pytest.mark.parametrize("text", ["short", "x" * 100_000])
def test_what_is_json_already_ends_the_line_also_when_it_is_cut(pipe: Pipe, text: str) -> None:
    Log(fd=pipe.write_fd).record("request", ready=',"a":{"b":[1]}', text=text)
    [line] = pipe.lines()
    assert (line["event"], line["a"]) == ("request", {"b": [1]})


def test_what_is_json_already_and_too_long_is_left_out(pipe: Pipe) -> None:
    Log(fd=pipe.write_fd).record("request", ready=f',"a":"{"x" * 100_000}"')
    [line] = pipe.lines()
    assert (line["event"], line["cut"]) == ("request", True)


def test_a_long_text_does_not_cost_the_rest_of_the_line(pipe: Pipe) -> None:
    Log(fd=pipe.write_fd).info("request", requestId="id", text="x" * 100_000, n=5)
    [line] = pipe.lines()
    assert (line["requestId"], line["n"]) == ("id", 5)


@pytest.mark.parametrize("long", ["cause", "model", "extra"])
def test_what_a_record_is_replayed_by_survives_any_length(pipe: Pipe, long: str) -> None:
    """operate replays `record` of a line settle_failed: its numbers and its id have to be there."""
    record: dict[str, Any] = {"id": "i" * 36, "usd": 10**18, "tokens": 5, "model": "gpt-5", "counts": {"input": 7}}
    fields: dict[str, Any] = {"requestId": "i" * 36, "caller": "1/AROA", "cause": "x", "record": record}
    if long == "model":
        record["model"] = "\u0000\u00e9m" * 200_000
    else:
        fields[long] = "\U0001f600" * 400_000
    if long == "extra":
        fields |= {f"n{n}": "\x1b" * 90 for n in range(60)}
    Log(fd=pipe.write_fd).error("settle_failed", **fields)
    [line] = pipe.lines()
    assert line["cut"] is True
    assert line["requestId"] == fields["requestId"]
    assert {name: value for name, value in line["record"].items() if name != "model"} == {
        name: value for name, value in record.items() if name != "model"
    }


def test_a_full_pipe_loses_lines_and_blocks_nobody(pipe: Pipe) -> None:
    log = Log(fd=pipe.write_fd)
    for _ in range(2000):
        log.info("request", text="x" * 500)
    kept = pipe.lines()
    assert 0 < len(kept) < 2000
    log.info("after")
    [line] = pipe.lines()
    assert line["droppedLines"] == 2000 - len(kept)
    log.info("again")
    assert "droppedLines" not in pipe.lines()[0]


def test_a_log_that_nobody_reads_any_more_is_no_failure(pipe: Pipe) -> None:
    os.close(pipe.read_fd)
    log = Log(fd=pipe.write_fd)
    log.info("a")
    log.info("b")
    pipe.read_fd = os.open(os.devnull, os.O_RDONLY)
