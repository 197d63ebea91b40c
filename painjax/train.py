"""Training: one function, read from top to bottom."""

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
from painjax.errors import UserError
from painjax.evaluate import predict_split
from painjax.files import write_atomically
from painjax.models import lora
from painjax.optim import learning_rate
from painjax.same_experiment import as_json, check_same_experiment
from painjax.settings import check_settings
from painjax.state import TrainState, create_state, make_train_step, replace_params
from painjax.training_log import Meter, MetricsLog


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
    check_settings(config)
    mesh = sharding.create_mesh(config.mesh.to_dict())
    sharding.check_batch_size(config.batch_size, mesh, config.accumulate)
    teacher_config, teacher_step = _teacher(config)
    check_same_experiment(config, workdir)

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


def _check_finite(terms: dict[str, float], step: int, workdir: Path) -> None:
    if not all(math.isfinite(value) for value in terms.values()):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        raise UserError(
            f"Training diverged before step {step}: {shown}. Nothing of this is saved; {workdir} keeps its last good "
            "checkpoint. Lower config.optim.learning_rate or lengthen config.optim.warmup_steps, in a new --workdir."
        )


def _write_config(config: ConfigDict, workdir: Path) -> None:
    if jax.process_index() == 0:
        write_atomically(workdir / "config.json", as_json(config) + "\n")
