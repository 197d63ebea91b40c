"""Two processes, as two hosts are: they train, save, validate and evaluate as one process with all the devices does,
and each goes on where the other has saved."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
import jax

port, processes, process, devices, fsdp, model, data_dir, workdir = sys.argv[1:]
if int(processes) > 1:
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
from absl import flags
from configs import teacher
from painjax import evaluate, train

flags.FLAGS(["painjax"])  # which grain reads
assert jax.device_count() == int(devices) and jax.process_count() == int(processes)
config = teacher.get_config("test")
config.data.data_dir = data_dir
config.mesh.fsdp, config.mesh.model = int(fsdp), int(model)
config.steps = config.validate_every = 20
assert config.model.dropout > 0
assert train.main(config, workdir) == config.steps
evaluate.main(workdir, "test")
"""


def run(data_dir, workdir, processes, devices, fsdp=1, model=1):
    """Runs the program in processes that share the devices; returns its losses and its evaluation."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "XLA_FLAGS": xla_flags(devices // processes),
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM]
            + [*map(str, (port, processes, process, devices, fsdp, model, data_dir, workdir))],
            cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for process in range(processes)
    ]  # fmt: skip
    try:
        for process in running:
            error = process.communicate(timeout=400)[1]
            assert process.returncode == 0, error[-3000:]
    finally:
        for process in running:
            process.kill()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line], json.loads((workdir / "evaluation.json").read_text())


def test_processes_and_devices_do_not_change_the_training(synthetic_dataset, tmp_path):
    losses, evaluation = run(synthetic_dataset, tmp_path / "one", processes=1, devices=1)
    assert len(set(losses)) == 20 and evaluation["n"] == 10  # padding is not counted
    others = {
        "eight": {"processes": 1, "devices": 8},
        "two": {"processes": 2, "devices": 8},
        "split": {"processes": 2, "devices": 8, "fsdp": 4},
        "across": {"processes": 2, "devices": 2, "model": 2},  # both of them hold all rows
    }
    for name, layout in others.items():
        found_losses, found = run(synthetic_dataset, tmp_path / name, **layout)
        np.testing.assert_allclose(found_losses, losses, rtol=1e-5, err_msg=name)
        assert found["n"] == 10
        assert found["pspi"]["mae"] == pytest.approx(evaluation["pspi"]["mae"], rel=1e-4), name

    for name, layout in {"two": {"processes": 1, "devices": 1}, "one": others["split"]}.items():
        shutil.rmtree(tmp_path / name / "checkpoints" / "20")
        found_losses, _ = run(synthetic_dataset, tmp_path / name, **layout)
        np.testing.assert_allclose(found_losses, losses, rtol=1e-5, err_msg=f"{name}, gone on with otherwise")
        starts = [json.loads(line) for line in (tmp_path / name / "starts.jsonl").read_text().splitlines()]
        assert [start["step"] for start in starts] == [0, 18]
        assert starts[0]["processes"] != starts[1]["processes"]
