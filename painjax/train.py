"""Training: one function, read from top to bottom."""

import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from painjax import pretrained, sharding
from painjax.checkpoint import Checkpoints, best_step, read_config, restore_params
from painjax.data.pipeline import train_batches
from painjax.data.transforms import NORMALISATION
from painjax.errors import UserError
from painjax.evaluate import predict_split
from painjax.files import write_atomically
from painjax.models import lora
from painjax.models.vitpain import ViTPainConfig
from painjax.optim import SCHEDULES, learning_rate
from painjax.state import TrainState, create_state, make_train_step, replace_params
from painjax.training_log import Meter, MetricsLog

# Settings that a resumed run may change: they say where, how often and how fast, not what is computed. Pretrained
# weights are told by their hash, wherever they lie.
_FREE = ("mesh.", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "data.data_dir", "pretrained")
FROZEN_DTYPES = ("float32", "bfloat16")
# What settings mean that a configuration, such as one written by an earlier version, does not have.
_UNSET = {
    "pretrained": "",
    "loss.pspi_nll": 0.0,
    "loss.consistency": 0.0,
    "accumulate": 1,
    "ema_decay": 0.0,
    "frozen_dtype": "float32",
    "optim.schedule": "cosine",
} | {  # fmt: skip
    f"model.{field.name}": field.default
    for field in dataclasses.fields(ViTPainConfig)
    if field.default is not dataclasses.MISSING
}


def main(config: ConfigDict, workdir: str | os.PathLike) -> int:
    """Trains `config` in `workdir`, going on from its last checkpoint if there is one.

    Writes `config.json`, `metrics.jsonl` (an object per logged step, and one per validation) and `checkpoints/`. A run
    that was killed loses at most the steps since its last checkpoint, and its losses go on exactly as they would have.

    Returns:
      The step reached: `config.steps`, or less if the process was told to stop (SIGTERM) and has saved.

    Raises:
      UserError: if the configuration, the data set, the teacher or the working directory is not fit for training, or
        the loss is no longer finite.
    """
    workdir = Path(workdir)

    # ---------------------------------------------------------------- refuse early
    weights = pretrained.read(config.pretrained) if config.get("pretrained") else None
    config = pretrained.complete(config, weights)
    _check_settings(config)
    mesh = sharding.create_mesh(config.mesh.to_dict())
    sharding.check_batch_size(config.batch_size, mesh, config.accumulate)
    teacher_config, teacher_step = _teacher(config)
    _check_same_experiment(config, workdir)

    with jax.set_mesh(mesh), Checkpoints(workdir, config.keep_checkpoints) as checkpoints:
        if checkpoints.latest_step() == config.steps:
            logging.info("%s is finished: all %d steps are trained.", workdir, config.steps)
            return config.steps

        # ------------------------------------------------------------ data, model, optimizer
        batches = train_batches(config)
        state, shardings, optimizer = create_state(config, mesh, teacher_config)
        if weights is not None:
            state = _start_from(weights, config, state)
        logging.info("Parameters: %d trained, %d frozen.", _count(state.params), _count(state.frozen.get("model")))
        if teacher_config is not None:
            state.frozen["teacher"] = restore_params(config.teacher, teacher_step, state.frozen["teacher"])
            logging.info("Teacher: %s at step %d.", config.teacher, teacher_step)
        train_step = make_train_step(config, optimizer, shardings, mesh)
        rate = learning_rate(config)

        stands_on = {"teacher_step": teacher_step, "pretrained": weights.reference() if weights is not None else None}

        # ------------------------------------------------------------ resume
        resumed = checkpoints.restore(state)
        if resumed is not None:
            state, position = resumed
            pretrained.check_same(
                weights, position.get("pretrained"), "Give the right ones with --config.pretrained=FOLDER."
            )
            if position["teacher_step"] != teacher_step:
                raise UserError(
                    f"{workdir} learned from step {position['teacher_step']} of {config.teacher}, whose best step is "
                    f"{teacher_step} now. Start again in another --workdir."
                )
            batches.set_state(position["data"])
        start = int(state.step)
        log = MetricsLog(workdir, start)
        _write_config(config, workdir)

        # ------------------------------------------------------------ train
        bar = tqdm(total=config.steps, initial=start, desc=workdir.name, unit="step", file=sys.stderr)
        meter = Meter(config, start)
        for step in range(start + 1, config.steps + 1):
            with meter.waiting():
                batch = sharding.put_batch(next(batches), mesh)
            state, terms = train_step(state, batch)
            bar.update()

            last = step == config.steps
            validating = last or step % config.validate_every == 0
            stopping = checkpoints.stop_requested(step)
            saving = validating or stopping or step % config.checkpoint_every == 0
            if saving or step % config.log_every == 0:
                terms = {name: float(value) for name, value in jax.device_get(terms).items()}
                _check_finite(terms, step, workdir)
                log.write({"step": step} | terms | {"learning_rate": float(rate(step - 1))} | meter.read(step))
                bar.set_postfix(loss=f"{terms['loss']:.4g}", refresh=False)

            # -------------------------------------------------------- validate and save
            score = math.inf
            if validating:
                with meter.paused():
                    summary = predict_split(state.model(), config, config.data.validation_split).summary()
                log.write({"step": step, "validation": summary})
                score = summary["pspi"]["mae"]
            if saving:
                with meter.paused():
                    position = {"data": batches.get_state()} | stands_on
                    checkpoints.save(state, position, score)
            if stopping and not last:
                logging.warning("Told to stop: saved step %d. The same command goes on from there.", step)
                return step
        bar.close()
    return config.steps


