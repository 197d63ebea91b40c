"""Where arrays live: the mesh, the one table from logical to mesh axes, and the layout of a batch.

Parameters carry *logical* axis names (`nnx.with_partitioning(init, ("embed", "mlp"))`); `LOGICAL_RULES` alone says
which mesh axis each one is split over. Nothing falls back to replication silently: an unknown name, or a dimension that
its mesh axis does not divide, is an error.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from painjax.errors import UserError

MESH_AXES = ("data", "fsdp", "model")
# 'data' splits only the batch; 'fsdp' the batch over its rows and the weights over their width; 'model' not the batch,
# but the weights over attention heads and the MLP's hidden units, whose products are then computed in parts.
LOGICAL_RULES: dict[str, str | None] = {"embed": "fsdp", "mlp": "model", "heads": "model", "layer": None}
BATCH_AXES = ("data", "fsdp")
BATCH_SPEC = PartitionSpec(BATCH_AXES)


def create_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the device mesh with axes `MESH_AXES`.

    Args:
      shape: size of each axis, for instance `{"data": -1, "fsdp": 1}`; one may be -1, which takes the devices left.
        'model' is 1 where it is not given.
      devices: the devices to use, real or of a described topology; all of this job's when None.

    Returns:
      A mesh with Auto axes (`jax.make_mesh` would make them Explicit, where the model's reshapes are errors).

    Raises:
      UserError: if the axes are not `MESH_AXES`, or do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    wanted = f"config.mesh = {dict(shape)}"
    sizes = {"model": 1} | dict(shape)
    if set(sizes) != set(MESH_AXES):
        raise UserError(f"{wanted}; expected exactly the axes {', '.join(MESH_AXES)}.")
    free = [axis for axis in MESH_AXES if sizes[axis] == -1]
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise UserError(f"{wanted}; expected positive sizes, at most one of them -1 (meaning: the devices left over).")
    if free:
        sizes[free[0]] = len(devices) // math.prod(size for size in sizes.values() if size != -1)
    if math.prod(sizes.values()) != len(devices):
        raise UserError(f"{wanted} does not fit the devices: its sizes must multiply to {len(devices)}, their number.")
    # `jax.make_mesh` splits a physical axis of v5e alone: it has no 64 x 4 for a v6e of 16 x 16 chips.
    placed = mesh_utils.create_device_mesh(
        tuple(sizes[axis] for axis in MESH_AXES), devices, allow_split_physical_axes=True
    )
    return Mesh(placed, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def batch_ways(mesh: Mesh) -> int:
    """Over how many parts the rows of a batch are split."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """Raises UserError unless the mesh divides each of the `accumulate` parts of the global batch (a remainder would be
    padded or dropped unseen)."""
    unit = batch_ways(mesh) * accumulate
    if batch_size < 1 or batch_size % unit:
        parts = f", in {accumulate} parts (config.accumulate)" if accumulate > 1 else ""
        fitting = max(math.ceil(batch_size / unit), 1) * unit
        raise UserError(
            f"config.batch_size = {batch_size} does not divide over the mesh {dict(mesh.shape)} of {mesh.size} devices"
            f"{parts}. Use a multiple of {unit}, for instance {fitting}, or fewer devices."
        )


def param_shardings(state: nnx.State, mesh: Mesh) -> dict[str, Any]:
    """The sharding of every variable of `state`, from its logical axis names and `LOGICAL_RULES`.

    Args:
      state: abstract or concrete state of `nnx.Variable`s with `out_sharding` metadata (without any: replicated).
      mesh: the device mesh.

    Returns:
      A pure dict shaped like `nnx.to_pure_dict(state)` with a NamedSharding per leaf.

    Raises:
      UserError: listing every dimension with an unknown logical name or a size that its mesh axis does not divide.
    """
    problems: list[str] = []

    def place(path, variable):
        name = "/".join(str(getattr(key, "key", key)) for key in path)
        shape = variable.get_value().shape
        logical = variable.get_metadata().get("out_sharding") or (None,) * len(shape)
        spec = []
        for size, axis in zip(shape, logical, strict=True):
            if axis is not None and axis not in LOGICAL_RULES:
                problems.append(f"{name} {shape}: unknown logical axis {axis!r}; expected one of {list(LOGICAL_RULES)}")
            mesh_axis = LOGICAL_RULES.get(axis) if axis is not None else None
            if mesh_axis is not None and size % mesh.shape[mesh_axis]:
                problems.append(
                    f"{name} {shape}: logical axis {axis!r} of size {size} does not divide over mesh axis "
                    f"{mesh_axis!r} of size {mesh.shape[mesh_axis]}"
                )
            spec.append(mesh_axis)
        return NamedSharding(mesh, PartitionSpec(*spec))

    placed = jax.tree_util.tree_map_with_path(place, state, is_leaf=lambda x: isinstance(x, nnx.Variable))
    if problems:
        raise UserError(
            "These parameters cannot be split over the mesh; change config.mesh or the model's size:\n  "
            + "\n  ".join(problems)
        )
    return nnx.to_pure_dict(placed)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds in full (step counters, random keys, metrics)."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of every array of a batch: rows over all devices."""
    return NamedSharding(mesh, BATCH_SPEC)


