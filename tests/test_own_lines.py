"""What a command leaves out of its output is what a failed save prints beside raising it, and nothing else."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from painjax.own_lines import may_have_tpu

ROOT = Path(__file__).resolve().parents[1]

# As TensorStore's threads do, an object calls back into a loop that has been closed, where nobody can catch it.
PROGRAM = """
import asyncio, logging
from painjax import own_lines

own_lines.show()
logging.getLogger("asyncio").error("Task exception was never retrieved: /lib/orbax/checkpoint/serialization.py")
logging.getLogger("asyncio").error("somebody else's")

class CallsBack:
    def __init__(self, function):
        self.function = function

    def __del__(self):
        self.function()

def fail():
    raise RuntimeError("another fault")

loop = asyncio.new_event_loop()
loop.close()
CallsBack(lambda: loop.call_soon_threadsafe(print))
CallsBack(fail)
"""


def test_what_a_failed_save_leaves_behind_is_not_shown():
    """Tracebacks of threads, long after the sentence that says what happened."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "orbax" not in done.stderr and "somebody else's" in done.stderr
    assert "Event loop" not in done.stderr and done.stderr.count("Traceback") == 1 and "another fault" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.skipif(may_have_tpu({}), reason="there may be a TPU")
def test_the_tpu_that_is_not_there_is_not_spoken_of():
    """libtpu comes with `painjax[tpu-aot]`, and JAX asks it for devices at every start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TPU_", "JAX_PLATFORMS"))}
    program = "from painjax import own_lines; own_lines.show(); import jax; jax.devices()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "tpu" not in done.stderr.lower()


def test_whatever_hints_at_a_tpu_is_left_to_it(tmp_path):
    assert not may_have_tpu({"HOME": "/root"}, tmp_path)
    assert may_have_tpu({"TPU_WORKER_ID": "0"}, tmp_path) and may_have_tpu({"JAX_PLATFORMS": "tpu"}, tmp_path)
    vendor = tmp_path / "sys" / "bus" / "pci" / "devices" / "0000:00:05.0" / "vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x10de\n")  # NVIDIA
    assert not may_have_tpu({}, tmp_path)
    vendor.write_text("0x1ae0\n")
    assert may_have_tpu({}, tmp_path)
    vendor.unlink()
    (tmp_path / "dev" / "accel0").mkdir(parents=True)
    assert may_have_tpu({}, tmp_path)
