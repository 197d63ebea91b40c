"""The checkpoints of a training run, as the run itself uses them."""

import contextlib
import dataclasses
import math
import os
import shutil
import signal
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from painjax.checkpoint import orbax_files
from painjax.checkpoint.scores import DEFAULT_METRIC, best, goodness, read_scores, write_scores
from painjax.errors import Stopped, UserError
from painjax.state import TrainState

_LEFT_BEHIND = 10.0  # seconds for each thread of a save that has failed
_LOOKS, _BETWEEN_LOOKS = 10, 0.2  # seconds
_DAMAGED = "damaged_checkpoint_"  # what is set aside, before its step


class Checkpoints:
    """The checkpoints of one training run: the last `keep`, and the best one by `metric` (`scores.known_metrics`).

    Use as a context manager: leaving it waits for a save in progress.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2, metric: str = DEFAULT_METRIC):
        self._workdir, self._keep, self._metric = Path(workdir), keep, metric
        # Orbax would do so in a thread of its own, which complains when the process ends soon after.
        self._remove_unfinished()
        self._manager = orbax_files.manager(workdir, self._kept)
        self._saving: int | None = None
        self._stop = threading.Event()
        self._previous_handler: Any = None
        self._asked = 0

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        failed = error is not None and not isinstance(error, Stopped)
        try:
            if not failed:  # else what ended the training is the news
                self._wait()
        finally:
            with contextlib.suppress(*orbax_files.WRITING):  # of the save that has been waited for, or is no news
                self._manager.close()
            orbax_files.wait_for_writers(_LEFT_BEHIND)
            self._remove_unfinished()  # so that a full disk has room again
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)

    def latest_step(self) -> int | None:
        """The last step saved, None if there is none."""
        return self._manager.latest_step()

    def is_validated(self, step: int) -> bool:
        """Whether the model of a saved step has been validated. All processes must ask, and all get the same answer:
        no, if one of them cannot read the scores."""
        return not _any_process(not read_scores(self._path(step)))

    def save(self, state: TrainState, position: dict[str, Any]) -> None:
        """Starts saving; returns once the arrays are copied, so that the state may be donated.

        Args:
          state: what to save; of it what trains, because the rest has a working directory or model folder of its own.
          position: where the run stands beside the state, such as the data iterator's; fit for JSON.

        Raises:
          UserError: if this, or the save before, cannot be written.
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        self._wait()
        self._saving = step
        try:
            orbax_files.write(
                self._manager, step, params=_used(state), progress=_progress(state), position=position
            )  # fmt: skip
        except orbax_files.WRITING as error:
            raise self._not_saved(error) from error

    def write_scores(self, step: int, summary: dict[str, Any]) -> None:
        """Notes down with the saved `step` what its validation gave (`Predictions.summary`)."""
        self._wait()
        if jax.process_index() == 0:
            write_scores(self._path(step), summary)
        if jax.process_count() > 1:  # all decide alike what to keep
            multihost_utils.sync_global_devices("painjax scores")

    def restore(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """The last checkpoint that every process can read, laid out as `state` is.

        A damaged one (full disk, machine lost while copying) is reported and set aside, and the one before it is tried.

        Returns:
          The state and the position saved with it, or None if there is no checkpoint.

        Raises:
          UserError: if a checkpoint is good and does not fit `state`, or may not be read just now; if all are damaged.
        """
        like = {"params": _used(state), "progress": _progress(state), "position": None}
        for step in sorted(self._manager.all_steps(), reverse=True):
            saved = damage = refusal = None
            try:
                saved = orbax_files.read(self._path(step), like)
            except UserError as error:
                refusal = error
            except orbax_files.DAMAGE as error:
                damage = error
            if _any_process(refusal is not None):
                raise refusal or UserError(f"Another process cannot read {self._path(step)}, and says why.")
            if _any_process(damage is not None):
                self._set_aside(step, damage)
                continue
            # Without a running mean the parameters that are used are those that train.
            used, progress = {"model": saved["params"]}, saved["progress"]
            trained = progress.pop("params", None)
            if trained is None:
                restored = dataclasses.replace(state, params=used, **progress)
            else:
                restored = dataclasses.replace(state, params={"model": trained}, ema=used, **progress)
            return restored, saved["position"]
        damaged = sorted(self._workdir.glob(f"{_DAMAGED}*"))
        if _any_process(bool(damaged)):
            raise UserError(
                f"No checkpoint of {self._workdir} can be read. Set aside: {', '.join(map(str, damaged))}. Bring "
                "one back from a copy, or remove them to start again with step 1."
            )
        return None

    def take_signals(self) -> None:
        """From now on SIGTERM waits for `stop_requested` instead of ending the process; a second call changes nothing.

        Before there is a step to save, nothing is lost by ending, and a compilation would not notice. In a job of
        several processes JAX takes the signal from the beginning.
        """
        # Signal handlers may be set in the main thread only.
        here = threading.current_thread() is threading.main_thread()
        if here and self._previous_handler is None and jax.process_count() == 1:
            self._previous_handler = signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def stop_requested(self) -> bool:
        """Whether this job has been told to stop (SIGTERM, which schedulers send some time before they kill).

        Ask when what was computed last can be saved. In a job of several processes all must ask equally often, and all
        get the same answer, whichever of them was told.
        """
        self._check_saved()
        if jax.process_count() > 1:
            self._asked += 1
            return multihost_utils.reached_preemption_sync_point(self._asked)
        return self._stop.is_set()

    def _kept(self, steps: Sequence[int]) -> set[int]:
        """The last ones and, as soon as one has been validated, the best."""
        scores = {step: read_scores(self._path(step)) for step in steps}
        validated = {step: each for step, each in scores.items() if goodness(each, self._metric) > -math.inf}
        return {*sorted(steps)[-self._keep :], *([best(validated, self._metric)] if validated else [])}

    def _path(self, step: int) -> Path:
        return Path(os.path.abspath(self._workdir)) / orbax_files.FOLDER / str(step)

    def _wait(self) -> None:
        try:
            self._manager.wait_until_finished()
        except orbax_files.WRITING as error:
            raise self._not_saved(error) from error
        self._saving = None

    def _check_saved(self) -> None:
        """Raises as soon as a save has failed. One process alone may look: waiting, Orbax waits for the others too."""
        if self._saving is not None and jax.process_count() == 1 and not self._manager.is_saving_in_progress():
            self._wait()

    def _not_saved(self, error: Exception) -> UserError:
        good = max(orbax_files.checkpoints(self._workdir), default=None)
        kept = "There is no earlier checkpoint" if good is None else f"The one of step {good} is kept"
        number = orbax_files.error_number(error)
        why = os.strerror(number) if number else _shortened(error)
        return UserError(
            f"The checkpoint of step {self._saving} could not be written to {self._manager.directory}: {why}. "
            f"{kept}. Check that the disk is not full and may be written to; then the same command goes "
            "on."
        )

    def _remove_unfinished(self) -> None:
        """What a broken-off save has left. Below Orbax, TensorStore's threads go on for a moment, which nobody can wait
        for, and make their folders again: removed until none comes back."""
        if jax.process_index() != 0:
            return
        for _ in range(_LOOKS):
            folders = orbax_files.unfinished(self._workdir)
            if not folders:
                return
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            time.sleep(_BETWEEN_LOOKS)

    def _set_aside(self, step: int, damage: Exception | None) -> None:
        checkpoint, place = self._path(step), self._workdir / f"{_DAMAGED}{step}"
        why = "another process cannot read its part" if damage is None else _shortened(damage)
        logging.warning("Checkpoint %s cannot be read: %s. It is moved to %s.", checkpoint, why, place)
        if jax.process_index() == 0:
            shutil.rmtree(place, ignore_errors=True)  # of an earlier accident at the same step
            checkpoint.rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"painjax set aside {step}")
        self._manager.reload()


def _any_process(flag: bool) -> bool:
    """Whether the flag is set on any process; they wait for each other."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def _used(state: TrainState) -> dict[str, Any]:
    """The trained parameters as the model is used with: their running mean, where there is one."""
    return (state.ema or state.params)["model"]


def _progress(state: TrainState) -> dict[str, Any]:
    """What goes on with training needs beside `_used`."""
    progress = {"step": state.step, "opt_state": state.opt_state}
    return progress | {"params": state.params["model"]} if state.ema else progress


def _shortened(error: Exception) -> str:
    return textwrap.shorten(str(error), 200, placeholder=" ...")