def process_rows(mesh: Mesh, batch_size: int, process: int | None = None) -> Int[np.ndarray, "n"]:
    """Which rows of a global batch lie on the devices of a process, ascending; of this process, when None.

    They need not be one block: the order of a mesh follows the links between the chips, not the processes. Processes
    that 'model' reaches over hold the same rows, and all of them load these.
    """
    process = jax.process_index() if process is None else process
    placed = batch_sharding(mesh).devices_indices_map((batch_size,))
    held = [np.arange(batch_size)[rows] for device, (rows,) in placed.items() if device.process_index == process]
    return np.unique(np.concatenate(held))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh, batch_size: int | None = None) -> dict[str, jax.Array]:
    """Makes global device arrays from this process's rows of a batch.

    Args:
      batch: the rows that `process_rows` names, or all rows.
      mesh: the device mesh.
      batch_size: of the global batch; None: `batch` is all of it.

    Raises:
      ValueError: if `batch` is neither.
    """
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows, (batch_size or len(rows), *rows.shape[1:]))
        for name, rows in batch.items()
    }


def split_batch(batch: Mapping[str, jax.Array], parts: int) -> dict[str, jax.Array]:
    """[B, ...] -> [parts, B / parts, ...] for the arrays of a batch; no row leaves its device."""

    def split(x: jax.Array) -> jax.Array:
        x = jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)  # [parts, B / parts, ...]
        if jax.sharding.get_abstract_mesh().empty:
            return x
        return jax.lax.with_sharding_constraint(x, PartitionSpec(None, *BATCH_SPEC))

    return {name: split(x) for name, x in batch.items()}


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gather_weight(weight: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """`weight`, whole along what 'fsdp' splits; does nothing where no mesh is set.

    For products of few rows, where XLA would sooner move the rows to the parts of the weight: an all-to-all. The
    gradient is left as it comes, so that it is summed into its parts.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return weight
    split = (LOGICAL_RULES.get(axis) if axis else None for axis in axes)
    return jax.lax.with_sharding_constraint(weight, PartitionSpec(*(None if x == "fsdp" else x for x in split)))


gather_weight.defvjp(lambda weight, axes: (gather_weight(weight, axes), None), lambda axes, _, gradient: (gradient,))


def mix_parts(weight: jax.Array, parts: int) -> jax.Array:
    """The outputs of a weight [..., parts * M], which lie part after part, dealt out so that each device along 'model'
    holds its share of every part; `part_outputs` takes what the product gives apart again.

    Split as they lie, a device would hold some parts whole, and the activations would have to move between devices.
    Here the weight is gathered instead. Does nothing where 'model' splits nothing.
    """
    ways = _model_ways()
    if parts == 1 or ways == 1:
        return weight
    *rows, outputs = weight.shape
    free = (PartitionSpec.UNCONSTRAINED,) * len(rows)
    weight = jax.lax.with_sharding_constraint(weight, PartitionSpec(*free, None))
    mixed = weight.reshape(*rows, parts, ways, -1).swapaxes(-3, -2).reshape(*rows, outputs)
    return jax.lax.with_sharding_constraint(mixed, PartitionSpec(*free, "model"))


def part_outputs(y: jax.Array, parts: int) -> list[jax.Array]:
    """The `parts` outputs [..., M] of a product [..., parts * M] with a weight of `mix_parts`."""
    *rows, outputs = y.shape
    y = y.reshape(*rows, _model_ways(), parts, -1)  # [..., ways, parts, M / ways]
    return [y[..., part, :].reshape(*rows, outputs // parts) for part in range(parts)]


def _model_ways() -> int:
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape["model"]


def constrain_batch(x: jax.Array) -> jax.Array:
    """Keeps `x` [B, ...] split over its rows; does nothing where no mesh is set, as a train step does for itself.

    Without it XLA shards the width of activations instead: 2.4 times the memory and 33 all-to-alls at ViT-L size.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, BATCH_SPEC)
