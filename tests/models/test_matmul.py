"""Mixed-precision products against float64 ones of the rounded operands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from painjax.models.matmul import matmul


@pytest.fixture
def operands():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 5, 64)).astype(np.float32), rng.normal(size=(64, 8)).astype(np.float32)


def rounded(a):
    return np.asarray(jnp.asarray(a).astype(jnp.bfloat16).astype(jnp.float32), np.float64)


def test_only_the_operands_are_rounded(operands):
    x, w = operands
    product = matmul(jnp.asarray(x), jnp.asarray(w))
    assert product.dtype == jnp.float32
    np.testing.assert_allclose(product, rounded(x) @ rounded(w), rtol=1e-5, atol=1e-5)


def test_gradients_round_the_incoming_one_too(operands):
    x, w = operands
    y = np.random.default_rng(1).normal(size=(3, 5, 8)).astype(np.float32)
    dx, dw = jax.grad(lambda x, w: (matmul(x, w) * y).sum(), argnums=(0, 1))(jnp.asarray(x), jnp.asarray(w))
    np.testing.assert_allclose(dx, rounded(y) @ rounded(w).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dw, np.einsum("abk,abm->km", rounded(x), rounded(y)), rtol=1e-5, atol=1e-5)
    assert dx.dtype == dw.dtype == jnp.float32
