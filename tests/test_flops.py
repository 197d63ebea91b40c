"""Counts of single constructs, each known beforehand."""

import types

import jax
import jax.numpy as jnp
import pytest

from painjax import flops
from painjax.models.attention import attend

N, K, M = 5, 7, 3
X, W, SQUARE = jnp.ones((N, K)), jnp.ones((K, M)), jnp.ones((K, K))


def test_a_product_of_n_by_k_and_k_by_m_counts_two_nkm():
    assert flops.count(jnp.matmul, X, W) == 2 * N * K * M
    assert flops.count(lambda a, b: jnp.einsum("bnk,bmk->bnm", a, b), jnp.ones((2, N, K)), jnp.ones((2, M, K))) == (
        2 * 2 * N * K * M
    )
    assert flops.count(lambda x: jnp.tanh(x) + 2 * x, X) == 0


def test_shapes_will_do_and_jit_changes_nothing():
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (X, W)]
    assert flops.count(jax.jit(jnp.matmul), *shapes) == flops.count(jnp.matmul, X, W)


def test_what_no_result_depends_on_does_not_count():
    assert flops.count(lambda x, w: (x @ w, x @ SQUARE)[0], X, W) == 2 * N * K * M
    assert flops.count(jax.jit(lambda x, w: jax.jit(lambda: (x @ w, x @ SQUARE))()[0]), X, W) == 2 * N * K * M


def stacked(x, weights):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()


def unrolled(x, weights):
    for w in weights:
        x = jnp.tanh(x @ w)
    return x.sum()


def test_a_scan_counts_as_its_unrolled_loop():
    weights = jnp.ones((6, K, K))
    for loop in (stacked, unrolled):
        assert flops.count(loop, X, weights) == 6 * 2 * N * K * K
        assert flops.count(jax.grad(loop, argnums=(0, 1)), X, weights) == 3 * 6 * 2 * N * K * K


def test_what_is_computed_again_counts_again():
    def layer(x, w):
        return jnp.tanh(jnp.tanh(x @ w) @ w)

    def loss(remat):
        return lambda x, w: (jax.checkpoint(layer) if remat else layer)(x, w).sum()

    once = 2 * N * K * K
    kept, again = (flops.count(jax.value_and_grad(loss(remat)), X, SQUARE) for remat in (False, True))
    assert (kept, again) == (4 * once, 6 * once)


def test_custom_derivatives_and_branches_are_followed():
    @jax.custom_vjp
    def product(x, w):
        return x @ w

    product.defvjp(lambda x, w: (x @ w, (x, w)), lambda saved, g: (g @ saved[1].T, saved[0].T @ g))
    assert flops.count(product, X, W) == 2 * N * K * M
    gradient = jax.grad(lambda x, w: product(x, w).sum(), argnums=(0, 1))
    assert flops.count(gradient, X, W) == 2 * 2 * N * K * M  # nobody needs the value itself

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ SQUARE @ SQUARE, lambda x: x @ SQUARE, x)

    assert flops.count(branch, X) == 2 * 2 * N * K * K


def test_convolutions():
    image, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 10))
    dimensions = ("NHWC", "HWIO", "NHWC")

    def convolve(image, kernel, groups=1):
        return jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "VALID", dimension_numbers=dimensions, feature_group_count=groups
        )

    assert flops.count(convolve, image, kernel) == 2 * (2 * 6 * 6 * 10) * (3 * 3 * 6)
    assert flops.count(lambda i, k: convolve(i, k, 2), image, kernel[:, :, :3]) == 2 * (2 * 6 * 6 * 10) * (3 * 3 * 3)


def test_a_loop_of_unknown_length_is_refused():
    def until(x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ SQUARE, x)

    with pytest.raises(ValueError, match="inside 'while'"):
        flops.count(until, X)
    # Elementwise work may loop as it likes.
    assert flops.count(lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), X) == 0


def test_attention_counts_the_same_where_a_kernel_computes_it(monkeypatch):
    """No GPU is needed to see who would be asked; a jitted function that was traced to run is traced anew to count."""
    q = jnp.ones((2, 5, 3, 8), jnp.bfloat16)
    products = 2 * (2 * 2 * 3 * 5 * 5 * 8)

    @jax.jit
    def loss(q, k, v):
        return attend(q, k, v).astype(jnp.float32).sum()

    kernel = jax.ffi.ffi_call("a_kernel", jax.ShapeDtypeStruct(q.shape, q.dtype))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    device = types.SimpleNamespace(device_kind="NVIDIA H200", compute_capability="9.0")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda q, k, v, *, implementation: kernel(q, k, v))
    assert "a_kernel" in str(jax.make_jaxpr(loss)(q, q, q))
    assert flops.count(loss, q, q, q) == products
    assert flops.count(jax.grad(loss, argnums=(0, 1, 2)), q, q, q) == 3 * products
    assert "a_kernel" in str(jax.make_jaxpr(loss)(q, q, q))


def test_what_does_not_say_what_it_computes_is_refused():
    kernel = jax.ffi.ffi_call("a_kernel", jax.ShapeDtypeStruct(X.shape, X.dtype))
    with pytest.raises(ValueError, match="'ffi_call': it does not say what it computes"):
        flops.count(kernel, X)
