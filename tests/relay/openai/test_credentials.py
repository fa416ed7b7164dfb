"""The key: shape, lifetime, rotation, and a store that fails, all on a clock of the test's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from relay.aws.errors import SecretError
from relay.errors import ErrorKind, RelayError
from relay.openai.credentials import ApiKeys, parse

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

    def keys(self) -> ApiKeys:
        return ApiKeys(self.fetch, self.clock, warn=self.warnings.append)


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
    keys.refuse(keys.current())
    store.text = NEW
    assert keys.current() == NEW
    assert store.reads == 2


def test_of_several_keys_the_first_that_was_not_refused_is_used() -> None:
    store = Store(NEW, OLD)
    keys = store.keys()
    assert keys.current() == NEW
    keys.refuse(NEW)
    assert keys.current() == OLD
    store.now += 301
    assert keys.current() == OLD


def test_when_all_were_refused_the_first_is_tried_again() -> None:
    keys = Store(NEW, OLD).keys()
    for key in (keys.current(), OLD):
        keys.refuse(key)
    assert keys.current() == NEW


def serve(store: Store, keys: ApiKeys, works: Callable[[str, int], bool], requests: int) -> list[tuple[str, bool]]:
    """One request each second: which key was used, and whether OpenAI took it."""
    served = []
    for number in range(requests):
        key = keys.current()
        served.append((key, works(key, number)))
        if not served[-1][1]:
            keys.refuse(key)
        store.now += 1
    return served


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_whichever_key_works_is_found_in_as_many_requests_as_there_are_keys_and_stays_in_use(count: int) -> None:
    names = [f"sk-key-{number}-0123456789" for number in range(count)]
    for working in itertools.product([False, True], repeat=count):
        accepted = {name for name, works in zip(names, working, strict=True) if works}

        def takes(key: str, number: int, accepted: set[str] = accepted) -> bool:
            return key in accepted

        # What OpenAI refused before, in passing and in any order, must not matter.
        for passing in itertools.product(range(count + 1), repeat=count):
            store = Store(*names)
            keys = store.keys()
            for number in passing:
                keys.current()
                if number < count:
                    keys.refuse(names[number])
            served = serve(store, keys, takes, 3 * count)
            if accepted:
                assert all(taken for _, taken in served[count - 1 :])
                assert len({key for key, _ in served[count - 1 :]}) == 1
            else:
                assert {key for key, _ in served} == set(names), "each is tried in its turn"


@pytest.mark.parametrize("keys_in_secret", [("dead", "good"), ("good", "dead"), ("dead", "good", "dead too")])
def test_a_passing_refusal_does_not_put_a_good_key_away(keys_in_secret: tuple[str, ...]) -> None:
    names = {f"sk-{name.replace(' ', '-')}-0123456789": name for name in keys_in_secret}
    store = Store(*names)
    served = serve(store, store.keys(), lambda key, number: names[key] == "good" and number != 5, 30)
    failed = [number for number, (_, taken) in enumerate(served) if not taken]
    assert 5 in failed
    assert failed[-1] < 5 + len(names)
    assert len(failed) <= 2 * len(names) - 1


def test_refusals_have_the_secret_read_once_in_fifteen_seconds() -> None:
    store = Store(OLD, THIRD)
    keys = store.keys()
    serve(store, keys, lambda key, number: False, 60)
    assert store.reads <= 1 + 1 + 60 // 15
    store.text = NEW
    served = serve(store, keys, lambda key, number: key == NEW, 20)
    assert all(taken for _, taken in served[15:])


def test_a_refusal_of_a_key_that_is_no_longer_in_the_secret_changes_nothing() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.current()
    store.text = NEW
    store.now += 301
    assert keys.current() == NEW
    keys.refuse(OLD)
    assert keys.current() == NEW


def test_a_key_that_comes_back_in_a_changed_secret_is_tried_anew() -> None:
    store = Store(OLD)
    keys = store.keys()
    keys.refuse(keys.current())
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
