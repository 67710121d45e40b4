"""What all tests share: a clean environment and one Hypothesis profile.

Fixtures live beside the tests that use them; this file has none.
"""

import os

import hypothesis
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let proofs be asked for in their long form (`make proofs`)."""
    parser.addoption("--long", action="store_true", help="run proofs in their long form")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the developer's own settings, and let slow machines be slow.

    Args:
        config: pytest's; Hypothesis prints a reproducer where pytest is verbose or in CI.
    """
    for name in [name for name in os.environ if name.startswith("CONTEXTD_")]:
        del os.environ[name]
    in_ci = "CI" in os.environ
    hypothesis.settings.register_profile(
        "contextd",
        deadline=None,
        derandomize=in_ci,
        print_blob=in_ci or config.get_verbosity() > 0,
    )
    hypothesis.settings.load_profile("contextd")
