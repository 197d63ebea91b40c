"""What a benchmark says in the end: rates, their ratio and spread, and what bounds them."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from flax import nnx
from flax.traverse_util import flatten_dict

from painjax.bench.case import Case
from painjax.bench.flops import peak_flops
from painjax.bench.machine import gemm_gflops
from painjax.bench.rounds import spread
from painjax.bench.torch_child import TorchChild
from painjax.models.lora import trains
from painjax.models.vitpain import ViTPain


def report(
    case: Case,
    torch_side: TorchChild,
    rates: Mapping[str, list[float]],
    flops: int,
    built: Mapping[str, Any],
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON object of both commands.

    Args:
      case: what was measured.
      torch_side: the other side, still there, to be asked for its rate of plain products.
      rates: images per second of every round, of 'ours', 'torch' and any other way of ours.
      flops: of one picture, with its neutral reference.
      built: what the other side said of its model.
      machine: `machine.describe()` before the first round: the load should be that of others.

    Returns:
      `images_per_second`, `torch_images_per_second` (medians) and their `ratio`; `rounds` (median, min, max and every
      round of each side); `ratio_per_round` (min, median, max); `gflop_per_image`, `gflops` and `torch_gflops` (what
      the medians amount to), `gemm_gflops` and `torch_gemm_gflops` (what each side reaches on one large product in
      the compute dtype: the bound), `mfu` and `torch_mfu` (fraction of the device's peak; None where it is not known);
      parameter counts; the settings; processor, load, threads, versions.
    """
    rows, d = case.batch_size * case.tokens, case.width
    gemm = gemm_gflops(case), torch_side.ask({"do": "gemm", "rows": rows, "inputs": d, "outputs": 4 * d})["gflops"]
    median = {name: statistics.median(each) for name, each in rates.items()}
    per_round = [a / b for a, b in zip(rates["ours"], rates["torch"], strict=True)]
    peak = peak_flops(case.dtype)
    return {
        "images_per_second": median["ours"],
        "torch_images_per_second": median["torch"],
        "ratio": median["ours"] / median["torch"],
        "ratio_per_round": spread(per_round),
        "rounds": {name: spread(each) for name, each in rates.items()},
        "gflop_per_image": flops / 1e9,
        "gflops": median["ours"] * flops / 1e9,
        "torch_gflops": median["torch"] * flops / 1e9,
        "gemm_gflops": gemm[0],
        "torch_gemm_gflops": gemm[1],
        "mfu": median["ours"] * flops / peak if peak else None,
        "torch_mfu": median["torch"] * flops / peak if peak else None,
        **count_parameters(case),
        **{f"torch_{name}": value for name, value in built.items()},
        "settings": dataclasses.asdict(case),
        **machine,
    }


def count_parameters(case: Case) -> dict[str, int]:
    """`parameters` of our model, and the `trained_parameters` among them."""
    params = nnx.eval_shape(lambda: nnx.state(ViTPain(case.model_config(), rngs=nnx.Rngs(0)), nnx.Param))
    sizes = {path: each.size for path, each in flatten_dict(nnx.to_pure_dict(params), sep="/").items()}
    trained = sum(size for path, size in sizes.items() if trains(path, case.lora_rank))
    return {"parameters": sum(sizes.values()), "trained_parameters": trained}
