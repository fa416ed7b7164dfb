"""`operate key ...`: keys as the authorizer and the relay's ledger then see them."""

from __future__ import annotations

import io
import json

import pytest
from authorizer import api_key
from authorizer.handler import Authorizer
from relay.accounts.account import Reservation
from relay.accounts.limit_kinds import Limits
from relay.ledger.ledger import Ledger
from relay.limits.decision import RefusedError, judge
from relay.pricing.money import PICO

from operate.__main__ import main
from operate.keys.table import KeysTable, caller_of
from tests.support import dynamo
from tests.support.operator_desk import Desk

HOUR = 3_600_000
ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcde12345/relay/POST/v1/responses"
BOT = caller_of("ci-bot")


def run(desk: Desk, *arguments: str, ok: bool = True) -> str:
    """What the command prints, on the desk's clock."""
    desk.output.readouterr()
    failed = main(arguments, io.StringIO(), lambda _: desk.limits_table)
    out, err = desk.output.readouterr()
    assert bool(failed) != ok, err
    return out if ok else err


def create(desk: Desk, *options: str) -> str:
    return run(desk, "key", "create", "--name", "ci-bot", *options).strip()


def authorized(desk: Desk, key: str) -> bool:
    authorizer = Authorizer(dynamo.client(desk.url), desk.table, lambda: desk.now)
    decision = authorizer({"authorizationToken": f"Bearer {key}", "methodArn": ARN})
    return bool(decision["policyDocument"]["Statement"][0]["Effect"] == "Allow")


def admitted(desk: Desk, key: str, ledger: Ledger | None = None) -> bool:
    entry = Reservation(
        id=f"id-{next(desk.ids)}", at=desk.now, lease=desk.now + 60_000, usd=PICO, tokens=1, key_id=api_key.id_of(key)
    )
    try:
        (ledger or desk.ledger).reserve(BOT.key, BOT.subject, entry, Limits(), judge)
    except RefusedError as error:
        if error.refusal.code != "key":
            raise
        return False
    return True


def test_a_new_key_lets_in_and_only_its_hash_is_kept(desk: Desk) -> None:
    key = create(desk, "--expires", "2h", "--owner", "Ann", "--label", "team=search")
    assert api_key.is_well_formed(key)
    assert authorized(desk, key)
    assert admitted(desk, key)
    items = dynamo.client(desk.url).scan(TableName=desk.table)["Items"]
    assert key.removeprefix(api_key.PREFIX)[:10] not in json.dumps(items)
    shown = run(desk, "key", "list")
    assert key not in shown
    assert all(text in shown for text in ("ci-bot", api_key.id_of(key), "valid", "Ann", "team=search"))


def test_a_key_expires_for_both(desk: Desk) -> None:
    key = create(desk, "--expires", "1h")
    assert admitted(desk, key)
    desk.now += HOUR
    assert not authorized(desk, key)
    assert not admitted(desk, key)
    assert "expired" in run(desk, "key", "list")


@pytest.mark.parametrize("by", ["name", "id", "key"])
def test_a_revoked_key_is_refused_at_the_next_admission_of_every_process(desk: Desk, by: str) -> None:
    key = create(desk)
    others = [desk.relay() for _ in range(3)]
    assert all(admitted(desk, key, ledger) for ledger in others)
    run(desk, "key", "revoke", {"name": "ci-bot", "id": api_key.id_of(key), "key": key}[by])
    assert not any(admitted(desk, key, ledger) for ledger in [*others, desk.relay()])
    assert not authorized(desk, key)
    assert "revoked" in run(desk, "key", "list", "ci-bot")
    assert "no valid key" in run(desk, "key", "revoke", "ci-bot", ok=False)


def test_after_a_revocation_a_new_key_of_that_name_lets_in(desk: Desk) -> None:
    first = create(desk)
    assert admitted(desk, first)
    run(desk, "key", "revoke", "ci-bot")
    second = create(desk)
    assert admitted(desk, second)
    assert not admitted(desk, first)
    assert desk.limits_table.account(BOT).count(f"d:{_today(desk)}", "req") == 2, "one budget, whichever key"


def test_rotation_leaves_both_valid_for_a_while(desk: Desk) -> None:
    first = create(desk, "--owner", "Ann")
    second = run(desk, "key", "rotate", "ci-bot", "--overlap", "1h").strip()
    assert all(authorized(desk, key) and admitted(desk, key) for key in (first, second))
    desk.now += HOUR
    assert not authorized(desk, first)
    assert not admitted(desk, first)
    assert authorized(desk, second)
    assert admitted(desk, second)
    assert run(desk, "key", "list").count("Ann") == 2


def test_rotation_never_makes_a_key_valid_for_longer(desk: Desk) -> None:
    first = create(desk, "--expires", "30m")
    run(desk, "key", "rotate", "ci-bot", "--overlap", "24h")
    desk.now += HOUR
    assert not authorized(desk, first)


def test_keys_that_are_over_leave_the_account(desk: Desk) -> None:
    create(desk, "--expires", "1m")
    desk.now += HOUR
    second = create(desk)
    assert list(desk.limits_table.account(BOT).overrides.keys) == [api_key.id_of(second)]
    assert len(KeysTable(desk.limits_table).all()) == 2


def test_a_stopped_caller_is_stopped_whatever_its_key(desk: Desk) -> None:
    key = create(desk)
    desk.run("stop", "key:ci-bot")
    with pytest.raises(RefusedError, match="stopped"):
        admitted(desk, key)
    desk.run("start", "key:ci-bot")
    assert admitted(desk, key)


def test_a_key_that_was_never_issued_is_refused_by_the_relay_alone(desk: Desk) -> None:
    create(desk)
    assert not admitted(desk, api_key.create())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "--name", "CI bot"), "--name is 'CI bot'; allowed"),
        (("create", "--name", "a/b"), "allowed"),
        (("create", "--name", "x", "--expires", "soon"), "--expires is 'soon'"),
        (("create", "--name", "x", "--expires", "0d"), "--expires"),
        (("create", "--name", "x", "--expires", "99999d"), "3653d"),
        (("create", "--name", "x", "--label", "team"), "NAME=TEXT"),
        (("rotate", "nobody"), "no valid key"),
        (("revoke", "nobody"), "no valid key"),
    ],
)
def test_says_in_one_line_what_to_change(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    error = run(desk, "key", *arguments, ok=False)
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [("revoke",), ("rotate",), ("create", "--name")])
@pytest.mark.parametrize("kept", [None, 30], ids=["a whole key", "a part of one"])
def test_a_key_that_stands_where_a_name_belongs_is_not_repeated(
    desk: Desk, arguments: tuple[str, ...], kept: int | None
) -> None:
    key = api_key.create()[:kept]
    assert key[len(api_key.PREFIX) :][:8] not in run(desk, "key", *arguments, key, ok=False)


def test_a_second_key_is_a_rotation(desk: Desk) -> None:
    create(desk)
    assert "key rotate ci-bot" in run(desk, "key", "create", "--name", "ci-bot", ok=False)


def _today(desk: Desk) -> str:
    return next(name[2:12] for name in desk.limits_table.account(BOT).counters if name.startswith("d:"))
