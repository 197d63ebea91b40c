"""What a training run writes down as it goes: `metrics.jsonl` always, TensorBoard and Weights & Biases where wanted."""

import importlib.util
import json
import os
import secrets
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import jax
from absl import logging
from ml_collections import ConfigDict

from painjax.errors import UserError
from painjax.files import jsonable, named_errors, write_atomically

# Setting -> the package that it needs; the extra has the setting's name.
_NEEDS = {"tensorboard": "tensorboardX", "wandb": "wandb"}
# Weights & Biases would wait at the end until there is a network again; what is not sent lies in the working directory.
# A preempted machine has thirty seconds.
_FINISH_S = 20


class Writer(Protocol):
    """Takes the numbers of one step: a dict of numbers or None (undefined), possibly nested."""

    def write(self, step: int, numbers: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class TrainingLog:
    """All the writers that `config` asks for, as a context manager; of the first process only.

    A run that goes on from step `start` writes later steps again, and the validation of `start` unless it is
    `validated`: none is there twice, but for Weights & Biases.
    """

    def __init__(self, config: ConfigDict, workdir: Path, start: int, *, validated: bool = True):
        self._writers: list[Writer] = []
        if jax.process_index() == 0:
            metrics = MetricsLog(workdir, start, validated=validated)
            self._writers.append(metrics)
            if config.tensorboard:
                self._writers.append(TensorBoardLog(workdir, start, metrics.at_start))
            if config.wandb:
                self._writers.append(WandbLog(config, workdir, start))

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        """The numbers of one step; several calls for one step add to each other."""
        for writer in self._writers:
            writer.write(step, numbers)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for writer in self._writers:
            writer.close()


def check_writers(config: ConfigDict) -> None:
    """Raises UserError if the package of a writer that `config` asks for is not installed."""
    for setting, package in _NEEDS.items():
        if config[setting] and importlib.util.find_spec(package) is None:
            raise UserError(
                f"config.{setting} is {config[setting]!r}, which needs {package}: pip install 'painjax[{setting}]', or "
                "leave it out; metrics.jsonl is written always."
            )


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; entries after the step that is resumed from are dropped first.

    So is the validation of that step, unless it is `validated`: it is made again. What a run that begins anew drops is
    kept in `metrics_before.jsonl`. Undefined values (NaN) are written as null. `at_start` are the numbers of `start`
    that stay.
    """

    def __init__(self, workdir: Path, start: int, *, validated: bool = True):
        self._path = workdir / "metrics.jsonl"
        self.at_start = []
        if self._path.exists():
            lines = self._path.read_text().splitlines(keepends=True)
            # A line without an end was being written when the process died.
            entries = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
            again = "validation" if not validated else None
            kept = [
                (line, entry)
                for line, entry in entries
                if entry["step"] <= start and not (entry["step"] == start and again in entry)
            ]
            for _, entry in kept:
                if entry.pop("step") == start:
                    self.at_start.append(entry)
            if start == 0 and entries:
                with self._path.with_stem("metrics_before").open("a") as before:
                    before.writelines(line for line, _ in entries)
            write_atomically(self._path, "".join(line for line, _ in kept))

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        with named_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(jsonable({"step": step, **numbers})) + "\n")

    def close(self) -> None:
        pass  # the file is closed after every line: a run may be killed at any time


class TensorBoardLog:
    """Event files in W/tensorboard. TensorBoard itself leaves out what an earlier process wrote from `start` on; what
    holds of it, `at_start`, is written again."""

    def __init__(self, workdir: Path, start: int, at_start: Sequence[Mapping[str, Any]]):
        from tensorboardX import SummaryWriter

        # A name of its own, even for a process that starts within the same second.
        suffix = f".{start}.{os.getpid()}"
        self._folder = workdir / "tensorboard"
        with named_errors(self._folder):
            self._writer = SummaryWriter(str(self._folder), purge_step=start, filename_suffix=suffix)
        for numbers in at_start:
            self.write(start, numbers)

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        for name, value in _flat(numbers):
            self._writer.add_scalar(name, value, step)
        with named_errors(self._folder):
            self._writer.flush()

    def close(self) -> None:
        with named_errors(self._folder):
            self._writer.close()


class WandbLog:
    """A run of Weights & Biases, gone on with by the id in W/wandb_run_id; one that begins anew has a new id.

    "step" is one of the numbers, and the axis of the others: the package's own steps cannot go back, and what a resumed
    training makes up for would be dropped. The steps that it repeats are there twice, with the same losses: which of
    them a kill has kept from being sent or written, nobody knows.
    """

    def __init__(self, config: ConfigDict, workdir: Path, start: int):
        import wandb

        self._lost = False
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(_FINISH_S))
        id_file = workdir / "wandb_run_id"
        if start == 0 or not id_file.exists():
            write_atomically(id_file, secrets.token_hex(4))
        try:
            self._run = wandb.init(
                project=config.wandb,
                name=workdir.name,
                id=id_file.read_text(),
                resume="allow",
                dir=workdir,
                config=json.loads(config.to_json()),
            )
        except wandb.Error as error:  # nobody is logged in, or there is no way to the server
            why = textwrap.shorten(str(error), 200, placeholder=" ...").rstrip(".")
            raise UserError(
                f"config.wandb is {config.wandb!r}, and Weights & Biases does not begin: {why}. Run `wandb login`, set "
                "WANDB_MODE=offline to write to the working directory only, or leave config.wandb empty; metrics.jsonl "
                "is written always."
            ) from error
        self._tell(self._run.define_metric, "*", step_metric="step")

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        self._tell(self._run.log, {"step": step, **dict(_flat(numbers))})

    def close(self) -> None:
        self._tell(self._run.finish)

    def _tell(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Asks the run, whose numbers a process of its own takes. No training ends because that one has."""
        if self._lost:
            return
        try:
            ask(*arguments, **options)
        except Exception as error:  # noqa: BLE001 - of several kinds, which are the package's own affair
            self._lost = True
            logging.warning("Weights & Biases is lost (%r); the training goes on, and metrics.jsonl with it.", error)


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """('validation/pspi/mae', 1.5), ...: the numbers that are defined, by path."""
    for name, value in jsonable(numbers).items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value
