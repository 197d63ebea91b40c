"""Floating point operations of a function, counted in what JAX traces of it, without running or compiling it.

XLA's own count (`cost_analysis`) takes the body of a scan once, however often it runs, so it is no measure of a model
whose blocks are scanned.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.interpreters import partial_eval

# Primitives that run their one inner function once.
_CALLS = {"jit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"}
# Kernels and other code that may multiply without saying how often.
_OPAQUE = {"ffi_call", "pure_callback", "ragged_dot_general", "scaled_matmul"}
_OPAQUE_KERNELS = ("dot_product_attention",)  # how the names of cuDNN's begin

# Whether a function is traced to be counted and not to run: who has a kernel then leaves it for the products that it
# stands for. A part of the keys of JAX's caches, so that neither trace is taken for the other.
counting = jax.make_user_context(default_value=False)


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """Operations of all matrix products and convolutions of one call, over all devices together.

    A product of [N, K] by [K, M] counts 2 N K M; elementwise work is not counted. The body of a scan counts as often as
    it runs, of branches the dearest one. What is recomputed (`jax.checkpoint`) counts again, what no result depends on
    does not count. Attention counts as its two products, whichever kernel would run (`counting`).

    Args:
      function: anything that JAX can trace, jitted or not.
      arguments: its positional arguments; `jax.ShapeDtypeStruct`s will do in the place of arrays.

    Raises:
      ValueError: if there are products inside a loop of unknown length, or in a kernel or another construct whose
        number of runs is not known here.
    """
    with counting(True):
        traced = jax.make_jaxpr(function)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
    return _of_jaxpr(needed)


def _of_jaxpr(jaxpr: Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: JaxprEqn) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_channels = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * equation.outvars[0].aval.size * math.prod(kernel) // out_channels
    if name in _OPAQUE or name.startswith(_OPAQUE_KERNELS):
        raise ValueError(f"Cannot count the products of {name!r}: it does not say what it computes.")
    inner = [_of_jaxpr(each) for value in equation.params.values() for each in _jaxprs(value)]
    if not any(inner):
        return 0
    if name == "scan":
        return equation.params["length"] * sum(inner)
    if name == "cond":
        return max(inner)
    if name in _CALLS:
        return sum(inner)
    raise ValueError(f"Cannot count the products inside {name!r}: how often they run is not known before they do.")


def _jaxprs(value: Any) -> list[Jaxpr]:
    """The functions among an equation's parameters."""
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, Jaxpr):
        return [value]
    return [each for part in value for each in _jaxprs(part)] if isinstance(value, tuple | list) else []
