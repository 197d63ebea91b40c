"""Stopping at the first step that is not finite, with the batch that made it so."""

import io
import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from painjax.errors import UserError
from painjax.files import write_atomically

# How many steps may be on their way while an earlier one is looked at: enough that the device always has its next one.
# The same on every process, so that all of them stop at the same step.
_BEHIND = 2
_NAMED = 20  # examples in a message


class FiniteGuard:
    """Looks at the terms of every step, `_BEHIND` steps late, so that nobody waits for the device.

    It keeps the host's rows of the batches that are on their way.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._unseen: deque[tuple[int, Mapping[str, np.ndarray], dict[str, Array]]] = deque()

    def watch(self, step: int, rows: Mapping[str, np.ndarray], terms: dict[str, Array]) -> None:
        """Takes note of a step that has been started, with this process's rows of its batch.

        Raises:
          UserError: if an earlier step was not finite, naming the file that has its batch.
        """
        for term in terms.values():
            term.copy_to_host_async()
        self._unseen.append((step, rows, terms))
        while len(self._unseen) > _BEHIND:
            self._look(*self._unseen.popleft())

    def settle(self) -> dict[str, float]:
        """Waits for all steps so far; returns the terms of the last one watched.

        Raises:
          UserError: see `watch`.
        """
        terms: dict[str, float] = {}
        while self._unseen:
            terms = self._look(*self._unseen.popleft())
        return terms

    def _look(self, step: int, rows: Mapping[str, np.ndarray], terms: dict[str, Array]) -> dict[str, float]:
        values = {name: float(value) for name, value in jax.device_get(terms).items()}
        if all(math.isfinite(value) for value in values.values()):
            return values
        path = self._workdir / _name(step)
        _save(path, rows)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise UserError(
            f"Training diverged: step {step} is the first that is not finite ({shown}). {_suspects(rows)} Its batch is "
            f"saved in {path}; no checkpoint of {self._workdir} has this step. If the data are sound, lower "
            "config.optim.learning_rate or lengthen config.optim.warmup_steps, in a new --workdir."
        )


def _name(step: int) -> str:
    part = f"_process{jax.process_index()}" if jax.process_count() > 1 else ""
    return f"bad_batch_{step}{part}.npz"


def _save(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **rows)
    write_atomically(path, buffer.getvalue())


def _suspects(rows: Mapping[str, np.ndarray]) -> str:
    """The examples with a number that is not finite, or all of the batch if each of them has none."""
    index = rows["index"]
    found = {
        name: index[~np.isfinite(values).reshape(len(index), -1).all(axis=1)]
        for name, values in rows.items()
        if np.issubdtype(values.dtype, np.floating)
    }
    wrong = [f"{name} of example {_listed(indices)}" for name, indices in found.items() if len(indices)]
    if wrong:
        return f"In the data set not finite: {'; '.join(wrong)}."
    return f"Its examples of the data set: {_listed(index)}."


def _listed(indices: Any) -> str:
    text = ", ".join(str(int(index)) for index in indices[:_NAMED])
    return f"{text} and {len(indices) - _NAMED} more" if len(indices) > _NAMED else text
