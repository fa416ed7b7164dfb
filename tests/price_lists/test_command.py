"""`make prices`: what is planted in the lists is printed, and nothing else is. The wheels are files that the tests write."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from price_lists import own_list, wheels
from price_lists.__main__ import main

TODAY = date(2026, 12, 1)
OWN: dict[str, Any] = {
    "as_of": "2026-11-27",
    "left_out": {"gpt-search": "each search is billed"},
    "models": {
        "gpt-9": {
            "snapshots": ["2026-08-07"],
            "input": 2, "cached_input": 0.2, "output": 10, "context": 1050000, "max_output": 128000,
            "long_above": 272000, "long_input": 200, "long_output": 150,
            "tiers": {"priority": {"input": 4, "cached_input": 0.4, "output": 20}},
        },
        "gpt-8": {"input": 1, "output": 5, "context": 400000, "max_output": 128000, "shutdown": "2026-12-20"},
        "hear-1": {"second": 7.5e-05},
    },
}  # fmt: skip
LITELLM: dict[str, Any] = {
    "sample_spec": {"litellm_provider": "one of a list", "max_input_tokens": "a number"},
    "gpt-9": {
        "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 922000, "max_output_tokens": 128000,
        "input_cost_per_token": 2e-06, "cache_read_input_token_cost": 2e-07, "output_cost_per_token": 1e-05,
        "input_cost_per_token_above_272k_tokens": 4e-06, "output_cost_per_token_above_272k_tokens": 1.5e-05,
        "input_cost_per_token_priority": 4e-06, "output_cost_per_token_above_272k_tokens_priority": 3e-05,
        "input_cost_per_token_batches": 1e-06, "search_context_cost_per_query": {"search_context_size_low": 0.01},
    },
    "gpt-9-2026-08-07": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-06},
    "gpt-8": {
        "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 272000, "max_output_tokens": 128000,
        "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06, "deprecation_date": "2026-12-20",
    },
    "gpt-7": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1, "deprecation_date": "2026-12-01"},
    "gpt-search": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1},
    "gpt-live": {
        "litellm_provider": "openai", "mode": "audio_transcription", "supported_endpoints": ["/v1/realtime"],
    },
    "azure/gpt-9": {"litellm_provider": "azure", "input_cost_per_token": 9},
    "hear-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 7.5e-05},
}  # fmt: skip
GENAI = """
import datetime
from decimal import Decimal
from .types import *
raise SystemExit("this file is never run")
providers: list[Provider] = [
    Provider(id='azure', models=[ModelInfo(id='gpt-9', prices=ModelPrice(input_mtok=Decimal('9')))]),
    Provider(
        id='openai',
        extractors=[UsageExtractor(root='usage', mappings=[])],
        models=[
            ModelInfo(
                id='gpt-9',
                match=ClauseOr(or_=[ClauseEquals(equals='gpt-9'), ClauseRegex(regex='^gpt-9-')]),
                context_window=1050000,
                prices=ModelPrice(
                    input_mtok=TieredPrices(base=Decimal('2'), tiers=[Tier(start=272000, price=Decimal('4'))]),
                    cache_read_mtok=TieredPrices(base=Decimal('0.2'), tiers=[Tier(start=272000, price=Decimal('0.4'))]),
                    output_mtok=TieredPrices(base=Decimal('10'), tiers=[Tier(start=272000, price=Decimal('15'))]),
                    web_searches_kcount=Decimal('10'),
                ),
                price_variants=[
                    PriceVariant(when={'service_tier': 'default'}, prices=ModelPrice(), constraint=None),
                    PriceVariant(
                        when={'service_tier': 'fast'},
                        prices=ModelPrice(
                            input_mtok=TieredPrices(base=Decimal('4'), tiers=[Tier(start=272000, price=Decimal('8'))]),
                            cache_read_mtok=TieredPrices(
                                base=Decimal('0.4'), tiers=[Tier(start=272000, price=Decimal('0.8'))]
                            ),
                            output_mtok=TieredPrices(base=Decimal('20'), tiers=[Tier(start=272000, price=Decimal('30'))]),
                        ),
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 10, 12)),
                    ),
                    PriceVariant(when={'processing': 'batch'}, prices=ModelPrice(input_mtok=Decimal('1')), constraint=None),
                ],
            ),
            ModelInfo(
                id='gpt-eight',
                match=ClauseEquals(equals='gpt-8'),
                prices=[
                    ConditionalPrice(constraint=None, prices=ModelPrice(input_mtok=Decimal('3'), output_mtok=Decimal('5'))),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 11, 30)),
                        prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('5')),
                    ),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 12, 2)),
                        prices=ModelPrice(input_mtok=Decimal('7'), output_mtok=Decimal('5')),
                    ),
                ],
            ),
            ModelInfo(id='hear-1', match=ClauseEquals(equals='hear-1'), prices=ModelPrice(audio_hours=Decimal('0.27'))),
        ],
    ),
]
"""


def wheel(folder: Path, package: str, version: str, files: dict[str, str]) -> Path:
    """A wheel as pip takes it: the files, and the metadata of its name and version."""
    name = package.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "".join(f"{path},,\n" for path in files),
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in texts.items():
            archive.writestr(member, text)
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on lists of the test's own, which stand in for an index; `pip`: as a real pip finds them."""
    index = tmp_path / "index"
    index.mkdir()

    def run(
        *arguments: str,
        own: Any = OWN,
        litellm: Any = LITELLM,
        genai: str = GENAI,
        today: date = TODAY,
        pip: bool = False,
    ) -> tuple[int, str, str]:
        (tmp_path / "prices.json").write_text(json.dumps(own))
        paths = {
            "litellm": wheel(
                index, "litellm", "9.1.0", {"litellm/model_prices_and_context_window_backup.json": json.dumps(litellm)}
            ),
            "genai-prices": wheel(index, "genai-prices", "0.9.0", {"genai_prices/data.py": genai}),
        }
        fetch = wheels.download if pip else lambda package, _: wheels.wheel_at(paths[package], package)
        code = main(["--list", str(tmp_path / "prices.json"), *arguments], today, fetch)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def changed(tree: Any, path: str, value: Any) -> Any:
    """A copy of `tree` with the value at `path` ("gpt-9/mode") replaced, or removed for None."""
    copy = json.loads(json.dumps(tree))
    *above, last = path.split("/")
    for step in above:
        copy = copy[step] if isinstance(copy, dict) else copy
    root = json.loads(json.dumps(tree))
    here = root
    for step in above:
        here = here.setdefault(step, {})
    if value is None:
        del here[last]
    else:
        here[last] = value
    return root


