"""The relay process between scripted neighbours, and the checks of what comes out."""

import pytest

# Its assertions are to explain themselves as those in test files do.
pytest.register_assert_rewrite("tests.harness")
