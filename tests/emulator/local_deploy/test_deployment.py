"""A deployment from bootstrap to destroy: the real CDK CLI, IAM enforced, and the relay run as it was deployed.

Everything happens once, in the order of life; each test is one thing that was promised of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from emulator.fakes.raw_upstream import RawUpstream, chat_events, chat_stream
from emulator.local_deploy.command import ask
from emulator.local_deploy.deployment import LocalDeployment
from emulator.local_deploy.permissions import Attempt
from emulator.local_deploy.variants import CALLERS

pytestmark = pytest.mark.timeout(600)  # the CLI takes seconds for each step on a quiet machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What was seen from bootstrap to destroy."""

    differences: str
    key: str
    permissions: list[Attempt]
    with_scan: list[Attempt]
    without_key: list[Attempt]
    direct: httpx.Response
    through_edge: httpx.Response
    upstream_saw: list[str]
    header_before: str
    header_after: str
    rotated_to: str
    after_update: str
    log_level: str
    left: list[str]
    after_a_failure: list[str]
    callers: list[str]
    statements: int
    beside: set[str]
    after_beside: set[str]
    edge_left_over: list[str]
    edge_removed: list[str]


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    with LocalDeployment("dev") as it, RawUpstream() as upstream:
        upstream.answer(*chat_stream("one ", "two"))
        it.bootstrap()
        it.create_callers()
        after_a_failure = it.changes.fail_first()
        it.deploy()
        callers, statements = it.callers(), it.function_statements()
        differences = it.differences()
        key = it.set_key()
        permissions = list(it.attempts())
        it.attach("dynamodb:Scan")
        with_scan = list(it.attempts())
        it.deny("secretsmanager:GetSecretValue")
        without_key = list(it.attempts())
        it.detach()
        with it.running(upstream.url) as relay:
            direct, through_edge = ask(relay, relay.url), ask(relay, relay.edge_url)
        (header_before,) = it.sent_by_the_distribution().values()
        beside, after_beside = it.changes.deploy_beside()
        rotated_to = it.rotate_origin_secret()
        it.update()
        (header_after,) = it.sent_by_the_distribution().values()
        after_update, log_level = it.differences(), it.log_level()
        edge_left_over, edge_removed = it.turn_the_edge_off()
        yield Life(
            differences=differences,
            key=key,
            permissions=permissions,
            with_scan=with_scan,
            without_key=without_key,
            direct=direct,
            through_edge=through_edge,
            upstream_saw=[str(dict(one.headers)["authorization"]) for one in upstream.requests],
            header_before=header_before,
            header_after=header_after,
            rotated_to=rotated_to,
            after_update=after_update,
            log_level=log_level,
            left=it.destroy(),
            after_a_failure=after_a_failure,
            callers=callers,
            statements=statements,
            beside=beside,
            after_beside=after_beside,
            edge_left_over=edge_left_over,
            edge_removed=edge_removed,
        )


def wrong(attempts: list[Attempt]) -> dict[str, str]:
    return {one.what: one.seen for one in attempts if not one.as_it_should_be}


def test_after_a_deployment_there_is_nothing_to_deploy(life: Life) -> None:
    assert life.differences == ""


def test_the_functions_role_may_do_what_the_relay_does_and_nothing_beside(life: Life) -> None:
    assert wrong(life.permissions) == {}
    assert {one.wanted for one in life.permissions} == {True, False}


def test_a_permission_too_many_is_noticed(life: Life) -> None:
    assert wrong(life.with_scan) == {"scan the table": "done"}


def test_a_permission_too_few_is_noticed(life: Life) -> None:
    assert wrong(life.without_key).keys() == {"read the OpenAI key", "read the origin secret"}


def test_what_was_deployed_answers_through_its_edge_with_the_key_that_was_set(life: Life) -> None:
    assert life.through_edge.status_code == 200
    assert life.through_edge.content == b"".join(chat_events("one ", "two"))
    assert life.upstream_saw == [f"Bearer {life.key}"]


def test_what_was_deployed_refuses_who_comes_past_its_edge(life: Life) -> None:
    assert life.direct.status_code == 403
    assert life.direct.json()["error"]["code"] == "edge_required"


def test_a_rotated_origin_secret_reaches_the_distribution_with_the_next_deployment(life: Life) -> None:
    assert len(life.header_before) == 64
    assert life.header_before != life.rotated_to
    assert life.header_after == life.rotated_to


def test_an_update_arrives(life: Life) -> None:
    assert life.log_level == "DEBUG"
    assert life.after_update == ""


def test_nothing_is_left_after_destroy_but_the_bootstrap(life: Life) -> None:
    assert life.left == ["CDKToolkit"]


def test_a_first_deployment_that_fails_leaves_nothing_in_the_way_of_the_next(life: Life) -> None:
    """The next one, in the same account, is all the rest of this file. Only a protected table cannot be taken back."""
    (table,) = life.after_a_failure
    assert table.startswith("table openai-lambda-relay-dev-LimitsTable")


def test_sixty_callers_get_the_policy_and_take_no_room_in_the_functions_own(life: Life) -> None:
    assert life.callers == sorted(CALLERS)
    assert len(CALLERS) == 60
    assert life.statements == 0


def test_a_second_name_lives_beside_the_first_and_goes_alone(life: Life) -> None:
    parts = ("", "-edge", "-monitoring")
    first, second = ({f"openai-lambda-relay-{name}{part}" for part in parts} for name in ("dev", "dev-b"))
    assert life.beside == {"CDKToolkit"} | first | second
    assert life.after_beside == {"CDKToolkit"} | first


def test_an_edge_that_was_turned_off_is_known_and_removed(life: Life) -> None:
    assert life.edge_left_over == ["openai-lambda-relay-dev-edge in us-east-1: deployed, and not part of dev any more"]
    assert life.edge_removed[-1] == "removed"
