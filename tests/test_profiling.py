import gzip
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from painjax.profiling import Profiler

pytestmark = pytest.mark.slow  # starting the tracer takes seconds


def trace(workdir, start, steps, until=8):
    work = jax.jit(lambda x: x @ x)
    x = jnp.eye(8)
    with Profiler(ConfigDict({"start": start, "steps": steps}), workdir) as profiler:
        for step in range(1, until):
            with profiler.step(step):
                x = work(x)
            profiler.done(step, x)


def named_steps(workdir):
    (path,) = workdir.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return {int(event["args"]["step_num"]) for event in events if event.get("name") == "train"}


def test_the_chosen_steps_are_traced(tmp_path):
    trace(tmp_path, start=3, steps=2)
    assert named_steps(tmp_path) == {3, 4}
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))  # what TensorBoard reads


def test_a_trace_that_training_breaks_off_is_written(tmp_path):
    trace(tmp_path, start=6, steps=9)
    assert named_steps(tmp_path) == {6, 7}


def test_a_process_that_has_loaded_the_tpu_compiler_traces_too(tmp_path):
    """libtpu traces as well, and one that was made for another JAX ended the process."""
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    code = "import sys, pathlib\nfrom painjax.aot import topology\nfrom tests.test_profiling import trace\n"
    code += "topology.describe('v5e:2x2')\ntrace(pathlib.Path(sys.argv[1]), start=3, steps=2)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert named_steps(tmp_path) == {3, 4}


def test_a_run_that_has_passed_the_chosen_steps_says_so(tmp_path, caplog):
    with caplog.at_level("WARNING", "absl"), Profiler(ConfigDict({"start": 3, "steps": 2}), tmp_path, done=3):
        pass
    assert "profile.start is 3, and this run goes on from step 3: nothing is traced" in caplog.text


def test_without_a_start_nothing_is_traced(tmp_path):
    trace(tmp_path, start=0, steps=3)
    assert not list(tmp_path.iterdir())
