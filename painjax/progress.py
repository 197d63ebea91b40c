"""The line that shows a training going on: a bar in a terminal, a line per reading in a file."""

import shutil
import sys
from collections.abc import Mapping
from types import TracebackType

import jax
from absl import logging
from tqdm import tqdm

_NOT_TERMS = ("learning_rate", "images_per_s", "examples_per_s_per_device", "mfu", "data_wait", "eta_s", "loss")


class Progress:
    """Step and latest numbers on stderr. Only the first process shows them.

    The loss terms do not all fit a terminal: what is left over at its right end is left out, never cut in two. Use as a
    context manager.
    """

    def __init__(self, name: str, start: int, steps: int):
        self._name, self._steps = name, steps
        self._here = jax.process_index() == 0
        shown = self._here and sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            initial=start,
            desc=name,
            file=sys.stderr,
            disable=not shown,
            bar_format="{desc} {n_fmt}/{total_fmt}{postfix}",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def advance(self) -> None:
        """One more step is on its way."""
        self._bar.update()

    def show(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """Shows the numbers of `step`: the loss terms, and what `painjax.meter.Meter.read` says."""
        parts = _parts(numbers)
        if not self._bar.disable:
            room = shutil.get_terminal_size().columns - len(f"{self._name} {self._steps}/{self._steps}, ") - 1
            self._bar.set_postfix_str(_fitting(parts, room), refresh=False)
        elif self._here:
            logging.info("%s %d/%d, %s", self._name, step, self._steps, ", ".join(parts))


def _parts(numbers: Mapping[str, float | None]) -> list[str]:
    """What to say, the most wanted first."""
    parts = [
        f"{_duration(numbers['eta_s'])} left",
        f"loss {numbers['loss']:.4g}",
        f"{numbers['images_per_s']:.4g} images/s",
        f"{numbers['examples_per_s_per_device']:.4g}/device",
        f"data {numbers['data_wait']:.1%}",
    ]
    if numbers["mfu"] is not None:
        parts.append(f"MFU {numbers['mfu']:.1%}")
    return parts + [f"{name} {value:.3g}" for name, value in numbers.items() if name not in _NOT_TERMS]


def _fitting(parts: list[str], room: int) -> str:
    text = ""
    for part in parts:
        longer = f"{text}, {part}" if text else part
        if len(longer) > room:
            break
        text = longer
    return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
