"""Losses against NumPy written out; padding must never count; shapes must never broadcast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from painjax import losses

VALID = jnp.array([True, True, False, True])


def draw(*shape, low=0.0, high=1.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def with_garbage(x):
    """The same rows, but the invalid one holds NaN."""
    x = x.copy()
    x[2] = np.nan
    return jnp.asarray(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_mse():
    p, t = draw(4, high=16), draw(4, high=16, seed=1)
    want = np.mean(((p - t)[np.asarray(VALID)] / 16) ** 2)
    assert losses.mse(with_garbage(p), jnp.asarray(t), VALID, scale=16.0) == pytest.approx(want, rel=1e-6)
    p, t = draw(4, 6), draw(4, 6, seed=1)
    assert losses.mse(with_garbage(p), jnp.asarray(t), VALID) == pytest.approx(
        np.mean((p - t)[np.asarray(VALID)] ** 2), rel=1e-6
    )


def test_threshold_bce():
    logits, pspi = draw(4, 3, low=-4, high=4), np.array([0.0, 1.0, 9.0, 2.5], np.float32)
    events = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]])
    p = sigmoid(logits)
    want = -np.mean((events * np.log(p) + (1 - events) * np.log(1 - p))[np.asarray(VALID)])
    assert losses.threshold_bce(with_garbage(logits), jnp.asarray(pspi), VALID) == pytest.approx(want, rel=1e-5)


def test_fraction_bce():
    logits, target = draw(4, 5, 9, low=-4, high=4), draw(4, 5, 9, seed=1)
    p, t = sigmoid(logits), target.astype(np.float64)
    kl = t * np.log(t / p) + (1 - t) * np.log((1 - t) / (1 - p))
    assert losses.fraction_bce(with_garbage(logits), jnp.asarray(target), VALID) == pytest.approx(
        kl[np.asarray(VALID)].mean(), rel=1e-4
    )


def test_a_perfect_heatmap_costs_nothing_even_where_it_is_black():
    target = np.concatenate([draw(4, 5, 4), np.zeros((4, 5, 4), np.float32), np.ones((4, 5, 1), np.float32)], axis=2)
    logits = np.clip(np.log(np.maximum(target, 1e-30)) - np.log(np.maximum(1 - target, 1e-30)), -40, 40)
    assert losses.fraction_bce(jnp.asarray(logits), jnp.asarray(target), VALID) == pytest.approx(0, abs=1e-6)


def test_feature_alignment():
    s, t = draw(4, 5, 8, low=-1), draw(4, 5, 8, low=-1, seed=1)
    cosine = (s * t).sum(-1) / np.linalg.norm(s, axis=-1) / np.linalg.norm(t, axis=-1)
    got = losses.feature_alignment(with_garbage(s), jnp.asarray(t), VALID)
    assert got == pytest.approx(1 - cosine[np.asarray(VALID)].mean(), rel=1e-5)
    gradient = jax.grad(losses.feature_alignment, argnums=1)(jnp.asarray(s), jnp.asarray(t), VALID)
    assert not np.any(gradient)  # the teacher is not taught
    gradient = jax.grad(losses.feature_alignment)(jnp.zeros((4, 5, 8)), jnp.asarray(t), VALID)
    assert np.isfinite(gradient).all()


def test_attention_guidance():
    attention = draw(4, 6, 5) + 0.1
    attention /= attention.sum(-1, keepdims=True)
    heat = draw(4, 5, seed=1)
    aus = np.array([[1, 3, 0, 0, 0, 0], [0, 2, 0, 0, 5, 1], [1] * 6, [0] * 6], np.float32)
    rows = []
    for i in (0, 1):  # row 2 is padding, row 3 shows no action unit
        goal = heat[i] / heat[i].sum()
        share = aus[i] / [5, 5, 5, 5, 5, 1]
        mixed = (share[:, None] * attention[i]).sum(0) / share.sum()
        rows.append(np.sum(goal * np.log(goal / mixed)))
    got = losses.attention_guidance(with_garbage(attention), jnp.asarray(heat), jnp.asarray(aus), VALID)
    assert got == pytest.approx(np.mean(rows), rel=1e-4)
    still = losses.attention_guidance(jnp.asarray(attention), jnp.zeros((4, 5)), jnp.asarray(aus), VALID)
    assert still == 0


def test_no_valid_row_costs_nothing_and_has_a_finite_gradient():
    none = jnp.zeros(4, bool)
    value, gradient = jax.value_and_grad(losses.mse)(jnp.ones(4), jnp.zeros(4), none)
    assert value == 0 and not np.any(gradient)


def test_padding_sends_no_gradient():
    gradient = jax.grad(losses.mse)(jnp.ones(4), jnp.zeros(4), VALID)
    np.testing.assert_allclose(gradient, np.where(VALID, 2 / 3, 0), rtol=1e-6)


def test_losses_do_not_broadcast():
    with pytest.raises((ValueError, TypeError)):
        losses.mse(jnp.zeros((4, 1)), jnp.zeros(4), VALID)
    with pytest.raises((ValueError, TypeError)):
        losses.mse(jnp.zeros(4), jnp.zeros(4), VALID[:3])
