"""What a training run writes down as it goes: its losses, and how fast it is."""

import json
import time
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from painjax.files import jsonable, write_atomically


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; entries after the step that is resumed from are dropped first.

    So is the validation of that step, unless it is `validated`: it is made again. Undefined values (NaN) are written as
    null. Only the first process writes.
    """

    def __init__(self, workdir: Path, start: int, *, validated: bool = True):
        self._path = workdir / "metrics.jsonl" if jax.process_index() == 0 else None
        if self._path is not None and self._path.exists():
            lines = self._path.read_text().splitlines(keepends=True)
            # A line without an end was being written when the process died.
            entries = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
            again = "validation" if not validated else None
            kept = [
                line
                for line, entry in entries
                if entry["step"] <= start and not (entry["step"] == start and again in entry)
            ]
            write_atomically(self._path, "".join(kept))

    def write(self, entry: dict[str, Any]) -> None:
        """Appends one entry; it must have a `step`."""
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
