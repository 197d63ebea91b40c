"""Which devices each process of a job on one machine gets, said in the environment variables that JAX reads."""

import os
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Mapping

from painjax.errors import UserError

_DEVICE_COUNT = "--xla_force_host_platform_device_count"
_CPU_PROCESSES = 64  # more than this on one machine is a slip of the finger


def platform(environment: Mapping[str, str]) -> str:
    """'cpu' or 'gpu': what JAX_PLATFORMS asks for first, else GPUs where there are some that JAX can use."""
    asked = environment.get("JAX_PLATFORMS", "").split(",")[0].strip()
    if not asked:
        return "gpu" if _jax_has_cuda() and visible_gpus(environment) else "cpu"
    if asked in ("cuda", "gpu"):
        return "gpu"
    if asked == "cpu":
        return "cpu"
    raise UserError(
        f"JAX_PLATFORMS is {asked!r}, and `painjax launch local` starts processes on 'cpu' or 'cuda'. All TPU chips of "
        "a machine belong to one process: run `painjax train` without the launcher, and on several TPU hosts see "
        "launch/tpu_vm/README.md."
    )


def device_variables(processes: int, devices_per_process: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """What to add to the environment of each process, so that every one has devices of its own.

    Raises:
      UserError: if a number makes no sense, or more GPUs are asked for than there are.
    """
    for name, value in (("processes", processes), ("devices-per-process", devices_per_process)):
        if value < 1:
            raise UserError(f"--{name} is {value}; expected at least 1.")
    if platform(environment) == "gpu":
        return _gpu_variables(processes, devices_per_process, visible_gpus(environment))
    if processes > _CPU_PROCESSES:
        raise UserError(f"--processes is {processes}; expected at most {_CPU_PROCESSES} on the CPU of one machine.")
    kept = re.sub(rf"{_DEVICE_COUNT}=\S*", "", environment.get("XLA_FLAGS", "")).strip()
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        # Only process 0 writes the cache: the next time it is done compiling while the others begin, and gloo waits for
        # half a minute only.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "XLA_FLAGS": f"{kept} {_DEVICE_COUNT}={devices_per_process}".strip(),
    }
    return [variables] * processes


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Names, as CUDA_VISIBLE_DEVICES has them, of the NVIDIA GPUs that a process started here may use."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi", path=environment.get("PATH", os.defpath)):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    return [str(i) for i, line in enumerate(x for x in listed.stdout.splitlines() if x.startswith("GPU "))]


def _gpu_variables(processes: int, devices_per_process: int, gpus: list[str]) -> list[dict[str, str]]:
    wanted = processes * devices_per_process
    if wanted > len(gpus):
        raise UserError(
            f"{processes} processes with {devices_per_process} GPUs each need {wanted} GPUs, and there are {len(gpus)}"
            f"{' (' + ','.join(gpus) + ')' if gpus else ''}. Ask for fewer, or set JAX_PLATFORMS=cpu to use the CPU."
        )
    starts = range(0, wanted, devices_per_process)
    # No order of the bus: the numbers of nvidia-smi, whatever CUDA thinks is the fastest.
    return [
        {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(gpus[start : start + devices_per_process])}
        for start in starts
    ]


def _jax_has_cuda() -> bool:
    try:
        import jax_plugins  # a namespace that loads nothing
    except ImportError:
        return False
    return any(module.name.startswith("xla_cuda") for module in pkgutil.iter_modules(jax_plugins.__path__))
