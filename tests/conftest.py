"""Eight virtual CPU devices, strict ranks and checked shapes for every test. Must run before JAX is imported."""

import importlib.machinery
import os
import sys
from pathlib import Path

from tests.xla_flags import xla_flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags(8)}"
# Most of the time of most tests is XLA's: it compiles without LLVM's optimizations, and what one test has compiled, the
# others, and the processes that they start, take from a folder.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**31))  # a limit makes JAX lock the folder, too
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ["EPATH_USE_TF"] = "false"  # TFDS's path library takes TensorFlow for its files wherever it is installed

import subprocess

import jax
import pytest
from absl import flags
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]


class _NoTensorFlow:
    """Hides TensorFlow from the tests: nothing of ours may need it, and Mesa crashes beside it in one process.

    Only the `tfds` command needs it, which the tests run as a process of its own.
    """

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Found, as torch wants to know, but not to be imported."""
        return importlib.machinery.ModuleSpec(name, cls) if name.split(".")[0] == "tensorflow" else None

    @staticmethod
    def create_module(spec):
        raise ModuleNotFoundError(f"{spec.name} is hidden from the tests", name=spec.name)

    @staticmethod
    def exec_module(module): ...


assert "tensorflow" not in sys.modules
sys.meta_path.insert(0, _NoTensorFlow)
install_import_hook("painjax", "beartype.beartype")  # every jaxtyping signature of the library is checked
jax.config.update("jax_numpy_rank_promotion", "raise")
if not flags.FLAGS.is_parsed():
    flags.FLAGS(["pytest"])  # grain's workers read absl flags


# They start processes of their own, for which JAX (30 s to meet) and Beam have time limits that a busy machine exceeds.
_JOBS = {
    *("test_slurm.py", "test_local.py", "test_colab.py", "test_multiprocess.py", "test_end_to_end.py"),
    *("test_train.py", "test_train_lora.py", "test_resume.py", "test_jobs.py", "test_bench.py", "test_torch_child.py"),
    *("test_beam.py", "test_beam_spark.py", "test_beam_workers.py", "test_bucket.py"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in _JOBS:
            item.add_marker(pytest.mark.flaky(reruns=1))


_QUICKLY = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "true"
_AS_USERS_GET_THEM = {"aot", "models"}  # folders of tests that look at compiled programs or compare their last digits


@pytest.fixture(scope="module", autouse=True)
def programs(request):
    """Those of one file would stay in memory, gigabytes of them, until the last test."""
    quickly = _QUICKLY and request.path.parent.name not in _AS_USERS_GET_THEM
    jax.config.update("jax_disable_most_optimizations", quickly)
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test data that stands beside the project: face geometry and golden vectors."""
    path = Path(os.environ.get("PAINJAX_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the test data beside the project at {path} (or PAINJAX_SHARED)")
    return path


@pytest.fixture
def everybody_may_read():
    """What a new file is to this test: readable by all."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """The folder of `pain3d/tiny`, built by `tfds build` from the command line, once per session."""
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    command = [Path(sys.executable).with_name("tfds"), "build", ROOT / "tfds_builders/pain3d", "--config=tiny"]
    subprocess.run([*command, f"--data_dir={data_dir}"], check=True, cwd=data_dir)
    (folder,) = (data_dir / "pain3d" / "tiny").iterdir()
    return folder


@pytest.fixture(scope="session")
def synthetic_dataset(tmp_path_factory) -> Path:
    """The data directory of a stand-in for `pain3d/quick`: 32 px, 40 / 12 / 10 frames, built in a second."""
    from tests.synthetic_pain3d import build

    return build(tmp_path_factory.mktemp("synthetic"))
