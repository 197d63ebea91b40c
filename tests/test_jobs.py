"""Jobs of two processes that do not agree, lose one of them, or find a checkpoint that one of them cannot read."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow

# A process of a job that sees what the environment says, instead of the package's own files and the data set's.
PROGRAM = """
import os, sys
from painjax import provenance
from painjax.checkpoint import saving
from painjax import __main__ as cli

if os.environ.get("TEST_SOURCE"):
    provenance.source_sha256 = lambda: os.environ["TEST_SOURCE"]
if os.environ.get("TEST_NO_SCORES"):
    saving.read_scores = lambda checkpoint: {}
sys.exit(cli.main())
"""


class Job:
    """Two processes, started by hand as on two hosts, with two devices each."""

    def __init__(self, workdir, data_dir, *more, each=({}, {}), settings=((), ())):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        workdir.mkdir(exist_ok=True)
        self.files = [workdir.with_name(f"{workdir.name}.{rank}.txt") for rank in range(2)]
        self.processes = []
        for rank, file in enumerate(self.files):
            environment = os.environ | {
                "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(rank),
                "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
                "XLA_FLAGS": xla_flags(2),
                **each[rank],
            }
            command = [sys.executable, "-c", PROGRAM, "train", "--distributed", "--config=configs/teacher.py:test"]
            command += [f"--workdir={workdir}", f"--config.data.data_dir={data_dir}", "--config.model.depth=1"]
            with file.open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [*command, *more, *settings[rank]], cwd=ROOT, env=environment, stdout=output, stderr=output
                    )
                )

    def ends(self, seconds=400):
        """The exit statuses and what was said."""
        try:
            statuses = [process.wait(timeout=seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return statuses, [file.read_text() for file in self.files]


def entries(workdir):
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(workdir):
    return [entry["loss"] for entry in entries(workdir) if "loss" in entry]


def wait_for(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_processes_that_differ_are_told_in_what(synthetic_dataset, tmp_path):
    job = Job(
        tmp_path / "run",
        synthetic_dataset,
        each=({}, {"TEST_SOURCE": "of another commit"}),
        settings=((), ["--config.seed=1", "--config.optim.learning_rate=0.5"]),
    )
    statuses, said = job.ends()
    assert statuses == [2, 2], said
    for text in said:
        assert "do not run the same training" in text and "Traceback" not in text
        assert "config.seed is 0 on process 0, 1 on process 1" in text
        assert "config.optim.learning_rate is 0.001 on process 0, 0.5 on process 1" in text
        assert '"of another commit" on process 1' in text and "data_set" not in text
    assert not (tmp_path / "run/config.json").exists()


def test_a_run_that_is_there_is_gone_on_with_by_all_or_none(synthetic_dataset, tmp_path):
    """Where one process cannot read the scores, all validate again; where they differ, all are told so."""
    workdir = tmp_path / "run"
    settings = ["--config.steps=2", "--config.validate_every=2"]
    assert Job(workdir, synthetic_dataset, *settings).ends()[0] == [0, 0]
    job = Job(workdir, synthetic_dataset, *settings, each=({}, {"TEST_NO_SCORES": "yes"}))
    statuses, said = job.ends()
    assert statuses == [0, 0], said
    assert [entry["step"] for entry in entries(workdir) if "validation" in entry] == [2]
    assert all("is finished" not in text for text in said)
    job = Job(workdir, synthetic_dataset, *settings, settings=((), ["--config.seed=1", "--accept_changes"]))
    statuses, said = job.ends()
    assert statuses == [2, 2], said
    for text in said:
        assert "config.seed is 0 on process 0, 1 on process 1" in text and "--accept_changes is false on pro" in text


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_host_dies_the_other_stops_within_a_minute(synthetic_dataset, tmp_path, victim):
    """The first is the coordinator of the job."""
    workdir = tmp_path / "run"
    job = Job(workdir, synthetic_dataset, "--config.steps=100000", "--config.checkpoint_every=100000")
    try:
        wait_for(lambda: len(losses(workdir)) > 2 or any(p.poll() is not None for p in job.processes))
        died = time.monotonic()
        job.processes[victim].kill()
        other = job.processes[1 - victim]
        assert other.wait(timeout=60) in (134, -signal.SIGABRT)
        assert time.monotonic() - died < 60
    finally:
        _, said = job.ends()
    assert re.search("another process of this job has died|another task died|heartbeat timeout", said[1 - victim])


def test_a_part_that_only_one_process_reads_is_damaged(synthetic_dataset, tmp_path):
    """Both go back to the checkpoint before, and on to the same losses; one process with all devices does, too."""
    workdir = tmp_path / "run"
    settings = ["--config.steps=6", "--config.mesh.fsdp=4", "--config.keep_checkpoints=3"]
    statuses, said = Job(workdir, synthetic_dataset, *settings).ends()
    assert statuses == [0, 0], said
    expected = losses(workdir)
    (workdir / "checkpoints/6").rename(tmp_path / "last")
    truncate(workdir / "checkpoints/4", of_process=1)
    statuses, said = Job(workdir, synthetic_dataset, *settings).ends()
    assert statuses == [0, 0], said
    assert all("checkpoints/4 cannot be read" in text for text in said)
    assert sum("another process cannot read its part" in text for text in said) == 1
    assert (workdir / "damaged_checkpoint_4").is_dir()
    np.testing.assert_array_equal(losses(workdir), expected)

    for step in (4, 6):
        (workdir / f"checkpoints/{step}").rename(tmp_path / f"again{step}")
    alone = [sys.executable, "-m", "painjax", "train", "--config=configs/teacher.py:test", f"--workdir={workdir}"]
    alone += [
        f"--config.data.data_dir={synthetic_dataset}",
        "--config.model.depth=1",
        *settings,
        "--config.mesh.fsdp=1",
    ]
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    done = subprocess.run(alone, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(workdir), expected, rtol=1e-5)


def truncate(checkpoint, of_process):
    """Halves the arrays that a process wrote, and reads."""
    found = [
        file for file in (checkpoint / "params").rglob("*") if file.is_file() and f"process_{of_process}" in str(file)
    ]
    assert found, [str(file) for file in checkpoint.rglob("*")]
    for file in found:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
