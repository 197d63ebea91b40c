"""Checkpoints: saved without stopping the training, restored exactly, on whatever devices there are.

The only file that knows Orbax. A working directory W holds `W/config.json` and `W/checkpoints/<step>/`.
"""

import dataclasses
import json
import math
import os
import shutil
import signal
import textwrap
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from flax import nnx
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

from painjax.errors import UserError
from painjax.models.vitpain import ViTPain
from painjax.state import TrainState, make_model

_FOLDER = "checkpoints"
METRIC = "pspi_mae"  # what 'best' means: lowest on the validation split
# What reading a truncated, emptied or half-deleted checkpoint has been seen to raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError)


class Checkpoints:
    """The checkpoints of one training run: the last `keep`, and the best by `METRIC`.

    Use as a context manager: inside it SIGTERM only sets what `stop_requested` tells; leaving it waits for a save in
    progress.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2):
        _set_aside_unscored(Path(workdir) / _FOLDER)
        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(get_metric_fn=_goodness, n=1),
        ]
        self._manager = _manager(
            workdir,
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        )
        self._stop = threading.Event()
        self._previous_handler = None

    def __enter__(self) -> "Checkpoints":
        # Signal handlers may be set in the main thread only.
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._manager.close()
        if self._previous_handler is not None:
            signal.signal(signal.SIGTERM, self._previous_handler)

    def latest_step(self) -> int | None:
        """The last step saved, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, position: dict[str, Any], score: float = math.inf) -> None:
        """Starts saving; returns once the arrays are copied, so that the state may be donated.

        Args:
          state: what to save; its teacher is not saved, it has its own working directory.
          position: where the run stands beside the state, such as the data iterator's; fit for JSON.
          score: `METRIC` of this state, if it has been validated; else it is never the best.
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        arguments = ocp.args.Composite(
            params=ocp.args.PyTreeSave(state.params["model"]),
            progress=ocp.args.PyTreeSave({"step": state.step, "opt_state": state.opt_state}),
            position=ocp.args.JsonSave(position),
        )
        score = score if math.isfinite(score) else math.inf
        self._manager.save(step, args=arguments, metrics={METRIC: score}, force=True)

    def restore(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """The last checkpoint that can be read, laid out as `state` is.

        A damaged one (full disk, machine lost while copying) is reported and set aside, and the one before it is tried.

        Returns:
          The state and the position saved with it, or None if there is no checkpoint.
        """
        params, progress = state.params["model"], {"step": state.step, "opt_state": state.opt_state}
        for step in sorted(self._manager.all_steps(), reverse=True):
            arguments = ocp.args.Composite(
                params=_restore_like(params), progress=_restore_like(progress), position=ocp.args.JsonRestore()
            )
            try:
                saved = self._manager.restore(step, args=arguments)
            except _DAMAGE as error:
                _set_aside(Path(self._manager.directory) / str(step), error)
                self._manager.reload()
                continue
            restored = dataclasses.replace(state, params={"model": saved.params}, **saved.progress)
            return restored, saved.position
        return None

    def stop_requested(self, step: int) -> bool:
        """Whether this job has been told to stop (SIGTERM, which schedulers send some time before they kill).

        All processes get the same answer at the same step, whichever of them was told.
        """
        if jax.process_count() > 1:  # jax.distributed has its own handler, and agrees on a step
            return self._manager.reached_preemption(step)
        return self._stop.is_set()


def read_config(workdir: str | os.PathLike) -> ConfigDict:
    """The configuration that the model in `workdir` was trained with.

    Raises:
      FileNotFoundError: if no training has been started there.
    """
    path = Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {path.name}"))
    return ConfigDict(json.loads(path.read_text()))


def restore_model(workdir: str | os.PathLike) -> tuple[ViTPain, ConfigDict, int]:
    """The best model of a working directory by `METRIC`, or its last one if none has been validated.

    Returns:
      The model in evaluation mode, its configuration, and the step it was saved at.

    Raises:
      FileNotFoundError: if there is no checkpoint.
      UserError: if it cannot be read.
    """
    config = read_config(workdir)
    step = best_step(workdir)
    model = make_model(config)
    model.eval()
    nnx.update(model, restore_params(workdir, step, nnx.to_pure_dict(nnx.state(model, nnx.Param))))
    return model, config, step


def restore_params(workdir: str | os.PathLike, step: int, like: dict[str, Any]) -> dict[str, Any]:
    """The model's parameters as saved in `workdir` at `step`, laid out as the arrays of `like`.

    Raises:
      UserError: if they cannot be read.
    """
    with _manager(workdir, create=False) as manager:
        try:
            return manager.restore(step, args=ocp.args.Composite(params=_restore_like(like))).params
        except _DAMAGE as error:
            raise UserError(
                f"The checkpoint {Path(workdir) / _FOLDER / str(step)} cannot be read: "
                f"{textwrap.shorten(str(error), 200, placeholder=' ...')} Remove that folder and run the training "
                "command again; it goes on from the checkpoint before."
            ) from error


def best_step(workdir: str | os.PathLike) -> int:
    """The saved step with the lowest `METRIC`; the last one if none has been validated.

    Raises:
      FileNotFoundError: if there is no checkpoint.
    """
    if not (Path(workdir) / _FOLDER).is_dir():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {_FOLDER}"))
    with _manager(workdir, create=False) as manager:
        steps = manager.all_steps()
        scores = {step: manager.metrics(step)[METRIC] for step in steps}
    if not steps:
        raise FileNotFoundError(_no_checkpoint(workdir, "no step has been saved yet"))
    # Of equals, such as steps that were never validated, the last one.
    return min(scores, key=lambda step: (scores[step], -step))


def _manager(workdir: str | os.PathLike, **options: Any) -> ocp.CheckpointManager:
    # Replica-parallel saving would compile a small program per array and device at the first save: ten seconds, right
    # when it may be the save before the machine is taken away.
    arrays = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False))
    )
    return ocp.CheckpointManager(
        Path(os.path.abspath(workdir)) / _FOLDER,
        # Without best_fn Orbax does not write the metrics down.
        options=ocp.CheckpointManagerOptions(best_fn=_goodness, **options),
        item_handlers={
            "params": ocp.PyTreeCheckpointHandler(type_handler_registry=arrays),
            "progress": ocp.PyTreeCheckpointHandler(type_handler_registry=arrays),
            "position": ocp.JsonCheckpointHandler(),
        },
    )


def _set_aside_unscored(folder: Path) -> None:
    """Sets aside checkpoints whose score cannot be read, at which Orbax would stop before any is restored."""
    for checkpoint in folder.glob("[0-9]*"):
        if checkpoint.name.isdigit():
            try:
                json.loads((checkpoint / "metrics" / "metrics").read_text())
            except _DAMAGE as error:
                _set_aside(checkpoint, error)


def _set_aside(checkpoint: Path, error: Exception) -> None:
    place = checkpoint.parents[1] / f"damaged_checkpoint_{checkpoint.name}"
    logging.warning("Checkpoint %s cannot be read: %s. It is moved to %s.", checkpoint, error, place)
    if jax.process_index() == 0:
        shutil.rmtree(place, ignore_errors=True)  # of an earlier accident at the same step
        checkpoint.rename(place)


def _goodness(metrics: dict[str, float]) -> float:
    return -metrics[METRIC]


def _restore_like(arrays: Any) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(arrays, restore_args=ocp.checkpoint_utils.construct_restore_args(arrays))


def _no_checkpoint(workdir: str | os.PathLike, why: str) -> str:
    return (
        f"There is no trained model in {workdir}: {why}. Train one with "
        f"`python -m painjax train --config=configs/teacher.py --workdir={workdir}` (or another config), or give the "
        "working directory of a training run."
    )
