"""Floating point operations of one picture: what the model needs, whichever side computes it and how.

Counted on a model whose adapters are products of their own and which keeps everything for its backward pass, with only
the outputs that both sides return.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from painjax import flops
from painjax.bench.case import Case, pictures
from painjax.chips import chip_of
from painjax.models import lora
from painjax.models.vitpain import ViTPain, ViTPainOutput


def forward_flops(case: Case, *, enrolled: bool = False) -> int:
    """Of one frame and, unless the person is enrolled or there is none, its neutral reference."""
    case, graphdef, params, rest = _outline(case)
    image, calm = pictures(case)
    if not enrolled:
        return flops.count(lambda params: _read(nnx.merge(graphdef, params, rest)(image, calm)), params)
    reference = jax.eval_shape(lambda params: nnx.merge(graphdef, params, rest).enrol(calm[:, None]), params)
    return flops.count(
        lambda params, reference: _read(nnx.merge(graphdef, params, rest)(image, reference=reference)),
        params,
        reference,
    )


def train_flops(case: Case) -> int:
    """Of one frame with its reference, forward and backward; weights that LoRA freezes get no gradient."""
    case, graphdef, params, rest = _outline(case)
    image, calm = pictures(case)
    flat = flatten_dict(params, sep="/")
    trained = {path: value for path, value in flat.items() if lora.trains(path, case.lora_rank)}
    frozen = {path: value for path, value in flat.items() if path not in trained}

    def gradients(trained: dict[str, Any], frozen: dict[str, Any]) -> dict[str, Array]:
        def loss(trained):
            params = unflatten_dict(trained | frozen, sep="/")
            outputs = _read(nnx.merge(graphdef, params, rest, copy=True)(image, calm))
            return sum(jnp.sum(output**2) for output in outputs)

        return jax.grad(loss)(trained)

    return flops.count(gradients, trained, frozen)


def peak_flops(dtype: str) -> float | None:
    """Of one device, in FLOP/s, or None where the device is not known, or the dtype is not bfloat16."""
    chip = chip_of(jax.devices()[0])
    return chip.bfloat16_flops if chip is not None and dtype == "bfloat16" else None


def _outline(case: Case) -> tuple[Case, nnx.GraphDef, dict[str, Any], dict[str, Any]]:
    """The case of one picture, and its model, training: graph, shapes of the parameters, random streams."""
    case = dataclasses.replace(case, batch_size=1)
    config = dataclasses.replace(case.model_config(), remat="none")
    graphdef, params, rest = nnx.split(nnx.eval_shape(lambda: ViTPain(config, rngs=nnx.Rngs(0))), nnx.Param, ...)
    return case, graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def _read(output: ViTPainOutput) -> tuple[Array, ...]:
    return output.pspi, output.aus, output.threshold_logits
