"""What ran: processor, load, versions, and how fast each side multiplies plain matrices."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from painjax.bench.case import Case

GEMM_REPEATS = 10
BUSY = 0.5  # processes that want to run, on average over the last minute
PACKAGES = ("jax", "jaxlib", "flax", "torch", "transformers", "peft")


def describe() -> dict[str, Any]:
    """Processor, cores that this process may use, load of the last minute, device and versions.

    Warns of a busy machine: PyTorch's threads wait for each other by spinning, so that it suffers far more than XLA.
    """
    load = os.getloadavg()[0]
    if load > BUSY:
        logging.warning("The load is %.1f before the first round: on a busy machine the ratio means little.", load)
    return {
        "cpu": _cpu_model(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": load,
        "device": jax.devices()[0].device_kind,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None  # the other side says what to install


def gemm_gflops(case: Case) -> float:
    """GFLOP/s of the first product of the MLP, [batch * tokens, D] by [D, 4 D], best of several."""
    rows, d = case.batch_size * case.tokens, case.width
    x, w = (jax.random.normal(jax.random.key(0), shape, case.dtype) for shape in ((rows, d), (d, 4 * d)))
    product = jax.jit(jnp.matmul)
    product(x, w).block_until_ready()
    best = float("inf")
    for _ in range(GEMM_REPEATS):
        start = time.perf_counter()
        product(x, w).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * d * 4 * d / best / 1e9


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
