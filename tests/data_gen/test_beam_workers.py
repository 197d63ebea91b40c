"""On an engine that makes again what it loses (Dask, in processes of its own), a worker is killed amid its bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_gen import finished, generate
from data_gen.generator_config import GeneratorConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG = GeneratorConfig("procedural", 16, texture_size=16)
PEOPLE, BUNDLES = 12, 4
PROGRAM = f"""
import json, os, signal, sys, threading, time
from pathlib import Path
import apache_beam, dask, distributed
from apache_beam.runners.dask.dask_runner import DaskRunner
from data_gen import beam
from data_gen.generator_config import GeneratorConfig

kept, made, told = Path(sys.argv[1]), Path(sys.argv[2]), {{}}
dask.config.set({{"distributed.worker.daemon": False}})  # they have children
cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
workers = {{name: worker.pid for name, worker in cluster.workers.items()}}

def files():
    return {{path.name: path.stat().st_mtime_ns for path in kept.glob("[0-9]*.npz")}}

def kill():
    while len(files()) < 2:
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    told["before"] = files()

threading.Thread(target=kill, daemon=True).start()
options = [f"--dask_client_address={{cluster.scheduler_address}}", "--dask_npartitions={BUNDLES}"]
pipeline = apache_beam.Pipeline(DaskRunner(), apache_beam.options.pipeline_options.PipelineOptions(options))
examples = pipeline | beam.examples({CONFIG}, range({PEOPLE}), kept)
examples | apache_beam.MapTuple(lambda key, example: (made / key).write_bytes(example["image"]))
told["state"] = pipeline.run().wait_until_finish()
told |= {{"after": files(), "died": workers[0] not in {{worker.pid for worker in cluster.workers.values()}}}}
print(json.dumps(told), flush=True)
os._exit(0)  # Dask's own end takes half a minute
"""


@pytest.mark.slow
def test_a_worker_that_dies_amid_its_bundle_costs_what_it_was_at(tmp_path):
    kept, made = tmp_path / "kept", tmp_path / "made"
    made.mkdir()
    environment = os.environ | {"PAINJAX_WORKERS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kept, made], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["died"] and told["state"] == "DONE"
    assert 2 <= len(told["before"]) < PEOPLE
    assert told["before"].items() <= told["after"].items()  # what was finished, in the dead worker's bundle too
    assert len(told["after"]) == PEOPLE
    keys = []
    for person in range(PEOPLE):
        frames = finished.load(kept, person)
        keys += [key for key, _ in frames]
        assert all((made / key).read_bytes() == example["image"] for key, example in frames)
        if person < 4:
            np.testing.assert_equal(frames, generate.identity_examples(CONFIG, person))
    assert sorted(keys) == sorted(path.name for path in made.iterdir())
