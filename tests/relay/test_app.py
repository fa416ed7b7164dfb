"""What is put together at the start, as far as no process has to run for it."""

from __future__ import annotations

import pytest
from relay.app import price_list
from relay.models import Usage
from relay.pricing.money import PICO
from relay.settings import Settings

MILLION = Usage(output=1_000_000)


@pytest.mark.parametrize(
    ("variables", "model", "usd"),
    [
        ({}, "gpt-6-sol", 10),
        ({"OPENAI_BASE_URL": "https://eu.api.openai.com/v1"}, "gpt-6-sol", 11),
        ({"PRICES": '{"models": {"gpt-6-sol": {"input": 1, "output": 20}}}'}, "gpt-6-sol", 20),
        ({"PRICES": '{"models": {"own": {"input": 1, "output": 2}}}'}, "own", 2),
        (
            {
                "PRICES": '{"models": {"own": {"input": 1, "output": 20}}}',
                "OPENAI_BASE_URL": "https://us.api.openai.com",
            },
            "own",
            22,
        ),
    ],
)
def test_a_process_prices_by_its_list_its_environment_and_its_host(
    variables: dict[str, str], model: str, usd: int
) -> None:
    price = price_list(Settings.from_environ({"OPENAI_SECRET_ARN": "openai-key", **variables})).of(model)
    assert price is not None
    assert price.cost(MILLION, "") == usd * PICO
