"""The train step of an experiment, compiled for devices that are only described."""

import dataclasses
import math
import re
import time
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from painjax import flops, sharding
from painjax.aot.topology import Topology, flags_that_libtpu_knows
from painjax.data.outline import batch_outline
from painjax.state import make_train_step, state_outline

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """What the compiler says of a step.

    mesh: its axes. flops: of the matrix products of one step, on all devices together, counted in what JAX traces.
    memory: bytes on each device: 'arguments', 'temporary', 'output', 'alias' (output in the place of arguments) and
    'peak'; of a program that does not fit, as far as the compiler says. fits: whether it fits the chip's memory.
    text: the program, None where it does not fit or `no_text` says why not. seconds: to trace, lower and compile.
    """

    mesh: Mapping[str, int]
    flops: int
    memory: Mapping[str, int]
    fits: bool
    text: str | None
    no_text: str
    seconds: float


def compile_step(config: ConfigDict, teacher_config: ConfigDict | None, topology: Topology) -> CompiledStep:
    """Compiles what `painjax train` would run on the slice.

    Raises:
      UserError: if mesh, batch or a parameter do not fit the slice.
    """
    start = time.monotonic()
    mesh = sharding.create_mesh(config.mesh.to_dict(), topology.devices)
    sharding.check_batch_size(config.batch_size, mesh, config.accumulate)
    state, optimizer = state_outline(config, mesh, teacher_config)
    train_step = make_train_step(config, optimizer, jax.tree.map(lambda x: x.sharding, state), mesh)
    batch = batch_outline(config)
    products = flops.count(train_step, state, batch)
    lowered = train_step.lower(state, batch)

    memory, fits, text, why = {}, False, None, ""
    try:
        with flags_that_libtpu_knows(), warnings.catch_warnings():
            # JAX may have kept an earlier compilation, which it cannot read without the devices.
            warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        memory, why = _memory_wanted(error, _bytes_on_a_device((state, batch), mesh)), "it does not fit"
    else:
        memory = memory_of(compiled)
        fits = memory["peak"] <= topology.chip.hbm_bytes
        try:
            text = compiled.as_text()
        except jax.errors.JaxRuntimeError as error:  # of some large programs libtpu cannot print the text
            why = str(error).splitlines()[0]
    return CompiledStep(dict(mesh.shape), products, memory, fits, text, why, time.monotonic() - start)


def memory_of(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes on each device of a compiled function: all parts of `CompiledStep.memory`."""
    found = compiled.memory_analysis()
    parts = {
        "arguments": found.argument_size_in_bytes,
        "temporary": found.temp_size_in_bytes,
        "output": found.output_size_in_bytes,
        "alias": found.alias_size_in_bytes,
    }
    return parts | {"peak": parts["arguments"] + parts["temporary"] + parts["output"] - parts["alias"]}


def _memory_wanted(error: jax.errors.JaxRuntimeError, arguments: int) -> dict[str, int]:
    """What the compiler names when it gives up: 'required for HLO temporaries (23.84G) exceeds available HBM (15.75G)',
    beside the arguments."""
    found = re.search(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM", str(error))
    if found is None:
        raise error
    temporary = int(float(found.group(1)) * _UNITS[found.group(2)])
    return {"arguments": arguments, "temporary": temporary, "peak": arguments + temporary}


def _bytes_on_a_device(arguments: Any, mesh: Mesh) -> int:
    """Of the arrays of a step; those of a batch, which have no sharding yet, are split over their rows."""
    rows = sharding.batch_sharding(mesh)

    def size(x: jax.ShapeDtypeStruct) -> int:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return 8 * x.size
        return math.prod((x.sharding or rows).shard_shape(x.shape)) * x.dtype.itemsize

    return sum(map(size, jax.tree.leaves(arguments)))
