"""Rounds in which the sides take turns."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm

from painjax.errors import UserError

# The threads of the side that has just stopped may spin for some milliseconds before they sleep.
PAUSE_SECONDS = 0.2
MIN_STEPS = 2


def timed(step: Callable[[], object], batch_size: int, seconds: float) -> float:
    """Images per second of `step`, run for at least `seconds` and `MIN_STEPS` times, after one run that is not timed.

    `step` must return only when its result is there.
    """
    step()
    start, done = time.perf_counter(), 0
    while done < MIN_STEPS or time.perf_counter() - start < seconds:
        step()
        done += 1
    return done * batch_size / (time.perf_counter() - start)


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int, what: str) -> dict[str, list[float]]:
    """Images per second of every side in every round, after a round of warm-up; odd rounds go through them backwards.

    Raises:
      UserError: if `rounds` is below 1.
    """
    if rounds < 1:
        raise UserError(f"Benchmark: rounds is {rounds}; expected at least 1 (4 or more for a figure to be trusted).")
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for done in tqdm(range(rounds + 1), desc=what, unit="round", file=sys.stderr):
        for name in list(sides)[:: -1 if done % 2 else 1]:
            time.sleep(PAUSE_SECONDS)
            rate = sides[name]()
            if done:
                rates[name].append(rate)
    return rates


def spread(rates: list[float]) -> dict[str, float | list[float]]:
    """Median, smallest and largest, and all of them in their order."""
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "rounds": rates}
