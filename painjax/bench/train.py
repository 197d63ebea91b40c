"""`painjax bench train`: pictures per second of whole training steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from ml_collections import ConfigDict

from painjax import objectives, sharding
from painjax.bench.case import Case, make_case, pictures
from painjax.bench.flops import train_flops
from painjax.bench.machine import describe
from painjax.bench.report import report
from painjax.bench.rounds import alternate, timed
from painjax.bench.torch_child import TorchChild
from painjax.pspi import AU_MAX, PSPI_MAX
from painjax.state import TrainState, create_state

CLIP_NORM = 1.0
WEIGHT_DECAY = 0.05
LEARNING_RATE = 1e-4


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
    seconds: float = 6.0,
) -> dict[str, Any]:
    """Measures whole training steps, taking turns with PyTorch for `rounds` rounds.

    A step is forward, backward, clipping by the global norm and AdamW, with LoRA dropout on both sides; with adapters,
    these and the heads train and the encoders' own weights are frozen. Reading and augmenting pictures is left out on
    both sides, our recomputing of elementwise work (`remat`) is in, as in our training.

    Args:
      size, image_size, batch_size, dtype, matmul_dtype, neutral, lora_rank: see `Case`; without a dtype float32 on a
        CPU, bfloat16 elsewhere. lora_rank 0 trains everything.
      rounds: the figures are their medians.
      seconds: how long each side runs in a round.

    Returns:
      The keys of `report.report`.

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
        step = _step(case)
        sides = {
            "ours": lambda: timed(step, batch_size, seconds),
            "torch": lambda: torch_side.ask({"do": "train", "seconds": seconds})["images_per_second"],
        }
        rates = alternate(sides, rounds, "bench train")
        result = report(case, torch_side, rates, train_flops(case), built, machine)
    return {"command": "train"} | result


def _step(case: Case) -> Callable[[], None]:
    """Our training, compiled: runs one step and waits for it."""
    config = _config(case)
    mesh = sharding.create_mesh(config.mesh.to_dict(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh)
        batch = _batch(case)

        def update(state: TrainState, batch: dict[str, Array | None]) -> tuple[TrainState, Array]:
            def loss(params):
                # The same random streams in every step: drawing from them costs the same.
                model = nnx.merge(state.graphdef, params, state.frozen, state.rng, copy=True)["model"]
                return objectives.supervised(model, batch, config.loss)[0]

            value, gradients = jax.value_and_grad(loss)(state.params)
            updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state), value

        jitted = jax.jit(update, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))
        compiled = jitted.lower(state, batch).compile()

    def step() -> None:
        nonlocal state
        state, value = compiled(state, batch)
        value.block_until_ready()

    return step


def _batch(case: Case) -> dict[str, Array | None]:
    """A prepared batch of random pictures and labels."""
    rng = np.random.default_rng(1)
    image, calm = pictures(case)
    rows = case.batch_size
    return {
        "image": image,
        "neutral": calm,
        "neutral_valid": jnp.ones((rows,), bool) if case.neutral else None,
        "pspi": jnp.asarray(PSPI_MAX * rng.random(rows, np.float32)),
        "aus": jnp.asarray(rng.random((rows, len(AU_MAX)), np.float32)),
        "valid": jnp.ones((rows,), bool),
    }


def _config(case: Case) -> ConfigDict:
    """The experiment that `painjax.state` makes a training of."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1_000_000,
            "accumulate": 1,
            "ema_decay": 0.0,
            "frozen_dtype": "float32",
            "model": case.model_settings(),
            "loss": {"pspi": 1.0, "aus": 1.0, "thresholds": 0.1},
            "optim": {
                "learning_rate": LEARNING_RATE,
                "schedule": "cosine",
                "warmup_steps": 0,
                "final_fraction": 1.0,
                "weight_decay": WEIGHT_DECAY,
                "b1": 0.9,
                "b2": 0.999,
                "clip_norm": CLIP_NORM,
                "groups": {"all": {"pattern": ".*", "rate": 1.0}},
            },
            "mesh": {"data": 1, "fsdp": 1},
        }
    )
