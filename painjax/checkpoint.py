"""Checkpoints: saved without stopping the training, restored exactly, on whatever devices there are.

The only file that knows Orbax. A working directory W holds `W/config.json` and `W/checkpoints/<step>/`. A checkpoint
holds what trains; weights that LoRA leaves alone are read from `config.pretrained`, whose hash is in the checkpoint.
Wherever a trained model is asked for, a model folder (`painjax.model_folder`) will do as well.
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
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

from painjax import pretrained
from painjax.errors import UserError
from painjax.model_folder import ModelFolder, build_model, is_model_folder, read_model_folder
from painjax.models import lora
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.state import TrainState, model_outline, place

_FOLDER = "checkpoints"
METRIC = "pspi_mae"  # what 'best' means: lowest on the validation split
_FOLDER_STEP = 0  # of a model folder, which knows no steps
# What a model folder that does not say how it was trained is evaluated with.
_FOLDER_DEFAULTS = {
    "seed": 0,
    "batch_size": 32,
    "data": {
        "name": "pain3d/quick",
        "data_dir": None,
        "train_split": "train",
        "validation_split": "validation",
        "input": "image",
    },
    "loss": {},
}
# What reading a truncated, emptied or half-deleted checkpoint has been seen to raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError)


class Checkpoints:
    """The checkpoints of one training run: the last `keep`, and the best by `METRIC`.

    Use as a context manager: inside it SIGTERM only sets what `stop_requested` tells; leaving it waits for a save in
    progress.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2):
        _remove_unfinished(Path(workdir) / _FOLDER)
        _set_aside_unscored(Path(workdir) / _FOLDER)
        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(get_metric_fn=_goodness, n=1),
        ]
        self._manager = _manager(
            workdir,
            create=True,
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
          state: what to save; of it what trains, because the rest has a working directory or model folder of its own.
          position: where the run stands beside the state, such as the data iterator's; fit for JSON.
          score: `METRIC` of this state, if it has been validated; else it is never the best.
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        arguments = ocp.args.Composite(
            params=ocp.args.PyTreeSave(_used(state)),
            progress=ocp.args.PyTreeSave(_progress(state)),
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
        params, progress = _used(state), _progress(state)
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
            # Without a running mean the parameters that are used are those that train.
            used, trained = {"model": saved.params}, saved.progress.pop("params", None)
            if trained is None:
                restored = dataclasses.replace(state, params=used, **saved.progress)
            else:
                restored = dataclasses.replace(state, params={"model": trained}, ema=used, **saved.progress)
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
    """The configuration that the model in `workdir`, a training run or a model folder, was trained with.

    Raises:
      FileNotFoundError: if no training has been started there.
      UserError: if it cannot be read, or describes no model of this version.
    """
    if is_model_folder(workdir):
        return _folder_config(read_model_folder(workdir))
    path = Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {path.name}"))
    try:
        config = ConfigDict(json.loads(path.read_text()))
        ViTPainConfig(**config.model)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} describes no model of this version of PainJAX: {error} Train it again, or use the version that "
            "trained it."
        ) from error
    return config


def restore_model(workdir: str | os.PathLike) -> tuple[ViTPain, ConfigDict, int]:
    """The best model of a working directory by `METRIC`, or its last one if none has been validated; or a model folder.

    Returns:
      The model in evaluation mode, its configuration, and the step it was saved at. The configuration of a model folder
      has `model`, `data`, `loss`, `batch_size` and `seed`, of the training where the folder knows it; its step is 0.

    Raises:
      FileNotFoundError: if there is no checkpoint.
      UserError: if it, or the pretrained weights that it stands on, cannot be read.
    """
    if is_model_folder(workdir):
        folder = read_model_folder(workdir)
        config = _folder_config(folder)
        return build_model(folder), config, _FOLDER_STEP
    config = read_config(workdir)
    step = best_step(workdir)
    graphdef, shapes, rest = model_outline(config)
    model = nnx.merge(graphdef, restore_params(workdir, step, shapes), rest)
    model.eval()
    return model, config, step


