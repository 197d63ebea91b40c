"""Softmax attention: the one place that chooses how it is computed."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from painjax.flops import counting

_MASKED = -1e30  # finite, so that a row without any key gives no NaN


def attend(
    q: Float[Array, "B N H K"],
    k: Float[Array, "B M H K"],
    v: Float[Array, "B M H K"],
    valid: Bool[Array, "B M"] | None = None,
) -> Float[Array, "B N H K"]:
    """Softmax attention over the valid keys; the softmax is in float32. Without a valid key the result has no meaning.

    On an NVIDIA GPU cuDNN's fused kernel, which takes half-precision inputs and no mask that varies by row. Everywhere
    else two products, heads first, divided late: on CPU XLA then copies least, which makes it three times as fast as
    `jax.nn.dot_product_attention`. The two products are also what `painjax.flops` counts, whatever runs.
    """
    if valid is None and _fused(q) and not counting.value:
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    q, k, v = (x.swapaxes(1, 2) for x in (q / math.sqrt(q.shape[-1]), k, v))  # [B, H, N | M, K]
    scores = jnp.einsum("bhnk,bhmk->bhnm", q, k, preferred_element_type=jnp.float32)
    if valid is not None:
        scores = jnp.where(valid[:, None, None, :], scores, _MASKED)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))  # [B, H, N, M]
    found = jnp.einsum("bhnm,bhmk->bhnk", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    found = found / weights.sum(axis=-1, keepdims=True)
    return found.astype(v.dtype).swapaxes(1, 2)  # [B, N, H, K]


def _fused(q: Array) -> bool:
    """Whether cuDNN has a kernel for these queries: for GPUs since Ampere (compute capability 8.0)."""
    if jax.default_backend() != "gpu" or q.dtype != jnp.bfloat16 or q.shape[-1] % 8 or q.shape[-1] > 128:
        return False
    device = jax.devices()[0]
    return "NVIDIA" in device.device_kind.upper() and float(device.compute_capability) >= 8
