"""Training: one function, read from top to bottom."""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

from painjax import sharding
from painjax.checkpoint import METRIC, Checkpoints, StopSignal, read_config, restore_params
from painjax.data.pipeline import train_batches
from painjax.errors import UserError
from painjax.evaluate import predict_split
from painjax.files import jsonable, write_atomically
from painjax.optim import learning_rate
from painjax.state import create_state, make_train_step

# Settings that a resumed run may change: they say where, how often and how fast, not what is computed.
_FREE = ("mesh.", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "data.data_dir", "teacher")


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
    mesh = sharding.create_mesh(config.mesh)
    sharding.check_batch_size(config.batch_size, mesh)
    teacher_config = _teacher_config(config)
    _check_same_experiment(config, workdir)

    with jax.set_mesh(mesh), Checkpoints(workdir, config.keep_checkpoints) as checkpoints, StopSignal() as stop:
        if checkpoints.latest_step() == config.steps:
            logging.info("%s is finished: all %d steps are trained.", workdir, config.steps)
            return config.steps

        # ------------------------------------------------------------ data, model, optimizer
        batches = train_batches(config)
        state, shardings, optimizer = create_state(config, mesh, teacher_config)
        if teacher_config is not None:
            teacher, teacher_step = restore_params(config.teacher, state.frozen["teacher"])
            state.frozen["teacher"] = teacher
            logging.info("Teacher: %s at step %d.", config.teacher, teacher_step)
        train_step = make_train_step(config, optimizer, shardings, mesh)
        rate = learning_rate(config)

        # ------------------------------------------------------------ resume
        resumed = checkpoints.restore(state)
        if resumed is not None:
            state, position = resumed
            batches.set_state(position)
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
            stopping = stop.received or checkpoints.stop_requested(step)
            saving = validating or stopping or step % config.checkpoint_every == 0
            if saving or step % config.log_every == 0:
                terms = {name: float(value) for name, value in jax.device_get(terms).items()}
                _check_finite(terms, step, workdir)
                log.write({"step": step} | terms | {"learning_rate": float(rate(step - 1))} | meter.read(step))
                bar.set_postfix(loss=f"{terms['loss']:.4g}", refresh=False)

            # -------------------------------------------------------- validate and save
            metrics = None
            if validating:
                with meter.paused():
                    summary = predict_split(state.model(), config, config.data.validation_split).summary()
                log.write({"step": step, "validation": summary})
                metrics = {METRIC: summary["pspi"]["mae"]}
            if saving:
                with meter.paused():
                    checkpoints.save(state, batches.get_state(), metrics)
            if stopping and not last:
                logging.warning("Told to stop: saved step %d. The same command goes on from there.", step)
                return step
        bar.close()
    return config.steps


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; entries after the step that is resumed from are dropped first.

    Undefined values (NaN) are written as null. Only the first process writes.
    """

    def __init__(self, workdir: Path, start: int):
        self._path = workdir / "metrics.jsonl" if jax.process_index() == 0 else None
        if self._path is not None and self._path.exists():
            lines = self._path.read_text().splitlines(keepends=True)
            # A line without an end was being written when the process died.
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= start]
            write_atomically(self._path, "".join(kept))

    def write(self, entry: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(jsonable(entry)) + "\n")


class Meter:
    """Speed between two readings, leaving out validation and saving, and what part of the time was spent on data."""

    def __init__(self, config: ConfigDict, start: int):
        self._batch_size, self._steps, self._step = config.batch_size, config.steps, start
        self._began, self._spans = time.perf_counter(), {"waited": 0.0, "idle": 0.0}

    def waiting(self) -> "_Span":
        """Context: time spent on getting data."""
        return _Span(self._spans, "waited")

    def paused(self) -> "_Span":
        """Context: time that is not training."""
        return _Span(self._spans, "idle")

    def read(self, step: int) -> dict[str, float]:
        """`images_per_s`, `data_wait` (0..1 of the time) and `eta_s` since the last reading."""
        now = time.perf_counter()
        seconds = max(now - self._began - self._spans["idle"], 1e-9)
        steps = step - self._step
        reading = {
            "images_per_s": round(steps * self._batch_size / seconds, 2),
            "data_wait": round(self._spans["waited"] / seconds, 4),
            "eta_s": round((self._steps - step) * seconds / steps, 1),
        }
        self._began, self._step, self._spans = now, step, {"waited": 0.0, "idle": 0.0}
        return reading


class _Span:
    def __init__(self, spans: dict[str, float], name: str):
        self._spans, self._name = spans, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_) -> None:
        self._spans[self._name] += time.perf_counter() - self._began


def _teacher_config(config: ConfigDict) -> ConfigDict | None:
    """The configuration of the teacher, None for an experiment without one."""
    if "teacher" not in config:
        return None
    advice = "give the working directory of a trained teacher, for instance --config.teacher=runs/teacher."
    if not config.teacher:
        raise UserError(f"config.teacher is empty, and this experiment learns from a teacher; {advice}")
    try:
        teacher = read_config(config.teacher)
    except FileNotFoundError as error:
        raise UserError(f"config.teacher = {config.teacher!r}: {error}") from error
    wrong = []
    if teacher.data.input != "heatmap":
        wrong.append(f"it takes data.input = {teacher.data.input!r} where a teacher takes 'heatmap'")
    for field in ("image_size", "patch_size"):
        if teacher.model[field] != config.model[field]:
            wrong.append(f"its model.{field} is {teacher.model[field]}, the student's {config.model[field]}")
    if config.loss.features and teacher.model.width != config.model.project_width:
        wrong.append(
            f"its model.width is {teacher.model.width}, the student's project_width {config.model.project_width}"
        )
    if wrong:
        raise UserError(f"The teacher in {config.teacher} does not fit: {'; '.join(wrong)}. Change one of the two.")
    return teacher


def _check_same_experiment(config: ConfigDict, workdir: Path) -> None:
    """Refuses to go on with a changed experiment; says what has changed where that is harmless."""
    if not (workdir / "config.json").exists():
        return
    before, now = _flat(read_config(workdir)), _flat(ConfigDict(json.loads(_as_json(config))))
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
            "checkpoint. Lower config.optim.learning_rate or lengthen config.optim.warmup_steps and use a new --workdir."
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
