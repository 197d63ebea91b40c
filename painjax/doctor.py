"""`painjax doctor`: what is installed, what the machine offers, and how to mend what is missing.

Every check is on its own: one that fails says so and how to mend it, and the others go on. Checks that could take the
process down with them (drivers) run in a process of their own.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import painjax

OK, NOTE, PROBLEM = "ok", "note", "problem"
_FREE_GB = 5.0  # `full` takes about 4 GB, `quick` 60 MB
_TIMEOUT_S = 120

# What each extra of the package brings, by the distribution that tells whether it is there.
EXTRAS = {
    "generate": ("pyrender", "build 3DPain: `tfds build`"),
    "diffusion": ("diffusers", "paint skins of 3DPain by diffusion models"),
    "hub": ("huggingface_hub", "import weights by hub id"),
    "torch": ("torch", "read and write PyTorch checkpoints"),
    "video": ("av", "predict on videos"),
    "parquet": ("pyarrow", "write tables as Parquet"),
    "onnx": ("jax2onnx", "export to ONNX"),
    "bench": ("peft", "compare with PyTorch"),
    "tensorboard": ("tensorboardX", "log to TensorBoard"),
    "wandb": ("wandb", "log to Weights & Biases"),
    "tpu-aot": ("libtpu", "compile training for TPUs"),
}
CORE = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")


class Check(NamedTuple):
    """What was looked at, how it stands (`OK`, `NOTE` or `PROBLEM`), what was found, and how to mend it."""

    name: str
    state: str
    found: str
    fix: str = ""


def main(data_dir: str | os.PathLike | None = None) -> list[Check]:
    """Looks at everything. `data_dir` is where data sets lie; by default TFDS_DATA_DIR or ~/tensorflow_datasets."""
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    return [*_versions(), _devices(), _rendering(), *_extras(), _datasets(folder), _disk(folder), _face_model()]


def problems(checks: list[Check]) -> int:
    """How many checks say that something does not work."""
    return sum(check.state == PROBLEM for check in checks)


def _versions() -> list[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    checks = [Check("PainJAX", OK, f"{painjax.__version__}, Python {python}")]
    found, missing = {}, []
    for name in CORE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        checks.append(Check("packages", PROBLEM, f"{', '.join(missing)} missing", "pip install painjax"))
    else:
        checks.append(Check("packages", OK, ", ".join(f"{name} {version}" for name, version in found.items())))
    return checks


def _devices() -> Check:
    code = (
        "import jax, json; d = jax.devices();"
        "x = jax.numpy.ones((64, 64)); assert float((x @ x)[0, 0]) == 64;"
        "print(json.dumps([d[0].platform, d[0].device_kind, len(d)]))"
    )
    done = _run(code)
    if isinstance(done, str):
        return Check(
            "devices",
            PROBLEM,
            f"JAX cannot compute: {done}",
            "JAX_PLATFORMS=cpu works without an accelerator; for one, install the JAX that fits its driver: "
            "pip install 'jax[cuda12]' or 'jax[tpu]'",
        )
    platform, kind, count = json.loads(done.stdout.splitlines()[-1])
    found = f"{count} x {kind} ({platform})"
    if platform == "cpu" and shutil.which("nvidia-smi"):
        return Check("devices", NOTE, f"{found}, though there is an NVIDIA driver", "pip install 'jax[cuda12]'")
    return Check("devices", OK, found)


def _rendering() -> Check:
    if not _installed("pyrender"):
        return Check("rendering", NOTE, "not installed", "to build 3DPain: pip install 'painjax[generate]'")
    code = (
        "import os; os.environ['PYOPENGL_PLATFORM'] = 'egl'; os.environ['PYGLET_HEADLESS'] = 'true';"
        "import numpy; numpy.infty = numpy.inf;"
        "import pyrender; r = pyrender.OffscreenRenderer(8, 8);"
        "from OpenGL.GL import glGetString, GL_RENDERER; print(glGetString(GL_RENDERER).decode()); r.delete()"
    )
    done = _run(code)
    if isinstance(done, str):
        packages = "apt-get install libegl1 libgl1 libgl1-mesa-dri libgles2"
        return Check("rendering", PROBLEM, f"OpenGL through EGL does not start: {done}", packages)
    return Check("rendering", OK, f"OpenGL by {done.stdout.strip().splitlines()[-1]}")


def _extras() -> list[Check]:
    present = [name for name, (package, _) in EXTRAS.items() if _installed(package)]
    absent = [name for name in EXTRAS if name not in present]
    checks = [Check("extras", OK, ", ".join(present) or "none")]
    if absent:
        what = "; ".join(f"{name}: {EXTRAS[name][1]}" for name in absent)
        checks.append(Check("more extras", NOTE, what, f"pip install 'painjax[{','.join(absent)}]'"))
    return checks


def _datasets(folder: Path) -> Check:
    builds = sorted(path.parent for path in folder.glob("pain3d/*/*/dataset_info.json"))
    if not builds:
        build = "tfds build tfds_builders/pain3d --config=quick" + f" --data_dir={folder}"
        return Check("3DPain", NOTE, f"not built in {folder}", build)
    names = dict.fromkeys(f"pain3d/{path.parent.name} {path.name}" for path in builds)
    return Check("3DPain", OK, f"{', '.join(names)} in {folder}")


def _disk(folder: Path) -> Check:
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    if not os.access(place, os.W_OK):
        return Check("disk", PROBLEM, f"{place} cannot be written", "name another folder: TFDS_DATA_DIR or --data_dir")
    if free < _FREE_GB:
        advice = f"`pain3d/full` needs about {_FREE_GB:g} GB; TFDS_DATA_DIR names another disk"
        return Check("disk", NOTE, f"{free:.1f} GB free at {place}", advice)
    return Check("disk", OK, f"{free:.0f} GB free at {place}")


def _face_model() -> Check:
    cache = Path(os.environ.get("PAINJAX_CACHE") or Path.home() / ".cache" / "painjax")
    given = os.environ.get("PAINJAX_ICT_DIR")
    if given and not Path(given).is_dir():
        return Check("ICT-FaceKit", PROBLEM, f"PAINJAX_ICT_DIR = {given} is no folder", "name an unpacked FaceXModel")
    if given or any(cache.glob("ict-v*.npz")):
        return Check("ICT-FaceKit", OK, given or f"converted in {cache}")
    return Check("ICT-FaceKit", NOTE, "not here; TFDS downloads it for the *_ict data sets", "needed only for those")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _run(code: str) -> subprocess.CompletedProcess | str:
    """The finished process, or why there is none, in a line."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S} s"
    if done.returncode == 0:
        return done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"the process ended with status {done.returncode}"