def test_lists_that_agree_are_said_to_agree(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    code, out, err = run(pip=True)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "3 models, held against their sources on 2026-11-27, 4 days ago"
    assert lines[1] == "  ends: gpt-8 on 2026-12-20, in 19 days"
    assert lines[2].startswith("litellm 9.1.0 (sha256 ")
    assert lines[2].endswith("7 names, 0 figures differ")
    assert lines[3].startswith("genai-prices 0.9.0 (sha256 ")
    assert lines[3].endswith("5 names, 0 figures differ")
    assert lines[4:] == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("gpt-9/output_cost_per_token", 1.2e-05, "cheaper here: gpt-9: output (default) is 10 here, 12 there"),
        ("gpt-9/output_cost_per_token", 9e-06, "differs: gpt-9: output (default) is 10 here, 9 there"),
        ("gpt-9/input_cost_per_token_priority", 5e-06, "cheaper here: gpt-9: input (priority) is 4 here, 5 there"),
        (
            "gpt-9/output_cost_per_token_above_272k_tokens_priority",
            4e-05,
            "cheaper here: gpt-9: output (priority, more than 272000 tokens) is 30 here, 40 there",
        ),
        (
            "gpt-9/cache_creation_input_token_cost",
            2.5e-06,
            "cheaper here: gpt-9: cache_write (default) is 2 here, 2.5 there",
        ),
        (
            "gpt-9/cache_creation_input_token_cost_above_12hr_above_272k_tokens",
            1e-05,
            "cheaper here: gpt-9: cache_write_12h (default, more than 272000 tokens) is 4 here, 10 there",
        ),
        ("gpt-9/input_cost_per_audio_token", 2e-06, None),
        ("gpt-9/input_cost_per_token_flex", 1e-06, "differs: gpt-9: the tier flex is not listed here, listed there"),
        ("gpt-9/max_output_tokens", 256000, "cheaper here: gpt-9: max_output is 128000 here, 256000 there"),
        ("gpt-8/max_input_tokens", 500000, "cheaper here: gpt-8: context is 400000 here, 500000 there"),
        (
            "gpt-8/input_cost_per_token_above_200k_tokens",
            1e-06,
            "cheaper here: gpt-8: long_above is none here, 200000 there",
        ),
        ("gpt-8/deprecation_date", "2026-12-15", "cheaper here: gpt-8: shutdown is 2026-12-20 here, 2026-12-15 there"),
        ("gpt-8/deprecation_date", "2027-01-15", "differs: gpt-8: shutdown is 2026-12-20 here, 2027-01-15 there"),
        ("gpt-9/deprecation_date", "2027-01-15", "cheaper here: gpt-9: shutdown is none here, 2027-01-15 there"),
        ("hear-1/input_cost_per_second", 1e-04, "cheaper here: hear-1: second (default) is 7.5e-05 here, 0.0001 there"),
        ("gpt-7/deprecation_date", "2026-12-02", "missing here: gpt-7"),
        (
            "gpt-9-2026-08-07/input_cost_per_token",
            3e-06,
            "cheaper here: gpt-9-2026-08-07: input (default) is 2 here, 3 there",
        ),
        ("gpt-9/input_cost_per_token_turbo", 9e-06, "not compared: gpt-9: input_cost_per_token_turbo"),
        ("gpt-9/output_cost_per_reasoning_token", 9e-06, "not compared: gpt-9: output_cost_per_reasoning_token"),
        ("gpt-10", {"litellm_provider": "openai", "mode": "responses"}, "missing here: gpt-10"),
        ("gpt-10", {"litellm_provider": "openai", "mode": "realtime"}, None),
        (
            "gpt-9-mini-2026-08-07",
            {"litellm_provider": "openai", "mode": "chat"},
            "missing here: gpt-9-mini-2026-08-07",
        ),
    ],
)
def test_what_is_planted_in_litellms_list_is_printed(run: Run, path: str, value: Any, line: str | None) -> None:
    code, out, err = run(litellm=changed(LITELLM, path, value))
    assert (code, err) == (0, "")
    printed = [each.strip() for each in out.splitlines()[3:] if each.startswith("  ")]
    assert printed == ([line] if line else [])


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("base=Decimal('2'),", "base=Decimal('3'),", ["cheaper here: gpt-9: input (default) is 2 here, 3 there"]),
        (
            "price=Decimal('15')",
            "price=Decimal('16')",
            ["cheaper here: gpt-9: output (default, more than 272000 tokens) is 15 here, 16 there"],
        ),
        ("base=Decimal('20'),", "base=Decimal('19'),", ["differs: gpt-9: output (fast) is 20 here, 19 there"]),
        ("date(2026, 10, 12)", "date(2027, 10, 12)", []),
        ("date(2026, 12, 2)", "date(2026, 12, 1)", ["cheaper here: gpt-8: input (default) is 1 here, 7 there"]),
        ("Decimal('0.27')", "Decimal('0.36')", ["cheaper here: hear-1: second (default) is 7.5e-05 here, 0.0001 there"]),
        ("ClauseEquals(equals='gpt-8')", "ClauseStartsWith(starts_with='gpt-8-')", []),
        ("ClauseEquals(equals='gpt-9')", "ClauseAnd(and_=[ClauseContains(contains='9'), ClauseEndsWith(ends_with='9')])", []),
        ("context_window=1050000", "context_window=2000000", ["cheaper here: gpt-9: context is 1050000 here, 2000000 there"]),
        ("web_searches_kcount=", "thoughts_mtok=", ["not compared: gpt-9: thoughts_mtok"]),
        ("start=272000", "start=128000", ["cheaper here: gpt-9: long_above is 272000 here, 128000 there"]),
    ],
)  # fmt: skip
def test_what_is_planted_in_genai_prices_is_printed(run: Run, old: str, new: str, lines: list[str]) -> None:
    assert old in GENAI
    code, out, err = run(genai=GENAI.replace(old, new))
    assert (code, err) == (0, "")
    assert [each.strip() for each in out.splitlines()[3:] if each.startswith("  ")] == lines