def _start_from(weights: pretrained.Pretrained, config: ConfigDict, state: TrainState) -> TrainState:
    """The state with the pretrained weights in the place of random ones."""
    shapes = {path: value.shape for path, value in state.model_params().items()}
    arrays = pretrained.arrange(weights, config, shapes)
    new = sorted({path.split("/")[0] for path in shapes.keys() - arrays.keys() if not path.endswith(lora.ADAPTER)})
    logging.info("Pretrained weights: %s; new: %s.", weights.folder, ", ".join(new) or "nothing")
    return replace_params(state, arrays)


def _count(arrays: Any) -> int:
    return sum(array.size for array in jax.tree.leaves(arrays))


def _check_settings(config: ConfigDict) -> None:
    """Refuses values of the right type that no training can run with."""
    try:
        model = ViTPainConfig(**config.model)
    except ValueError as error:
        raise UserError(f"config.{error}") from error
    wrong = []
    if not 0 <= config.ema_decay < 1:
        wrong.append(f"config.ema_decay is {config.ema_decay}; expected 0 (none) or a number below 1, such as 0.999")
    if config.frozen_dtype not in FROZEN_DTYPES:
        wrong.append(f"config.frozen_dtype is {config.frozen_dtype!r}; expected one of {', '.join(FROZEN_DTYPES)}")
    if config.optim.schedule not in SCHEDULES:
        wrong.append(f"config.optim.schedule is {config.optim.schedule!r}; expected one of {', '.join(SCHEDULES)}")
    for name in (
        "steps",
        "batch_size",
        "log_every",
        "validate_every",
        "checkpoint_every",
        "keep_checkpoints",
        "accumulate",
    ):
        if config[name] < 1:
            wrong.append(f"config.{name} is {config[name]}; expected at least 1")
    if not 0 <= config.optim.warmup_steps < config.steps:
        wrong.append(
            f"config.optim.warmup_steps is {config.optim.warmup_steps}; expected less than config.steps, {config.steps}"
        )
    kind = config.data.input
    if kind not in NORMALISATION:
        wrong.append(f"config.data.input is {kind!r}; expected {' or '.join(map(repr, NORMALISATION))}")
    elif (channels := len(NORMALISATION[kind].mean)) != config.model.in_channels:
        wrong.append(f"config.model.in_channels is {config.model.in_channels}; expected {channels}, of {kind!r}")
    if model.lora_rank and not config.get("pretrained"):
        wrong.append(
            f"config.model.lora_rank is {model.lora_rank} and config.pretrained empty; expected a model folder whose "
            "encoder the adapters change, or lora_rank 0"
        )
    elif model.lora_rank and model.neutral == "channels" and not model.adapts("patch_embed"):
        wrong.append(
            "config.model.neutral is 'channels', and LoRA leaves the patch embedding alone, which would never learn to "
            "see the neutral reference; expected neutral 'shared' or 'separate', or lora_targets that match "
            "'patch_embed'"
        )
    if wrong:
        raise UserError(f"{'; '.join(wrong)}. Change these settings.")


def _teacher(config: ConfigDict) -> tuple[ConfigDict | None, int | None]:
    """The configuration of the teacher and the step to take it from; None, None for an experiment without one."""
    if "teacher" not in config:
        return None, None
    advice = "give the working directory of a trained teacher, for instance --config.teacher=runs/teacher."
    if not config.teacher:
        raise UserError(f"config.teacher is empty, and this experiment learns from a teacher; {advice}")
    try:
        teacher, step = read_config(config.teacher), best_step(config.teacher)
    except FileNotFoundError as error:
        raise UserError(f"config.teacher = {config.teacher!r}: {error}") from error
    wrong = []
    if teacher.data.input != "heatmap":
        wrong.append(f"it takes data.input = {teacher.data.input!r} where a teacher takes 'heatmap'")
    for field in ("image_size", "patch_size"):
        if teacher.model[field] != config.model[field]:
            wrong.append(f"its model.{field} is {teacher.model[field]}, the student's {config.model[field]}")
    if config.loss.get("features") and teacher.model.width != config.model.project_width:
        wrong.append(
            f"its model.width is {teacher.model.width}, the student's project_width {config.model.project_width}"
        )
    if wrong:
        raise UserError(f"The teacher in {config.teacher} does not fit: {'; '.join(wrong)}. Change one of the two.")
    return teacher, step


def _check_same_experiment(config: ConfigDict, workdir: Path) -> None:
    """Refuses to go on with a changed experiment; says what has changed where that is harmless."""
    if not (workdir / "config.json").exists():
        return
    before, now = (_UNSET | _flat(each) for each in (read_config(workdir), ConfigDict(json.loads(_as_json(config)))))
    changed = {
        name: f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name, "absent") != now.get(name, "absent")
    }
    refused = [text for name, text in changed.items() if not name.startswith(_FREE)]
    if refused:
        raise UserError(
            f"{workdir} holds a training run of another configuration:\n  " + "\n  ".join(refused) + "\nUse another "
            "--workdir for the new experiment, or restore these settings to go on with the old one."
        )
    for text in changed.values():
        logging.info("Resuming with a changed setting: %s", text)


def _check_finite(terms: dict[str, float], step: int, workdir: Path) -> None:
    if not all(math.isfinite(value) for value in terms.values()):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        raise UserError(
            f"Training diverged before step {step}: {shown}. Nothing of this is saved; {workdir} keeps its last good "
            "checkpoint. Lower config.optim.learning_rate or lengthen config.optim.warmup_steps, in a new --workdir."
        )


def _write_config(config: ConfigDict, workdir: Path) -> None:
    if jax.process_index() == 0:
        write_atomically(workdir / "config.json", _as_json(config) + "\n")


def _as_json(config: ConfigDict) -> str:
    return config.to_json(indent=2, sort_keys=True)


def _flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {prefix + name: value}
    return flat
