"""The tests of compiled programs."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def optimized():
    """Programs are looked at as users get them."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
