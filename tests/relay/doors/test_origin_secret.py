"""The relay's check of the origin secret: modes, rotation, a store that is down, and what guessing costs."""

from __future__ import annotations

import pytest
from relay.aws.errors import SecretError
from relay.doors.origin_secret import HEADER, OriginSecretCheck
from relay.errors import ErrorKind, RelayError
from relay.models import EdgeMode

OLD, NEW, WRONG = "old" * 20, "new" * 20, "bad" * 20


class Secret:
    """A secret with two versions in a store that can be down; counts the calls."""

    def __init__(self, current: str, previous: str | None = None) -> None:
        self.current, self.previous = current, previous
        self.calls = 0
        self.until = 0.0
        self.is_down = False

    def rotate(self, value: str) -> None:
        self.current, self.previous = value, self.current

    def read(self, until: float) -> str:
        self._called(until)
        return self.current

    def read_previous(self, until: float) -> str | None:
        self._called(until)
        return self.previous

    def _called(self, until: float) -> None:
        self.calls += 1
        self.until = until
        if self.is_down:
            raise SecretError("down")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """The check, its store and its clock."""

    def __init__(self, mode: EdgeMode = "required") -> None:
        self.secret, self.clock = Secret(OLD), Clock()
        self.edge = OriginSecretCheck(
            mode, read=self.secret.read, read_previous=self.secret.read_previous, clock=self.clock
        )

    def enter(self, secret: str = "") -> str:
        return self.edge.admit({HEADER: secret} if secret else {})

    def refusal(self, secret: str = "") -> ErrorKind:
        with pytest.raises(RelayError) as raised:
            self.enter(secret)
        return raised.value.kind


def test_who_brings_the_secret_comes_through_the_edge() -> None:
    assert Door().enter(OLD) == "edge"


@pytest.mark.parametrize("secret", ["", WRONG, OLD[:-1], OLD + "x", "\udcff" * 40, "ä" * 40])
def test_a_required_edge_refuses_everybody_else(secret: str) -> None:
    assert Door().refusal(secret) is ErrorKind.EDGE_REQUIRED


def test_a_read_knows_when_it_has_to_be_over() -> None:
    door = Door()
    door.edge.admit({HEADER: OLD}, until=1234.5)
    assert door.secret.until == 1234.5


def test_without_the_secret_the_store_is_not_even_asked() -> None:
    door = Door()
    door.refusal()
    assert door.secret.calls == 0


def test_an_optional_edge_lets_both_ways_in_and_still_refuses_a_wrong_secret() -> None:
    door = Door("optional")
    assert (door.enter(), door.enter(OLD), door.refusal(WRONG)) == ("direct", "edge", ErrorKind.EDGE_REQUIRED)


def test_without_an_edge_nothing_is_asked_and_nothing_believed() -> None:
    door = Door("off")
    assert (door.enter(), door.enter(WRONG), door.secret.calls) == ("direct", "direct", 0)


def test_one_call_serves_many_requests() -> None:
    door = Door()
    for _ in range(100):
        door.enter(OLD)
    assert door.secret.calls == 1


def test_during_a_rotation_both_secrets_work_at_once_and_in_any_order() -> None:
    door = Door()
    door.enter(OLD)
    door.secret.rotate(NEW)
    for secret in (OLD, NEW, OLD, NEW):  # CloudFront's locations learn the new one at different times
        assert door.enter(secret) == "edge"


def test_a_process_that_starts_during_a_rotation_knows_both() -> None:
    door = Door()
    door.secret.rotate(NEW)
    assert (door.enter(OLD), door.enter(NEW)) == ("edge", "edge")


def test_both_still_work_when_what_was_read_has_grown_old() -> None:
    door = Door()
    door.secret.rotate(NEW)
    for _ in range(5):
        assert (door.enter(NEW), door.enter(OLD)) == ("edge", "edge")
        door.clock.now += 301


def test_a_second_rotation_ends_the_first_secret() -> None:
    door = Door()
    door.secret.rotate(NEW)
    door.secret.rotate("third" * 12)
    assert door.refusal(OLD) is ErrorKind.EDGE_REQUIRED


def test_the_first_secret_ends_within_its_lifetime_in_a_process_that_knew_it() -> None:
    door = Door()
    door.enter(OLD)
    door.secret.rotate(NEW)
    door.secret.rotate("third" * 12)
    assert door.enter(OLD) == "edge"
    door.clock.now += 301
    assert door.refusal(OLD) is ErrorKind.EDGE_REQUIRED


def test_guessing_buys_two_calls_in_ten_seconds() -> None:
    door = Door()
    door.enter(OLD)
    for _ in range(1000):
        door.refusal(WRONG)
    assert door.secret.calls == 1 + 2
    door.clock.now += 10.1
    door.refusal(WRONG)
    assert door.secret.calls == 1 + 4


def test_a_store_that_is_down_from_the_start_is_not_the_callers_fault() -> None:
    door = Door()
    door.secret.is_down = True
    assert door.refusal(OLD) is ErrorKind.EDGE_UNAVAILABLE
    door.secret.is_down = False
    assert door.enter(OLD) == "edge"


def test_a_store_that_goes_down_later_is_not_noticed() -> None:
    door = Door()
    door.enter(OLD)
    door.secret.is_down = True
    for _ in range(100):
        door.clock.now += 60
        assert door.enter(OLD) == "edge"
    assert door.refusal(WRONG) is ErrorKind.EDGE_REQUIRED


def test_a_secret_that_could_be_guessed_lets_nobody_in() -> None:
    door = Door()
    door.secret.current = "short"
    assert door.refusal("short") is ErrorKind.EDGE_UNAVAILABLE


def test_neither_error_nor_log_quotes_a_secret() -> None:
    door = Door()
    with pytest.raises(RelayError) as raised:
        door.enter(WRONG)
    assert WRONG not in f"{raised.value} {raised.value.log} {raised.value.body()!r}"
