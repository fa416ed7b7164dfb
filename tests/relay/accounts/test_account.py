"""An account's item: what is read from it, what is out of date in it, and when an override counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.accounts.account import (
    Account,
    Reservation,
    UsageRecord,
    account_of,
    open_of,
    record_of,
    stored_name,
)
from relay.accounts.limit_kinds import Limits, Unit, Windows
from relay.accounts.overrides import Overrides
from relay.aws.update_expression import decode, encode

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY = 86_400_000


@pytest.mark.parametrize(
    ("at", "windows"),
    [
        (NOON, ("m:29923920", "d:2026-11-23", "M:2026-11")),
        (NOON + DAY // 2 - 1, ("m:29924639", "d:2026-11-23", "M:2026-11")),
        (NOON + DAY // 2, ("m:29924640", "d:2026-11-24", "M:2026-11")),
        (NOON + 8 * DAY, ("m:29935440", "d:2026-12-01", "M:2026-12")),
    ],
)
def test_windows_are_named_by_utc(at: int, windows: tuple[str, str, str]) -> None:
    assert Windows.at(at) == Windows(minute=windows[0], day=windows[1], month=windows[2])


def test_no_item_is_an_account_that_does_not_exist() -> None:
    assert account_of(None) == Account()
    assert not account_of({}).exists


names, counts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=128), st.integers(0, 10**24)


@given(
    st.builds(Reservation, id=names, at=counts, lease=counts, usd=counts, tokens=counts, model=names, endpoint=names)
)
def test_reservations_survive_the_store(entry: Reservation) -> None:
    assert open_of(entry.id, decode(encode(entry.fields()))) == entry


@given(
    st.builds(
        UsageRecord,
        id=names,
        at=counts,
        model=names,
        endpoint=names,
        outcome=names,
        usd=counts,
        tokens=counts,
        bound_usd=counts,
        bound_tokens=counts,
        settled=counts,
        keep=counts,
        tier=names,
        counts=st.dictionaries(names, counts, max_size=3),
    )
)
def test_records_survive_the_store(record: UsageRecord) -> None:
    assert record_of(record.id, decode(encode(record.fields()))) == record


def test_what_is_out_of_date() -> None:
    minute = NOON // 60_000
    names = [
        *(f"m:{minute + step}" for step in (-500, -1, 0, 1)),
        *(f"m:{minute + step}:tok" for step in (-1, 0)),
        *(f"d:2026-11-{day}:usd" for day in (20, 21, 22, 23)),
        *(f"M:2026-{month:02}:req" for month in (8, 9, 10, 11)),
    ]
    kept = {
        f"m:{minute}",
        f"m:{minute + 1}",
        f"m:{minute}:tok",
        "d:2026-11-22:usd",
        "d:2026-11-23:usd",
        "M:2026-10:req",
        "M:2026-11:req",
    }
    assert set(names) - set(Account(counters=dict.fromkeys(names, 1)).stale(NOON)) == kept


def test_what_is_open_and_held() -> None:
    def entry(id: str, at: int, lease: int) -> Reservation:
        return Reservation(id=id, at=at, lease=lease, usd=10, tokens=3)

    account = Account(
        open={e.id: e for e in (entry("a", NOON, NOON + 1), entry("b", NOON, NOON - 1), entry("c", NOON - DAY, NOON))}
    )
    assert [gone.id for gone in account.expired(NOON)] == ["b"]
    assert (account.held(Unit.TOKENS, NOON), account.held(Unit.USD, NOON)) == (6, 20), (
        "yesterday's are held in yesterday's window"
    )


def test_an_override_counts_on_its_day_only() -> None:
    said = Overrides(version=3, day="d:2026-11-23", limits={"usd_per_day": 9})
    limits = Limits(usd_per_day=5, requests_per_minute=1)
    assert said.over(limits, Windows.at(NOON)) == Limits(usd_per_day=9, requests_per_minute=1)
    assert said.over(limits, Windows.at(NOON + DAY)) == limits
    assert Overrides().over(limits, Windows.at(NOON)) is limits
    newer = Overrides(day="d:2026-11-23", limits={"of_a_later_version": 1})
    assert newer.over(limits, Windows.at(NOON)) == limits, "what this version does not know changes nothing"


@given(st.text(max_size=300))
def test_a_stored_name_is_short_printable_ascii_and_stays_as_it_is(text: str) -> None:
    name = stored_name(text)
    assert len(name) == min(len(text), 128)
    assert all(" " <= character <= "~" for character in name)
    assert stored_name(name) == name


def test_the_operators_word_is_read() -> None:
    item = {
        "pk": "p", "sk": "s", "ver": 4, "stop": "why", "halt": "", "over:day": "d:2026-11-23", "over:usd_per_day": 7,
        "open": {}, "done": {}, "d:2026-11-23:usd": 5,
    }  # fmt: skip
    account = account_of({name: encode(value) for name, value in item.items()})
    assert account.exists
    assert account.overrides == Overrides(
        version=4, stopped="why", halted="", day="d:2026-11-23", limits={"usd_per_day": 7}
    )
    assert dict(account.counters) == {"d:2026-11-23:usd": 5}