def test_a_model_of_ours_that_nobody_knows_is_named(run: Run) -> None:
    _, out, _ = run(own=changed(OWN, "models/gpt-99", {"input": 1}))
    assert out.splitlines()[-1] == "in neither list: gpt-99"


def test_nothing_is_changed(run: Run, tmp_path: Path) -> None:
    run(own=changed(OWN, "models/gpt-9/output", 1))
    assert json.loads((tmp_path / "prices.json").read_text()) == changed(OWN, "models/gpt-9/output", 1)


@pytest.mark.parametrize(
    ("today", "error"),
    [
        (date(2026, 12, 19), ""),
        (date(2026, 12, 20), "error: gpt-8 ended on 2026-12-20: take it off prices.json"),
        (date(2027, 1, 26), "error: gpt-8 ended on 2026-12-20: take it off prices.json"),
        (
            date(2027, 1, 27),
            "error: gpt-8 ended on 2026-12-20: take it off prices.json\n"
            "error: prices.json was last checked on 2026-11-27, more than 60 days ago: compare it with its sources "
            "and set as_of",
        ),
    ],
)
def test_check_fails_for_a_model_that_has_ended_and_for_an_old_list(run: Run, today: date, error: str) -> None:
    code, out, err = run("--check", today=today)
    assert (code, err.strip()) == (bool(error), error)
    assert "litellm 9.1.0" in out, "what differs is printed in any case"
    assert run(today=today)[0] == 0, "without --check it only tells"


