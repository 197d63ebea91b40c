"""LoRA: the product of an adapter, what trains, and folding adapters into the weights beside them.

The layer itself is `painjax.models.linear.Linear`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float

from painjax.models.config import ViTConfig

Config = TypeVar("Config", bound=ViTConfig)
ADAPTER = ("lora_a", "lora_b")
ENCODERS = ("encoder", "neutral_encoder")


@jax.custom_vjp
def adapt(x: Float[Array, "*N K"], a: Float[Array, "K r"], b: Float[Array, "r M"]) -> Float[Array, "*N M"]:
    """x A B. Its backward pass is written out to take the narrow operand first: XLA's CPU copies the first one."""
    return (x @ a) @ b


def _forward(x, a, b):
    z = x @ a  # [..., r]
    return z @ b, (x, a, b, z)


def _backward(saved, gradient):
    x, a, b, z = saved
    narrow = gradient @ b.T  # [..., r]
    return narrow @ a.T, _over_rows(narrow, x).T, _over_rows(z, gradient)


def _over_rows(u, v):
    rows = tuple(range(u.ndim - 1))
    return jax.lax.dot_general(u, v, ((rows, rows), ((), ())))


adapt.defvjp(_forward, _backward)


def trains(path: str, rank: int) -> bool:
    """Whether the parameter at `path` ('encoder/blocks/qkv/kernel') of a ViTPain is trained.

    Without LoRA (`rank` 0) every parameter is; with it the encoders' adapters and everything outside the encoders.
    """
    first, *_, last = path.split("/")
    return rank == 0 or first not in ENCODERS or last in ADAPTER


def merge(params: Mapping[str, Any], config: Config) -> tuple[dict[str, Any], Config]:
    """Folds every adapter into its kernel: W + alpha / rank * A B.

    Args:
      params: nested dict of arrays, of any model with adapters; stacked layers are merged layer by layer.
      config: of that model.

    Returns:
      The parameters without adapters, and the configuration with `lora_rank` 0.
    """
    scale = config.lora_alpha / config.lora_rank if config.lora_rank else 0.0
    return _map_adapted(params, lambda kernel, a, b: kernel + scale * (a @ b)), _without(config)


def unmerge(params: Mapping[str, Any], adapters: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Inverse of `merge`: takes `adapters` (the nested dict that was merged) out of the kernels of `params` again.

    Args:
      params: without adapters.
      adapters: the same tree with `lora_a` and `lora_b` beside the kernels they were folded into.
      config: of the model with adapters.
    """
    scale = config.lora_alpha / config.lora_rank
    restored = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            restored[name] = unmerge(value, adapters.get(name, {}), config)
        else:
            restored[name] = value
    if ADAPTER[0] in adapters:
        a, b = (np.asarray(adapters[name], np.float32) for name in ADAPTER)
        restored |= {"kernel": params["kernel"] - scale * (a @ b), **{name: adapters[name] for name in ADAPTER}}
    return restored


def _map_adapted(params: Mapping[str, Any], fold) -> dict[str, Any]:
    merged = {
        name: _map_adapted(value, fold) if isinstance(value, Mapping) else value
        for name, value in params.items()
        if name not in ADAPTER
    }
    if ADAPTER[0] in params:
        merged["kernel"] = fold(*(np.asarray(params[name], np.float32) for name in ("kernel", *ADAPTER)))
    return merged


def _without(config: Config) -> Config:
    return dataclasses.replace(config, lora_rank=0)
