import gzip
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from painjax.profiling import Profiler

pytestmark = pytest.mark.slow  # starting the tracer takes seconds


def run(*args, **kwargs):
    """`trace` in its own process: the tracer crashes in one that has loaded the TPU compiler, as other tests do."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(trace, *args, **kwargs).result()


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
    run(tmp_path, start=3, steps=2)
    assert named_steps(tmp_path) == {3, 4}
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))  # what TensorBoard reads


def test_a_trace_that_training_breaks_off_is_written(tmp_path):
    run(tmp_path, start=6, steps=9)
    assert named_steps(tmp_path) == {6, 7}


def test_without_a_start_nothing_is_traced(tmp_path):
    run(tmp_path, start=0, steps=3)
    assert not list(tmp_path.iterdir())
