"""The relay process between scripted neighbours, and the checks of what comes out."""

import pytest

# The assertions in these are to explain themselves as those in test files do.
pytest.register_assert_rewrite(
    *(f"tests.support.harness.{name}" for name in ("cases", "outcomes", "parsers", "relay_fixture"))
)
