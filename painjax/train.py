"""Training: one function, read from top to bottom."""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from painjax import pretrained, provenance, sharding
from painjax.agreement import check_agreement
from painjax.checkpoint import Checkpoints, restore_params
from painjax.data.pipeline import eval_batches, train_batches
from painjax.divergence import FiniteGuard
from painjax.errors import Stopped
from painjax.evaluate import predict_split
from painjax.files import write_atomically
from painjax.meter import Meter
from painjax.mfu import peak_images_per_s
from painjax.models import lora
from painjax.optim import learning_rate
from painjax.profiling import Profiler
from painjax.progress import Progress
from painjax.same_experiment import as_json, check_same_experiment, check_same_origin, check_steps
from painjax.settings import check_settings
from painjax.sole_training import sole_training
from painjax.state import TrainState, create_state, make_train_step, replace_params
from painjax.teacher import find_teacher, note_other_data
from painjax.training_log import TrainingLog


def main(config: ConfigDict, workdir: str | os.PathLike, *, accept_changes: bool = False) -> int:
    """Trains `config` in `workdir`, going on from its last checkpoint if there is one.

    Writes `config.json`, `metrics.jsonl` (an object per logged step, and one per validation), `starts.jsonl`
    (`painjax.provenance`), `checkpoints/`, and what `config.tensorboard`, `config.wandb` and `config.profile` ask for.
    A run that was killed loses at most the steps since its last checkpoint, and its losses go on exactly as they would
    have.

    Args:
      config: the experiment.
      workdir: of the run.
      accept_changes: go on with a changed experiment (`painjax.same_experiment`), and note the changes down.

    Returns:
      The step reached, `config.steps`.

    Raises:
      Stopped: if the process was told to stop (SIGTERM) and has saved.
      UserError: if the configuration, the data set, the teacher or the working directory is not fit for training,
        another job trains in it, the processes of this one differ, the loss is no longer finite, or a checkpoint
        cannot be written.
    """
    workdir = Path(workdir)

    # ---------------------------------------------------------------- refuse early
    weights = pretrained.read(config.pretrained) if config.get("pretrained") else None
    config = pretrained.complete(config, weights)
    check_settings(config)
    mesh = sharding.create_mesh(config.mesh.to_dict())
    sharding.check_batch_size(config.batch_size, mesh, config.accumulate)
    teacher_config, teacher_step = find_teacher(config)
    origin, settings = provenance.describe(config, weights, teacher_step), json.loads(as_json(config))
    check_agreement(provenance.facts(config, origin, workdir) | {"--accept_changes": accept_changes})
    changes = check_same_experiment(config, workdir, accept_changes=accept_changes)

    with ExitStack() as opened:
        opened.enter_context(jax.set_mesh(mesh))
        opened.enter_context(sole_training(workdir))
        checkpoints = opened.enter_context(Checkpoints(workdir, config.keep_checkpoints, config.keep_best))
        latest = checkpoints.latest_step() or 0
        check_steps(latest, config.steps, workdir)
        if latest == config.steps and checkpoints.is_validated(latest):
            logging.info("%s is finished: all %d steps are trained.", workdir, config.steps)
            return config.steps

        # ------------------------------------------------------------ data, model, optimizer
        eval_batches(config, config.data.validation_split).close()  # else a wrong split ends the first validation
        batches = opened.enter_context(train_batches(config, sharding.process_rows(mesh, config.batch_size)))
        if latest == 0:
            batches.start()  # the first ones are made while the model is
        state, shardings, optimizer = create_state(config, mesh, teacher_config)
        if weights is not None:
            state = _start_from(weights, config, state)
        logging.info("Parameters: %d trained, %d frozen.", _count(state.params), _count(state.frozen.get("model")))
        if teacher_config is not None:
            state.frozen["teacher"] = restore_params(config.teacher, teacher_step, state.frozen["teacher"])
            logging.info("Teacher: %s at step %d.", config.teacher, teacher_step)
            note_other_data(config, origin["data_set"])
        train_step = make_train_step(config, optimizer, shardings, mesh)
        rate, fastest = learning_rate(config), peak_images_per_s(config, mesh, teacher_config)

        # ------------------------------------------------------------ resume
        resumed = checkpoints.restore(state)
        if resumed is not None:
            state, position = resumed
            pretrained.check_same(
                weights, position.get("pretrained"), "Give the right ones with --config.pretrained=FOLDER."
            )
            changes |= check_same_origin(position, origin, workdir, accept_changes=accept_changes)
            batches.set_state(position["data"])
            batches.start()
        start = int(state.step)
        # A run that was stopped or killed while it validated has saved, and has this validation before it.
        unvalidated = start > 0 and _validates(config, start) and not checkpoints.is_validated(start)
        _write_config(config, workdir)
        provenance.note_start(workdir, start, origin, changes)

        with (
            TrainingLog(config, workdir, start, validated=not unvalidated) as log,
            Progress(workdir.name, start, config.steps) as progress,
            Profiler(config.profile, workdir, start) as profiler,
        ):
            if unvalidated:
                _validate(state, config, start, checkpoints, log)

            # -------------------------------------------------------- train
            meter, guard = Meter(config, start, mesh.size, fastest), FiniteGuard(workdir)
            for step in range(start + 1, config.steps + 1):
                with profiler.step(step):
                    with meter.waiting():
                        rows = next(batches)
                    batch = sharding.put_batch(rows, mesh, config.batch_size)
                    with meter.stepping():
                        state, terms = train_step(state, batch)
                    guard.watch(step, rows, terms)
                with meter.paused():
                    profiler.done(step, terms)
                progress.advance()

                validating = _validates(config, step)
                checkpoints.take_signals()
                stopping = checkpoints.stop_requested()
                saving = validating or stopping or step % config.checkpoint_every == 0
                if saving or step % config.log_every == 0:
                    numbers = guard.settle() | {"learning_rate": float(rate(step - 1))} | meter.read(step)
                    log.write(step, numbers)
                    progress.show(step, numbers)

                # ---------------------------------------------------- save and validate
                if saving:
                    with meter.paused():
                        checkpoints.save(state, {"data": batches.get_state(), "config": settings} | origin)
                if stopping and step < config.steps:
                    raise Stopped(_stopped_at(step, config))
                if validating:
                    with meter.paused():
                        _validate(state, config, step, checkpoints, log)
    return config.steps


