"""Dropout: its bits against JAX's own Threefry, its rate, its mean, and that it only acts in training."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.random import threefry_2x32

from painjax.models.dropout import Dropout, threefry_bits


def test_bits_are_those_of_threefry():
    key = jax.random.key(7)
    count = jnp.concatenate([jnp.arange(24, dtype=jnp.uint32), jnp.zeros(24, jnp.uint32)])
    want = threefry_2x32(jax.random.key_data(key), count)[:24].reshape(2, 3, 4)
    np.testing.assert_array_equal(threefry_bits(key, (2, 3, 4)), want)


def test_rate_and_mean():
    dropout = Dropout(0.3, rngs=nnx.Rngs(0))
    y = np.asarray(dropout(jnp.full((1000, 1000), 0.7)))
    np.testing.assert_allclose((y == 0).mean(), 0.3, atol=0.002)
    np.testing.assert_allclose(np.unique(y), [0, 1], atol=1e-6)
    for axis in (0, 1):  # no row or column stands out: sd of a mean is 0.0145
        assert np.abs((y == 0).mean(axis=axis) - 0.3).max() < 0.075
    assert (dropout(jnp.ones((100, 100))) != dropout(jnp.ones((100, 100)))).any()


def test_only_in_training():
    dropout, x = Dropout(0.3, rngs=nnx.Rngs(0)), jnp.arange(8.0)
    dropout.eval()
    np.testing.assert_array_equal(dropout(x), x)
    gradient = jax.grad(lambda x: Dropout(0.5, rngs=nnx.Rngs(0))(x).sum())(jnp.ones(1000))
    assert set(np.unique(gradient)) == {0, 2}
