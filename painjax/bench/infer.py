"""`painjax bench infer`: pictures per second of a trained model."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from painjax.bench.case import Case, make_case, pictures
from painjax.bench.flops import forward_flops
from painjax.bench.machine import describe
from painjax.bench.report import report
from painjax.bench.rounds import alternate, timed
from painjax.bench.torch_child import TorchChild
from painjax.models.vitpain import ViTPain, ViTPainOutput


def main(
    size: str = "s",
    *,
    image_size: int = 224,
    batch_size: int = 8,
    dtype: str | None = None,
    matmul_dtype: str = "float32",
    neutral: bool = True,
    lora_rank: int = 8,
    rounds: int = 5,
    seconds: float = 4.0,
) -> dict[str, Any]:
    """Measures predicting with a model that still has its adapters, taking turns for `rounds` rounds.

    peft adds the adapters' products to the layer's own; our layers fold them into the kernel inside every call. What
    models cost on both sides that were merged before is measured with `lora_rank` 0. PyTorch encodes the neutral
    reference with every frame, as the authors' code does. Ours is measured so too, and with people enrolled beforehand
    (`ViTPain.enrol`), which leaves one encoder pass per frame.

    Args:
      size, image_size, batch_size, dtype, matmul_dtype, neutral, lora_rank: see `Case`; without a dtype float32 on a
        CPU, bfloat16 elsewhere.
      rounds: the figures are their medians.
      seconds: how long each side runs in a round.

    Returns:
      The keys of `report.report`, and with a neutral reference `images_per_second_enrolled` and `ratio_enrolled`:
      enrolled against PyTorch, which has no such thing.

    Raises:
      UserError: if a setting cannot be measured, or PyTorch, transformers or peft is missing or fails.
    """
    case = make_case(
        size=size,
        image_size=image_size,
        batch_size=batch_size,
        dtype=dtype,
        matmul_dtype=matmul_dtype,
        neutral=neutral,
        lora_rank=lora_rank,
    )
    machine = describe()
    with TorchChild() as torch_side:
        built = torch_side.ask({"do": "build", "case": case.for_torch()})
        steps = _steps(case)
        sides = {name: lambda step=step: timed(step, batch_size, seconds) for name, step in steps.items()}
        sides["torch"] = lambda: torch_side.ask({"do": "infer", "seconds": seconds})["images_per_second"]
        rates = alternate(sides, rounds, "bench infer")
        result = report(case, torch_side, rates, forward_flops(case), built, machine)
    if "enrolled" in rates:
        enrolled = statistics.median(rates["enrolled"])
        result["images_per_second_enrolled"] = enrolled
        result["ratio_enrolled"] = enrolled / result["torch_images_per_second"]
        result["gflop_per_image_enrolled"] = forward_flops(case, enrolled=True) / 1e9
    return {"command": "infer", "adapters": "not merged beforehand" if lora_rank else "none"} | result


def _split(case: Case) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    model = ViTPain(case.model_config(), rngs=nnx.Rngs(0))
    model.eval()
    return nnx.split(model, nnx.Param, ...)


def _steps(case: Case) -> dict[str, Callable[[], object]]:
    """Our model, compiled: what runs one batch, by name."""
    graphdef, *_ = nnx.eval_shape(lambda: _split(case))
    params, rest = jax.jit(lambda: tuple(nnx.to_pure_dict(part) for part in _split(case)[1:]))()
    image, calm = pictures(case)

    def read(output: ViTPainOutput) -> tuple[Array, ...]:
        return output.pspi, output.aus, output.threshold_logits

    @jax.jit
    def predict(params, image, calm):
        return read(nnx.merge(graphdef, params, rest)(image, calm))

    @jax.jit
    def predict_enrolled(params, image, reference):
        return read(nnx.merge(graphdef, params, rest)(image, reference=reference))

    steps = {"ours": lambda: jax.block_until_ready(predict(params, image, calm))}
    if case.neutral:
        reference = jax.jit(lambda: nnx.merge(graphdef, params, rest).enrol(calm[:, None]))()
        steps["enrolled"] = lambda: jax.block_until_ready(predict_enrolled(params, image, reference))
    return steps
