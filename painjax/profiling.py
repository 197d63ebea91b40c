"""A trace of chosen steps, for TensorBoard or Perfetto."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict


class Profiler:
    """Traces steps `profile.start` to `profile.start + profile.steps - 1` into W/profile; never if `start` is 0.

    Only the first process does, and not where the run, going on from step `done`, has passed the first of them. Use as
    a context manager, which ends a trace that training broke off.
    """

    def __init__(self, profile: ConfigDict, workdir: Path, done: int = 0):
        self._folder = workdir / "profile"
        wanted = profile.start if jax.process_index() == 0 else 0
        if 0 < wanted <= done and not self._folder.exists():
            logging.warning(
                "config.profile.start is %d, and this run goes on from step %d: nothing is traced.", wanted, done
            )
        self._first, self._last = wanted, wanted + profile.steps - 1
        self._running = False

    def step(self, step: int) -> jax.profiler.StepTraceAnnotation:
        """Context of the work of `step`, which gives it a name in the trace."""
        if step == self._first:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def done(self, step: int, results: Any) -> None:
        """`step` is on its way; waits for its `results` if it is the last one to be traced."""
        if self._running and step == self._last:
            jax.block_until_ready(results)
            self._stop()
            logging.info("Traced steps %d to %d into %s.", self._first, self._last, self._folder)

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._running:
            self._stop()