def test_with_the_network_cut_off_one_line_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    code, out, err = run(pip=True)
    assert code == 1
    assert len(out.splitlines()) == 2, "what needs no network is printed"
    assert err.count("\n") == 1
    assert err.startswith("error: litellm cannot be fetched (")
    assert err.endswith(": check the network and pip's index\n")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"litellm": {"gpt-9": {"litellm_provider": "azure"}}}, "has no model of OpenAI's: its layout has changed"),
        ({"litellm": ["gpt-9"]}, "LiteLLM's list cannot be read ("),
        ({"genai": "providers = []"}, "genai-prices has no model of OpenAI's: its layout has changed"),
        ({"genai": "providers = ["}, "genai-prices cannot be read ("),
        ({"genai": GENAI.replace("Decimal('2')", "load('2')[0]")}, "genai-prices cannot be read ("),
        ({"own": {"models": {}}}, "prices.json cannot be read (KeyError('as_of')): correct it"),
        ({"own": {"as_of": "today", "models": {}}}, "as_of has to be the day of the last check"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_in_one_line(run: Run, given: dict[str, Any], says: str) -> None:
    code, _, err = run(**given)
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert says in err


def test_the_relays_own_list_is_read_whole() -> None:
    own = own_list.read()
    listed = json.loads(own_list.PATH.read_text())
    assert own.models.keys() == listed["models"].keys()
    assert own.checked.isoformat() == listed["as_of"]
    assert not own.left_out & own.models.keys()
    assert own.knows("gpt-5-mini-2025-08-07")
    assert not own.knows("gpt-6-luna-2026-09-22")
    assert not own.knows("gpt-6-luna-")
