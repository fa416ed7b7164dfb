"""The form of keys, and when one that is stored lets in."""

from __future__ import annotations

import itertools
import string
from typing import Any

import pytest
from authorizer import api_key

NOW = 1_795_435_200_000
KEY = api_key.create()
STORED = api_key.fields(KEY, name="ci-bot", now=NOW - 1, until=NOW + 1, owner="", labels={})


def test_a_new_key_is_well_formed_and_like_no_other() -> None:
    keys = {api_key.create() for _ in range(200)}
    assert len(keys) == 200
    assert all(map(api_key.is_well_formed, keys))
    assert {len(key) for key in keys} == {len(api_key.PREFIX) + 43 + 6}


def test_a_key_has_room_for_256_bits_and_uses_it() -> None:
    """Digits at the very front vary as far as 2**256 lets them: no bit is cut off."""
    assert 62**43 > 2**256 > 62**42
    secrets = [api_key.create()[len(api_key.PREFIX) :][:43] for _ in range(2000)]
    assert {secret[0] for secret in secrets} >= set("01234567"), "2**256 is 11.4 * 62**42"
    assert all(len({secret[place] for secret in secrets}) == 62 for place in range(1, 43))


def test_every_single_typing_error_is_refused_without_a_look_up() -> None:
    letters = string.ascii_letters + string.digits
    typed = {KEY[:at] + letter + KEY[at + 1 :] for at in range(len(KEY)) for letter in letters} - {KEY}
    typed |= {KEY[:at] + KEY[at + 1] + KEY[at] + KEY[at + 2 :] for at in range(9, len(KEY) - 1)} - {KEY}
    assert not any(map(api_key.is_well_formed, typed))


@pytest.mark.parametrize(
    "key",
    ["", "sk-relay-", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.upper(), KEY.replace("-", "_")],
    ids=itertools.count(),  # the key is another in each process
)
def test_what_has_another_form_is_no_key(key: str) -> None:
    assert not api_key.is_well_formed(key)


def test_what_is_kept_does_not_contain_the_key() -> None:
    assert KEY.removeprefix(api_key.PREFIX)[:12] not in repr(STORED)
    assert STORED["hash"].startswith(api_key.id_of(KEY))


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"until": 0}, True),
        ({"until": NOW}, False),
        ({"until": NOW - 1}, False),
        ({"until": None}, False),
        ({"until": "9999999999999"}, False),
        ({"until": True}, False),
        ({"off": NOW - 5}, False),
        ({"off": NOW + 5}, False),
        ({"hash": api_key.digest(api_key.create())}, False),
        ({"hash": ""}, False),
        ({"hash": None}, False),
        ({"name": ""}, False),
        ({"name": "*"}, False),
        ({"name": None}, False),
    ],
)
def test_only_what_is_stored_as_valid_lets_in(changes: dict[str, Any], valid: bool) -> None:
    assert api_key.is_valid(KEY, {**STORED, **changes}, NOW) is valid


def test_nothing_stored_lets_nobody_in() -> None:
    assert not api_key.is_valid(KEY, {}, NOW)
    assert not api_key.is_valid(api_key.create(), STORED, NOW)
