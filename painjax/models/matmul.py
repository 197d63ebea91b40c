"""Matrix products of float32 activations and weights with bfloat16 operands, summed in float32.

CPUs with AMX or AVX512-BF16 units do these three to five times faster than float32 products, and only in this form: a
bfloat16 result, or an operand left in float32, falls back to the slow path. Elementwise work stays in float32, which
such CPUs do faster.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def matmul(x: Float[Array, "*N K"], w: Float[Array, "K M"]) -> Float[Array, "*N M"]:
    """x @ w in float32, both operands rounded to bfloat16; so are those of the two products of the backward pass."""
    return _product(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16), ((x.ndim - 1,), (0,)))


def _product(a: Array, b: Array, contract: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    return jax.lax.dot_general(a, b, (contract, ((), ())), preferred_element_type=jnp.float32)


def _forward(x, w):
    rounded = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
    return _product(*rounded, ((x.ndim - 1,), (0,))), rounded


def _backward(rounded, gradient):
    x, w = rounded
    gradient = gradient.astype(jnp.bfloat16)
    rows = tuple(range(x.ndim - 1))
    return _product(gradient, w, ((x.ndim - 1,), (1,))), _product(x, gradient, (rows, rows))


matmul.defvjp(_forward, _backward)
