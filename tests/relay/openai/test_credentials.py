"""The key: shape, lifetime, rotation, and a store that fails, all on a clock of the test's own."""

from __future__ import annotations

import json

import pytest
from relay.aws.errors import SecretError
from relay.errors import ErrorKind, RelayError
from relay.openai.credentials import Keys, parse

OLD, NEW, THIRD = "sk-old-0123456789", "sk-new-0123456789", "sk-third-0123456789"


class Store:
    """A secret that can change and fail, and a clock beside it."""

    def __init__(self, *keys: str) -> None:
        self.text = keys[0] if len(keys) == 1 else json.dumps({"keys": keys})
        self.failing = False
        self.reads = 0
        self.until = 0.0
        self.now = 1000.0
        self.warnings: list[str] = []

    def fetch(self, until: float) -> str:
        self.reads += 1
        self.until = until
        if self.failing:
            raise SecretError("down")
        return self.text

    def clock(self) -> float:
        return self.now

    def keys(self) -> Keys:
        return Keys(self.fetch, self.clock, warn=self.warnings.append)


def test_the_secret_is_read_when_needed_and_then_kept() -> None:
    store = Store(OLD)
    keys = store.keys()
    assert store.reads == 0
    assert [keys.current() for _ in range(3)] == [OLD] * 3
    assert store.reads == 1


def test_a_read_knows_when_it_has_to_be_over() -> None:
    store = Store(OLD)
    store.keys().current(until=1234.5)
    assert store.until == 1234.5


def test_something_else_is_begun_only_where_the_secret_is_waited_for() -> None:
    store = Store(OLD)
    keys, begun = store.keys(), list[int]()
    for _ in range(3):
        keys.current(meanwhile=lambda: begun.append(store.reads))
    assert begun == [0]


def test_a_rotation_is_noticed_within_the_lifetime() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.current()
    store.text = NEW
    store.now += 299
    assert keys.current() == OLD
    store.now += 1
    assert keys.current() == NEW


def test_a_refused_key_has_the_secret_read_again_at_once() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.refused(keys.current())
    store.text = NEW
    assert keys.current() == NEW
    assert store.reads == 2


def test_of_several_keys_the_first_that_was_not_refused_is_used() -> None:
    store = Store(NEW, OLD)
    keys = store.keys()
    assert keys.current() == NEW
    keys.refused(NEW)
    assert keys.current() == OLD
    store.now += 301
    assert keys.current() == OLD


def test_when_all_were_refused_the_first_is_tried_again() -> None:
    keys = Store(NEW, OLD).keys()
    for key in (keys.current(), OLD):
        keys.refused(key)
    assert keys.current() == NEW


def test_a_key_that_comes_back_in_a_changed_secret_is_tried_anew() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.refused(keys.current())
    store.text = json.dumps({"keys": [OLD, THIRD]})
    assert keys.current() == OLD


def test_without_any_key_a_failing_store_is_said_and_asked_again() -> None:
    store = Store(OLD)
    store.failing = True
    keys = store.keys()
    for _ in range(2):
        with pytest.raises(RelayError) as caught:
            keys.current()
        assert caught.value.kind is ErrorKind.KEY_UNAVAILABLE
    store.failing = False
    assert keys.current() == OLD
    assert store.reads == 3


def test_an_older_key_outlives_an_outage_and_the_store_is_not_hammered() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.current()
    store.failing = True
    store.now += 301
    assert [keys.current() for _ in range(5)] == [OLD] * 5
    assert store.reads == 2
    store.now += 16
    store.failing, store.text = False, NEW
    assert keys.current() == NEW


def test_a_secret_that_turns_bad_does_not_take_the_old_key_away() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.current()
    store.text = "oops"
    store.now += 301
    assert keys.current() == OLD


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (OLD, (OLD,)),
        (f"  {OLD}\n", (OLD,)),
        (json.dumps({"keys": [OLD]}), (OLD,)),
        (json.dumps({"keys": [NEW, OLD], "note": "x"}), (NEW, OLD)),
        ("sk-proj-" + "A_b-9" * 30, ("sk-proj-" + "A_b-9" * 30,)),
    ],
)
def test_what_a_secret_may_look_like(text: str, keys: tuple[str, ...]) -> None:
    assert parse(text) == keys


LOOSE = [
    "",
    " ",
    "x",
    "sk-",
    "sk-short",
    "SK-0123456789",
    f"{OLD} {NEW}",
    f"{OLD}\n{NEW}",
    f"Bearer {OLD}",
    f'"{OLD}"',
    "sk-" + "a" * 501,
    f"{OLD}\u00e9",
    f"{OLD}\0",
    f"{OLD}\r\nx-evil: 1",
    f"sk-{'a' * 20}\n\nsk-",
]
STRUCTURED = [
    "{}",
    '{"keys":[]}',
    '{"keys":"sk-0123456789"}',
    '{"keys":[null]}',
    '{"keys":[["sk-0123456789"]]}',
    f'{{"keys":["{OLD}","x"]}}',
    f'{{"key":"{OLD}"}}',
    "{",
    "[]",
    f'["{OLD}"]',
    "{" * 100_000,
    '{"keys":' + "[" * 100_000,
]


@pytest.mark.parametrize(
    "text",
    [*LOOSE, *STRUCTURED],
)
def test_what_is_no_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse(text)
    assert OLD not in str(caught.value)
    assert "sk-..." in str(caught.value)


def test_a_refresh_that_fails_is_told_while_the_older_key_is_used() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.current()
    store.failing = True
    store.now += 300
    assert keys.current() == OLD
    assert store.warnings == ["down"]
    assert keys.current() == OLD
    assert len(store.warnings) == 1
