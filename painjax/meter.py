"""How fast a training is, and what part of the time it waits for data."""

import contextlib
import time
from collections.abc import Iterator

from ml_collections import ConfigDict


class Meter:
    """Speed between two readings, leaving out compilation, validation and saving.

    Args:
      config: reads `batch_size` and `steps`.
      start: the last step that is already done.
      devices: how many there are in all.
      peak_images_per_s: the speed at which all devices together would reach their peak; None if that is not known.
    """

    def __init__(self, config: ConfigDict, start: int, devices: int, peak_images_per_s: float | None):
        self._batch_size, self._steps, self._step = config.batch_size, config.steps, start
        self._devices, self._peak = devices, peak_images_per_s
        self._began, self._spans = time.perf_counter(), {"waited": 0.0, "idle": 0.0}
        self._compiled = False

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Context: time spent waiting for the next batch."""
        return self._span("waited")

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Context: time that is not training."""
        return self._span("idle")

    def stepping(self) -> contextlib.AbstractContextManager[None]:
        """Context: one call of the step, the first of which compiles."""
        first, self._compiled = not self._compiled, True
        return self._span("idle") if first else contextlib.nullcontext()

    @contextlib.contextmanager
    def _span(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._spans[name] += time.perf_counter() - began

    def read(self, step: int) -> dict[str, float | None]:
        """What happened since the last reading.

        Returns:
          `images_per_s` (frames, of all devices together) and `examples_per_s_per_device`; `mfu`, model FLOP
          utilization: what the model needs, without recomputation, as a part 0..1 of the devices' bfloat16 peak, None
          where that is not known; `data_wait`, the part 0..1 of the time spent waiting for batches; `eta_s`.
        """
        now = time.perf_counter()
        seconds = max(now - self._began - self._spans["idle"], 1e-9)
        steps = step - self._step
        rate = steps * self._batch_size / seconds
        reading = {
            "images_per_s": round(rate, 2),
            "examples_per_s_per_device": round(rate / self._devices, 2),
            "mfu": round(rate / self._peak, 4) if self._peak else None,
            "data_wait": round(self._spans["waited"] / seconds, 4),
            "eta_s": round((self._steps - step) * seconds / steps, 1),
        }
        self._began, self._step, self._spans = now, step, {"waited": 0.0, "idle": 0.0}
        return reading