def _validates(config: ConfigDict, step: int) -> bool:
    return step == config.steps or step % config.validate_every == 0


def _validate(state: TrainState, config: ConfigDict, step: int, checkpoints: Checkpoints, log: TrainingLog) -> None:
    """Validates the saved `step`; told to stop meanwhile, it breaks off, and the next start of the run validates."""
    try:
        found = predict_split(state.model(), config, config.data.validation_split, stop=checkpoints.stop_requested)
    except Stopped as stopped:
        raise Stopped(_stopped_at(step, config)) from stopped
    summary = found.summary()
    log.write(step, {"validation": summary})
    checkpoints.write_scores(step, summary)


def _stopped_at(step: int, config: ConfigDict) -> str:
    return f"Stopped at step {step} of {config.steps}; the same command goes on from there."


def _start_from(weights: pretrained.Pretrained, config: ConfigDict, state: TrainState) -> TrainState:
    """The state with the pretrained weights in the place of random ones."""
    shapes = {path: value.shape for path, value in state.model_params().items()}
    arrays = pretrained.arrange(weights, config, shapes)
    new = sorted({path.split("/")[0] for path in shapes.keys() - arrays.keys() if not path.endswith(lora.ADAPTER)})
    logging.info("Pretrained weights: %s; new: %s.", weights.folder, ", ".join(new) or "nothing")
    return replace_params(state, arrays)


def _count(arrays: Any) -> int:
    return sum(array.size for array in jax.tree.leaves(arrays))


def _write_config(config: ConfigDict, workdir: Path) -> None:
    if jax.process_index() == 0:
        write_atomically(workdir / "config.json", as_json(config) + "\n")
