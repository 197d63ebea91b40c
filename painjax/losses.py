"""Losses: pure functions of predictions, targets and the mask of valid rows, in float32.

Every loss averages over the valid rows only, so that padding never counts, and refuses shapes that differ: a [B, 1]
that broadcasts against a [B] is the commonest silent bug of regression code. A batch without a valid row costs 0.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from painjax.pspi import PSPI_THRESHOLDS, au_shares

Scalar = Float[Array, ""]


def mse(
    prediction: Float[Array, "B *rest"], target: Float[Array, "B *rest"], valid: Bool[Array, "B"], *, scale: float = 1.0
) -> Scalar:
    """Mean squared error of (prediction - target) / scale. `scale` is the range of the quantity, e.g. `PSPI_MAX`."""
    _same_shape(prediction, target)
    return valid_mean(((prediction - target) / scale) ** 2, valid)


def threshold_bce(logits: Float[Array, "B T"], pspi: Float[Array, "B"], valid: Bool[Array, "B"]) -> Scalar:
    """Binary cross-entropy of the events PSPI >= 1, 2, 3, averaged over the three."""
    if logits.shape[1] != len(PSPI_THRESHOLDS):
        raise ValueError(f"logits have shape {logits.shape}; expected one column for each of {PSPI_THRESHOLDS}.")
    events = pspi[:, None] >= jnp.asarray(PSPI_THRESHOLDS, jnp.float32)[None, :]  # [B, T]
    return valid_mean(optax.losses.sigmoid_binary_cross_entropy(logits, events.astype(jnp.float32)), valid)


def fraction_bce(logits: Float[Array, "B *rest"], target: Float[Array, "B *rest"], valid: Bool[Array, "B"]) -> Scalar:
    """Cross-entropy of fractions or probabilities, 0..1, less the target's own: a perfect prediction costs 0."""
    _same_shape(logits, target)
    entropy = -jax.scipy.special.xlogy(target, target) - jax.scipy.special.xlogy(1 - target, 1 - target)
    return valid_mean(optax.losses.sigmoid_binary_cross_entropy(logits, target) - entropy, valid)


def gaussian_nll(
    prediction: Float[Array, "B"],
    log_variance: Float[Array, "B"],
    target: Float[Array, "B"],
    valid: Bool[Array, "B"],
) -> Scalar:
    """Negative log likelihood of a normal distribution, each row weighted by its standard deviation.

    The weight (beta-NLL with beta 0.5; Seitzer et al., arXiv 2203.09168) carries no gradient. Without it rows that are
    predicted badly claim a large variance and are given up.
    """
    _same_shape(prediction, target)
    _same_shape(prediction, log_variance)
    nll = 0.5 * (log_variance + (prediction - target) ** 2 * jnp.exp(-log_variance))  # [B]
    return valid_mean(nll * jax.lax.stop_gradient(jnp.exp(0.5 * log_variance)), valid)


def feature_alignment(
    student: Float[Array, "B *tokens D"], teacher: Float[Array, "B *tokens D"], valid: Bool[Array, "B"]
) -> Scalar:
    """1 - cosine between a student's tokens and the teacher's at the same place, 0..2; no gradient to the teacher."""
    _same_shape(student, teacher)
    student = student.astype(jnp.float32)  # tokens arrive in the compute dtype
    teacher = jax.lax.stop_gradient(teacher).astype(jnp.float32)
    return valid_mean(1 - jnp.sum(_unit(student) * _unit(teacher), axis=-1), valid)


def attention_guidance(
    attention: Float[Array, "B A P"], heat: Float[Array, "B P"], aus: Float[Array, "B A"], valid: Bool[Array, "B"]
) -> Scalar:
    """Pulls the attention of active AU queries onto the patches where the face moves: KL(heat || mean attention).

    Args:
      attention: each query's distribution over the patches.
      heat: pain heatmap per patch, >= 0, e.g. its mean over the patch.
      aus: intensities; a unit weighs in the mean attention by its share of the expression (`painjax.pspi.au_shares`).

    Rows without heat (neutral frames) ask for nothing and cost 0.
    """
    total = jnp.sum(heat, axis=1, keepdims=True)  # [B, 1]
    mixed = jnp.einsum("bap,ba->bp", attention, au_shares(aus))  # [B, P]
    goal = heat / jnp.maximum(total, 1e-6)  # [B, P]
    divergence = jnp.sum(jax.scipy.special.xlogy(goal, goal) - goal * jnp.log(mixed + 1e-6), axis=1)  # [B]
    return valid_mean(divergence, valid & (total[:, 0] > 0) & (jnp.sum(aus, axis=1) > 0))


def valid_mean(values: Float[Array, "B *rest"], valid: Bool[Array, "B"]) -> Scalar:
    """Mean of `values` over the valid rows and all other axes; 0 if no row is valid. Invalid rows may hold NaN."""
    if values.shape[:1] != valid.shape:
        raise ValueError(f"values {values.shape} and valid {valid.shape} differ in their number of rows.")
    mask = valid.reshape(valid.shape + (1,) * (values.ndim - 1))  # [B, 1, ...]
    per_row = max(values.size // max(values.shape[0], 1), 1)
    total = jnp.sum(jnp.where(mask, values.astype(jnp.float32), 0))
    return total / jnp.maximum(jnp.sum(valid) * per_row, 1).astype(jnp.float32)


def _same_shape(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise ValueError(f"Shapes {a.shape} and {b.shape} differ; losses do not broadcast.")


def _unit(x: Array) -> Array:
    # rsqrt of the clamped square keeps the gradient finite for an all-zero token.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))
