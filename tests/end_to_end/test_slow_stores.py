"""Two stores that are slow at once: one time for all that is asked of AWS before OpenAI."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support import relay_with_limits
from tests.support.cpu_wait import CpuWait
from tests.support.doubles.store_proxy import StoreProxy


def test_a_slow_table_and_a_secret_that_hangs_are_503_in_time_together(bundle: Path) -> None:
    """Each within its own limit they would take some two seconds."""
    policies = {"default": {"usd_day": 1, "output_cap": 500}}
    with StoreProxy("http://127.0.0.1:9") as hanging:
        hanging.fault, hanging.slowness = "slow", 4.0
        with relay_with_limits.running(bundle, policies, AWS_ENDPOINT_URL_SECRETS_MANAGER=hanging.url) as setup:
            first = setup.over(setup.send())  # the caller is known, the process warm, the key still unread
            assert first.json()["error"]["code"] == "key_unavailable"
            setup.proxy.fault, setup.proxy.slowness = "slow", 0.7
            waited, began = CpuWait(*filter(None, setup.local.pids())), time.monotonic()
            response = setup.send()
            took = time.monotonic() - began
            setup.proxy.fault = ""
            assert response.status_code == 503
            assert response.json()["error"]["code"] in ("key_unavailable", "store_unavailable")
            assert took < 1.5 + waited.seconds()
            assert not setup.upstream.requests
            assert len(hanging.calls) == 2, "the table answered in time, and then the secret did not"
