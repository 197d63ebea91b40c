"""What the notebooks' first cell calls: PainJAX and what it needs, wherever the notebook runs.

On Colab this installs the clone that the cell has made, with JAX for the runtime's CPU, GPU or TPU. Elsewhere nothing
is installed: what is missing is named. Imports nothing but the standard library before that is done.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# pyrender draws through EGL; Mesa's software rasteriser will do.
GL_PACKAGES = ("libegl1", "libgl1", "libgl1-mesa-dri", "libgles2")
NEEDED = ("painjax", "grain", "tensorflow_datasets", "pyrender", "ipywidgets")  # modules, one of each set of packages
_ALREADY_LOADED = {"jax": "jax", "numpy": "numpy", "PIL": "pillow"}  # module: package; a kernel cannot take them anew


def start() -> str:
    """Makes this kernel ready and goes to the project's folder.

    Returns:
      One line that says which JAX runs on which devices.

    Raises:
      RuntimeError: if something is missing that this function may not or could not install, or the kernel has to be
        started again; the message says what to do.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if on_colab():
        if missing:
            install()
        check_versions()
    elif missing:
        raise RuntimeError(
            f"This notebook needs {', '.join(missing)}. In the project's folder: pip install -e '.[render,demo]'"
        )
    # TensorFlow, where it is installed, is left alone: in one process its LLVM crashes that of Mesa's rasteriser.
    os.environ["EPATH_USE_TF"] = "false"
    os.chdir(ROOT)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # for `configs`, and before any other PainJAX
    import jax
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # TFDS and Orbax advise us about OpenCV and shardings
    tfds.disable_progress_bar()  # five bars where ours is one
    devices = jax.devices()
    return f"JAX {jax.__version__} on {len(devices)} x {devices[0].device_kind}"


def build(config: str) -> str:
    """Builds the configuration of 3DPain where TFDS looks for data, unless it is there; returns the data set's name."""
    from tfds_builders.pain3d.pain3d_dataset_builder import Builder

    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces an unknown size
        Builder(config=config).download_and_prepare()
    return f"pain3d/{config}"


def on_colab() -> bool:
    return "google.colab" in sys.modules


def accelerator() -> str:
    """The extra of the package jax for this Colab runtime: 'tpu', 'cuda12' or '', which is the CPU."""
    if os.environ.get("COLAB_TPU_1VM"):
        return "tpu"
    # The program is there without a GPU too; then it fails.
    if shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0:
        return "cuda12"
    return ""


def install() -> None:
    """Installs PainJAX with its renderer, JAX for this runtime, and EGL. TensorFlow and Beam are not needed."""
    extra = accelerator()
    packages = [f"{ROOT}[render]", *([f"jax[{extra}]"] if extra else [])]  # together: pip takes versions that fit
    _run("Installing PainJAX", [sys.executable, "-m", "pip", "install", "--quiet", *packages])
    _run("Looking for EGL", ["apt-get", "update", "-qq"])
    _run("Installing EGL", ["apt-get", "install", "-y", "-qq", *GL_PACKAGES])
    importlib.invalidate_caches()


def check_versions() -> None:
    """Raises RuntimeError if the kernel runs an older version of a package than was installed since."""
    for module, package in _ALREADY_LOADED.items():
        if module in sys.modules and sys.modules[module].__version__ != importlib.metadata.version(package):
            raise RuntimeError(
                f"{package} is newer on disk than in this kernel. Choose Runtime > Restart session, then run all "
                "again; what is installed stays."
            )


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise RuntimeError(
            f"{what} failed: {last} Run this cell again; if that does not help, choose Runtime > Disconnect and "
            "delete runtime for a fresh one."
        )
