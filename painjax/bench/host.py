"""`painjax bench host`: what the host does for every step. The device waits for it only where it takes longer."""

import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from painjax import outline, sharding
from painjax.bench.machine import describe
from painjax.data.outline import batch_outline
from painjax.divergence import FiniteGuard
from painjax.errors import UserError
from painjax.state import create_state, make_train_step

WIDTH, HEADS, PATCHES = 16, 2, 2  # so small that a step computes next to nothing
_WARM_UP = 10


def main(config: ConfigDict, *, steps: int = 200) -> dict[str, Any]:
    """Measures the host's part of training steps with the structure of `config`: its layers, adapters, losses, teacher,
    optimizer and running mean, at a width of 16, so that the device is done at once.

    Each part is timed with nothing else on its way, and the device's own time is the rest.

    Returns:
      Medians over `steps` steps: `put_batch_ms` (rows to the devices), `dispatch_ms` (until the call of the step
      returns) and `guard_ms` (looking whether the step was finite); `host_ms`, their sum, and `host_cpu_ms`, what the
      thread was running of it, to which other processes do not add; `wait_ms`, from the return of the call until the
      result is there. `arrays`, how many the step takes; `depth`; processor, load, device, versions.

    Raises:
      UserError: if the settings are not fit for training, or `steps` is below 1.
    """
    if steps < 1:
        raise UserError(f"Benchmark: steps is {steps}; expected at least 1 (100 or more for a figure to be trusted).")
    machine = describe()
    config = _small(outline.complete(config))
    mesh = sharding.create_mesh({"data": -1, "fsdp": 1})
    config.batch_size = mesh.size * config.accumulate
    teacher = outline.teacher_of(config, None)
    rows = {name: np.zeros(each.shape, each.dtype) for name, each in batch_outline(config).items()}
    measured: list[tuple[_Stopwatch, ...]] = []
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh, teacher)
        arrays = len(jax.tree.leaves((state, rows)))
        step = make_train_step(config, optimizer, shardings, mesh)
        guard = FiniteGuard(Path("."))
        for number in range(_WARM_UP + steps):
            with _Stopwatch() as put:
                batch = sharding.put_batch(rows, mesh)
            jax.block_until_ready(batch)
            with _Stopwatch() as dispatch:
                state, terms = step(state, batch)
            with _Stopwatch() as wait:
                jax.block_until_ready((state, terms))
            with _Stopwatch() as look:
                guard.watch(number + 1, rows, terms)
            measured.append((put, dispatch, look, wait))
    kept = measured[_WARM_UP:]
    names = ("put_batch_ms", "dispatch_ms", "guard_ms", "wait_ms")
    return {
        "command": "host",
        "host_ms": statistics.median(sum(part.wall_ms for part in parts[:-1]) for parts in kept),
        "host_cpu_ms": statistics.median(sum(part.cpu_ms for part in parts[:-1]) for parts in kept),
        **{
            name: statistics.median(part.wall_ms for part in column)
            for name, column in zip(names, zip(*kept, strict=True), strict=True)
        },
        "arrays": arrays,
        "depth": config.model.depth,
        "steps": steps,
        **machine,
    }


class _Stopwatch:
    """Time that passes inside it, and that this thread runs of it."""

    def __enter__(self) -> "_Stopwatch":
        self._wall, self._cpu = time.perf_counter(), time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_ms = 1e3 * (time.perf_counter() - self._wall)
        self.cpu_ms = 1e3 * (time.thread_time() - self._cpu)


def _small(config: ConfigDict) -> ConfigDict:
    config = config.copy_and_resolve_references()
    model = config.model
    model.update({"width": WIDTH, "heads": HEADS, "image_size": PATCHES * model.patch_size})
    model.project_width = WIDTH if model.project_width else 0
    return config