def restore_params(workdir: str | os.PathLike, step: int, like: dict[str, Any]) -> dict[str, Any]:
    """All parameters of the model of `workdir` at `step`, laid out as `like`: arrays, or shapes with a sharding.

    Raises:
      UserError: if they, or the pretrained weights that they stand on, cannot be read.
    """
    if is_model_folder(workdir):
        return place(like, flatten_dict(read_model_folder(workdir).params, sep="/"))
    config = read_config(workdir)
    like, rank = flatten_dict(like, sep="/"), config.model.get("lora_rank", 0)
    trained = {path: value for path, value in like.items() if lora.trains(path, rank)}
    arguments = ocp.args.Composite(
        params=_restore_like(unflatten_dict(trained, sep="/")), position=ocp.args.JsonRestore()
    )
    with _manager(workdir, create=False) as manager:
        try:
            saved = manager.restore(step, args=arguments)
        except _DAMAGE as error:
            raise UserError(
                f"The checkpoint {Path(workdir) / _FOLDER / str(step)} cannot be read: "
                f"{textwrap.shorten(str(error), 200, placeholder=' ...')} Remove that folder and run the training "
                "command again; it goes on from the checkpoint before."
            ) from error
    params = flatten_dict(saved.params, sep="/")
    frozen = {path: value for path, value in like.items() if path not in params}
    if frozen:
        weights = _weights_of(workdir, config, saved.position["pretrained"])
        arrays = pretrained.arrange(weights, config, {path: value.shape for path, value in like.items()})
        params |= flatten_dict(place(unflatten_dict(frozen, sep="/"), arrays), sep="/")
    return unflatten_dict(params, sep="/")


def best_step(workdir: str | os.PathLike) -> int:
    """The saved step with the lowest `METRIC`; the last one if none has been validated; 0 for a model folder.

    Raises:
      FileNotFoundError: if there is no checkpoint.
    """
    if is_model_folder(workdir):
        return _FOLDER_STEP
    if not (Path(workdir) / _FOLDER).is_dir():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {_FOLDER}"))
    with _manager(workdir, create=False) as manager:
        steps = manager.all_steps()
        scores = {step: manager.metrics(step)[METRIC] for step in steps}
    if not steps:
        raise FileNotFoundError(_no_checkpoint(workdir, "no step has been saved yet"))
    # Of equals, such as steps that were never validated, the last one.
    return min(scores, key=lambda step: (scores[step], -step))


def _weights_of(workdir: str | os.PathLike, config: ConfigDict, reference: dict[str, str]) -> pretrained.Pretrained:
    advice = f'Write the folder that holds them now into "pretrained" of {Path(workdir) / "config.json"}.'
    if not is_model_folder(config.pretrained):
        raise UserError(
            f"The model in {workdir} stands on the pretrained weights {reference['weights_sha256'][:12]}... (SHA-256) "
            f"of {config.pretrained}, where there is no model folder any more. {advice}"
        )
    weights = pretrained.read(config.pretrained)
    pretrained.check_same(weights, reference, advice)
    return weights


def _folder_config(folder: ModelFolder) -> ConfigDict:
    """An experiment for a model that no training of ours needs to have made: the recorded one, or defaults."""
    if folder.config["kind"] != "vitpain":
        raise UserError(
            f"This model folder holds an encoder without heads ({folder.config['source']['from']}), which cannot tell "
            "pain. Train with it: painjax train --config=configs/student_lora.py --config.pretrained=FOLDER."
        )
    config = ConfigDict(_FOLDER_DEFAULTS)
    config.update(folder.config.get("experiment") or {})
    config.model = ConfigDict(folder.config["model"])
    preprocessing = folder.config["preprocessing"]
    if config.data.input == "image":
        config.data.image_mean, config.data.image_std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
    config.data.image_crop, config.data.image_interpolation = preprocessing["crop"], preprocessing["interpolation"]
    return config


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


def _used(state: TrainState) -> dict[str, Any]:
    """The trained parameters as the model is used with: their running mean, where there is one."""
    return (state.ema or state.params)["model"]


def _progress(state: TrainState) -> dict[str, Any]:
    """What goes on with training needs beside `_used`."""
    progress = {"step": state.step, "opt_state": state.opt_state}
    return progress | {"params": state.params["model"]} if state.ema else progress


def _remove_unfinished(folder: Path) -> None:
    """Removes what a save left that was broken off. Orbax would do so in a thread of its own, which complains when the
    process ends soon after."""
    if jax.process_index() == 0:
        for unfinished in folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished, ignore_errors=True)


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
