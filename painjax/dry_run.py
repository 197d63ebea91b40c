"""`painjax train --dry_run`: what a training would be, before anything of it exists.

Nothing is allocated, no data set is read and no folder written; the real step is traced and compiled.
"""

import math
import re
from typing import Any

import jax
from flax import nnx
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from painjax import flops, outline, sharding
from painjax.aot.compilation import memory_of
from painjax.checkpoint import read_config
from painjax.data.outline import batch_outline
from painjax.mfu import model_flops
from painjax.models.lora import ENCODERS
from painjax.state import TrainState, make_model, make_train_step, state_outline


def main(config: ConfigDict) -> dict[str, Any]:
    """Looks at the training of `config` on the devices that there are.

    A teacher that is not trained yet is taken to be of the student's own sizes; pretrained weights that are not given,
    of the sizes that `config.model` has.

    Returns:
      A JSON object. `devices`, `device`, `mesh`; `assumed`, sentences; `parameters`, rows of `part`, `trained` and
      `frozen` (numbers); `optimizer_groups`, rows of `group`, `rate` and `parameters`; `memory`, bytes on each device
      of `parameters`, `optimizer`, `ema`, `frozen` and `batch`, and `compiled`, those that the compiler says of the
      step, `painjax.aot.compilation.memory_of`; `flops`, of all devices: `step`, what a step computes, and
      `model`, the same without augmentation and recomputation; `arrays`, of every parameter `path`, `shape`, `dtype`,
      `logical` and `spec` (an axis or None per dimension) and `bytes` on each device.

    Raises:
      UserError: if the settings, the mesh or the teacher are not fit for training.
    """
    assumed: list[str] = []
    config = outline.complete(config)
    if config.model.get("lora_rank") and not config.get("pretrained"):
        assumed.append("config.pretrained is empty: weights of the sizes that config.model has.")
    teacher = _teacher(config, assumed)
    mesh = sharding.create_mesh(config.mesh.to_dict())
    sharding.check_batch_size(config.batch_size, mesh, config.accumulate)
    state, optimizer = state_outline(config, mesh, teacher)
    step = make_train_step(config, optimizer, jax.tree.map(lambda x: x.sharding, state), mesh)
    placed = sharding.batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(rows.shape, rows.dtype, sharding=placed)
        for name, rows in batch_outline(config).items()
    }
    return {
        "devices": mesh.size,
        "device": mesh.devices.flat[0].device_kind,
        "mesh": dict(mesh.shape),
        "batch_size": config.batch_size,
        "assumed": assumed,
        "parameters": _parameters(state),
        "optimizer_groups": _optimizer_groups(config, state),
        "memory": {
            "parameters": _bytes(state.params),
            "optimizer": _bytes(state.opt_state),
            "ema": _bytes(state.ema),
            "frozen": _bytes(state.frozen),
            "batch": _bytes(batch),
            "compiled": memory_of(step.lower(state, batch).compile()),
        },
        "flops": {"step": flops.count(step, state, batch), "model": model_flops(config, mesh, teacher)},
        "arrays": _arrays(config, teacher, state),
    }


def _teacher(config: ConfigDict, assumed: list[str]) -> ConfigDict | None:
    given = None
    if config.get("teacher"):
        try:
            given = read_config(config.teacher)
        except FileNotFoundError:
            assumed.append(f"There is no trained teacher in {config.teacher}: one of the student's own sizes.")
    elif "teacher" in config and not config.get("teacher_outputs"):
        assumed.append("config.teacher is empty: a teacher of the student's own sizes.")
    return outline.teacher_of(config, given)


def _parameters(state: TrainState) -> list[dict[str, Any]]:
    """Trained and frozen numbers of each encoder, of all heads together, and of the teacher."""
    rows: dict[str, dict[str, int]] = {}
    for kind, tree in (("trained", state.params), ("frozen", state.frozen)):
        for path, value in flatten_dict(tree).items():
            owner, part = path[0], path[1]
            name = "teacher" if owner == "teacher" else part if part in ENCODERS else "heads"
            rows.setdefault(name, {"trained": 0, "frozen": 0})[kind] += value.size
    return [{"part": name, **numbers} for name, numbers in rows.items()]


def _optimizer_groups(config: ConfigDict, state: TrainState) -> list[dict[str, Any]]:
    sizes = {path: value.size for path, value in flatten_dict(state.params, sep="/").items()}
    return [
        {
            "group": name,
            "rate": group.rate,
            "parameters": sum(size for path, size in sizes.items() if re.fullmatch(group.pattern, path)),
        }
        for name, group in config.optim.groups.items()
    ]


def _arrays(config: ConfigDict, teacher: ConfigDict | None, state: TrainState) -> list[dict[str, Any]]:
    logical = {"model": _logical_axes(config)} | ({} if teacher is None else {"teacher": _logical_axes(teacher)})
    rows = []
    for tree in (state.params, state.frozen):
        for (owner, *rest), value in flatten_dict(tree).items():
            path = "/".join(map(str, rest))
            spec = tuple(value.sharding.spec)
            rows.append(
                {
                    "path": f"{owner}/{path}",
                    "shape": list(value.shape),
                    "dtype": value.dtype.name,
                    "logical": list(logical[owner][path]),
                    "spec": [*spec, *(None,) * (value.ndim - len(spec))],
                    "bytes": _bytes(value),
                }
            )
    return rows


def _logical_axes(config: ConfigDict) -> dict[str, tuple[str | None, ...]]:
    """What each dimension of each parameter of the model is called."""
    variables = nnx.eval_shape(lambda: nnx.state(make_model(config), nnx.Param))
    return {
        "/".join(map(str, path)): variable.get_metadata().get("out_sharding") or (None,) * variable.get_value().ndim
        for path, variable in nnx.to_flat_state(variables)
    }


def _bytes(tree: Any) -> int:
    """On each device."""
    return sum(
        math.prod(value.sharding.shard_shape(value.shape)) * value.dtype.itemsize for value in jax.tree.leaves(tree)
    )
