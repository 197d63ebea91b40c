"""`painjax bench input`: frames per second of reading, decoding, batching and augmenting, and what is needed."""

import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from painjax.bench import host_augment
from painjax.bench.case import PATCH_SIZE, Case
from painjax.bench.flops import train_flops
from painjax.bench.rounds import alternate
from painjax.chips import CHIPS
from painjax.data.pipeline import image_fields, train_batches
from painjax.data.records import Records
from painjax.data.sources import FrameSource
from painjax.data.transforms import prepare

LAYOUTS = ((1, 0), (2, 0), (4, 0), (2, 1), (2, 2))  # threads and worker processes
CONSUMER = "H200"
MFU = 0.4  # assumed of a ViT-S student: what well-tuned trainings of ViTs reach
CORES = 16  # beside one such chip


def main(config: ConfigDict, rounds: int = 5, seconds: float = 3.0) -> dict[str, Any]:
    """Measures the input of `config`'s training on this machine, all sides taking turns for `rounds` rounds.

    Returns:
      `frames_per_second`, medians of: 'read' (records from the files), 'decode' (and their pictures, one thread),
      'batch, T threads, W workers' (what a training is given), 'augment, in the step' and 'augment, on the host' (one
      batch; NumPy and Pillow on one thread); `per_core`, of the best batching over the cores used; `estimate`, what
      `CORES` cores would give if they scaled, and what a ViT-S student of such pictures eats on a `CONSUMER` at `MFU`;
      `load_average` before the first round, the `decoder`, and the picture's side.

    Raises:
      UserError: see `painjax.data.records.Records`; if `rounds` is below 1.
    """
    config = config.copy_and_resolve_references()
    load = os.getloadavg()[0]
    source = FrameSource(config.data.name, config.data.train_split, image_fields(config), config.data.data_dir)
    records = Records(config.data.name, config.data.train_split, (), config.data.data_dir)
    order = np.random.default_rng(0).permutation(len(source))
    sides: dict[str, Callable[[], float]] = {
        "read": lambda: _rate(lambda i: records.read(i, ("pspi",)), order, seconds),
        "decode": lambda: _rate(lambda i: source[i], order, seconds),
    }
    for threads, workers in LAYOUTS:
        name = f"batch, {threads} threads, {workers} workers"
        sides[name] = lambda t=threads, w=workers: _batching(config, t, w, seconds)
    with train_batches(config) as batches:
        batch = next(batches)
    sides |= {
        "augment, in the step": _in_step(config, batch, seconds),
        "augment, on the host": _on_host(config, batch, seconds),
    }
    rates = {name: statistics.median(each) for name, each in alternate(sides, rounds, "bench input").items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    best = max(rate for name, rate in rates.items() if name.startswith("batch"))
    return {
        "command": "input",
        "frames_per_second": rates,
        "per_core": best / cores,
        "estimate": _estimate(best / cores, config.model.image_size),
        "pictures": len(image_fields(config)),
        "side": int(batch["image" if "image" in batch else "heatmap"].shape[-2]),
        "decoder": "simplejpeg (JPEG), Pillow (PNG)",
        "cores": cores,
        "load_average": load,
    }


def _estimate(per_core: float, image_size: int) -> dict[str, Any]:
    """Frames per second: of `CORES` cores, and of a ViT-S student with shared neutral reference on one `CONSUMER`."""
    side = -(-image_size // PATCH_SIZE) * PATCH_SIZE
    case = Case(size="s", image_size=side, dtype="bfloat16", neutral=True, lora_rank=0)
    (chip,) = [chip for chip in CHIPS if chip.name == CONSUMER]
    return {
        "cores": CORES,
        "frames_per_second": CORES * per_core,
        "mfu": MFU,
        "student_side": side,
        "student_frames_per_second": MFU * chip.bfloat16_flops / train_flops(case),
    }


def _rate(read: Callable[[int], object], order: np.ndarray, seconds: float) -> float:
    start = time.perf_counter()
    for done, index in enumerate(itertools.cycle(order.tolist()), 1):
        read(index)
        if time.perf_counter() - start > seconds:
            return done / (time.perf_counter() - start)


def _batching(config: ConfigDict, threads: int, workers: int, seconds: float) -> float:
    config.data.threads, config.data.workers = threads, workers
    with train_batches(config) as batches:
        for _ in range(max(8, threads) + 1):  # those made ahead while workers started
            next(batches)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            next(batches)
            done += config.batch_size
        return done / (time.perf_counter() - start)


def _in_step(config: ConfigDict, batch: dict[str, Any], seconds: float) -> Callable[[], float]:
    key = jax.random.key(0)
    names = ("image", "neutral", "heatmap")
    step = jax.jit(lambda batch: {n: x for n, x in prepare(batch, config, key).items() if n in names})
    return lambda: _repeated(lambda: jax.block_until_ready(step(batch)), len(batch["index"]), seconds)


def _on_host(config: ConfigDict, batch: dict[str, Any], seconds: float) -> Callable[[], float]:
    rng = np.random.default_rng(0)
    return lambda: _repeated(
        lambda: host_augment.augment(batch, config.data.augment, rng), len(batch["index"]), seconds
    )


def _repeated(step: Callable[[], object], frames: int, seconds: float) -> float:
    step()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        done += frames
    return done / (time.perf_counter() - start)
