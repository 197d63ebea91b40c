"""launch/slurm on a real Slurm of two nodes: preempted trainings end as others do, and mistakes are told once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from flax import nnx

from data_gen.record import GENERATOR_VERSION
from painjax.checkpoint import restore_model
from tests.launch.slurm_cluster import NODES, cluster, wait_until, why_not

ROOT = Path(__file__).resolve().parents[2]
TRAIN, GENERATE = ROOT / "launch/slurm/train.sbatch", ROOT / "launch/slurm/generate.sbatch"
MEASURED = ("images_per_s", "examples_per_s_per_device", "mfu", "data_wait", "eta_s")  # other in every run
STEPS = 100

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm():
    if why_not():
        pytest.skip(f"needs a Slurm to start: {why_not()}")
    with cluster() as running:
        yield running


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """So that a training which starts again does not compile again."""
    cache = tmp_path_factory.mktemp("compiled")
    return {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0}


@pytest.fixture
def nodes_with_data(slurm, synthetic_dataset):
    for node in NODES:
        slurm.disk(node).unlink(missing_ok=True)
        slurm.disk(node).symlink_to(synthetic_dataset)


def submit(slurm, script, log, *arguments, options=(), **environment):
    fixed = {"PAINJAX_VENV": sys.prefix, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    options = ("--cpus-per-task=1", f"--output={log}", *options)
    return slurm.submit(*options, script, *arguments, cwd=ROOT, **fixed | environment)


def train(slurm, workdir, *settings, **environment):
    """Submits a training of two nodes that saves only when it is told to stop; returns its number and log."""
    log = workdir.with_suffix(".log")
    every = [f"--config.{name}=1000" for name in ("checkpoint_every", "validate_every")]
    arguments = ["--config=configs/teacher.py:test", f"--workdir={workdir}", f"--config.steps={STEPS}", *every]
    job = submit(slurm, TRAIN, log, *arguments, *settings, options=["--nodes=2"], **environment)
    return job, log


def wait_for_step(workdir, log, step):
    metrics = workdir / "metrics.jsonl"

    def reached():
        return metrics.exists() and len(metrics.read_text().splitlines()) >= step

    try:
        wait_until(reached, f"{workdir.name} is at step {step}")
    except AssertionError as error:
        raise AssertionError(log.read_text()) from error


def learned(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    metrics = [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]
    model, _, step = restore_model(workdir)
    return metrics, step, [np.asarray(value) for value in jax.tree.leaves(nnx.state(model, nnx.Param))]


def test_a_preempted_training_ends_as_an_uninterrupted_one(slurm, nodes_with_data, compiled, tmp_path):
    job, log = train(slurm, tmp_path / "whole", **compiled)
    assert slurm.wait(job, "COMPLETED", "FAILED")["ExitCode"] == "0:0", log.read_text()

    workdir = tmp_path / "pieces"
    job, log = train(slurm, workdir, **compiled)
    slurm.wait(job, "RUNNING")
    slurm.run("scontrol", "requeue", job)  # before there is anything to save
    slurm.start_now(job)

    wait_for_step(workdir, log, 1)
    slurm.run("scontrol", "requeue", job)  # as preemption does
    slurm.start_now(job)
    first = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    text = log.read_text()
    assert f"Start 1 of job {job}: {workdir} has no checkpoint yet, so it starts from step 0." in text
    assert text.count(f"Stopped at step {first} of {STEPS}") == len(NODES)
    assert "exit code 143" in text

    wait_for_step(workdir, log, first + 1)
    slurm.run("scancel", "--batch", "--signal=TERM", job)  # as Slurm does before the time limit
    slurm.start_now(job)
    second = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert first < second < STEPS
    ended = slurm.wait(job, "COMPLETED", "FAILED")
    text = log.read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "3"), text
    assert f"Start 2 of job {job}: goes on from step {first}." in text
    assert f"Stopped at step {second}: requeued." in text
    assert f"Start 3 of job {job}: goes on from step {second}." in text

    (metrics, step, params), (expected_metrics, expected_step, expected_params) = map(
        learned, (workdir, tmp_path / "whole")
    )
    assert step == expected_step == STEPS
    assert len(metrics) == STEPS + 1
    assert metrics == expected_metrics
    for value, expected in zip(params, expected_params, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_node_without_the_data_set_is_named_and_nothing_starts(slurm, nodes_with_data, tmp_path):
    slurm.disk(NODES[1]).unlink()
    job, log = train(slurm, tmp_path / "run")
    ended, text = slurm.wait(job, "COMPLETED", "FAILED"), log.read_text()
    # Status 2, unless one node was so slow that JAX aborted it for the loss of the other.
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0") and ended["ExitCode"] != "0:0", text
    assert f"{NODES[1]}: painjax train: Data set pain3d/quick is not built in" in text
    assert "Build it with `tfds build tfds_builders/pain3d --config=quick" in text
    assert f"{NODES[0]}: painjax" not in text
    assert not list((tmp_path / "run").iterdir())


def test_a_mistake_is_not_requeued(slurm, nodes_with_data, tmp_path):
    job, log = train(slurm, tmp_path / "run", "--config.batch_size=7")  # which does not divide over two processes
    ended, text = slurm.wait(job, "COMPLETED", "FAILED"), log.read_text()
    # Status 2, unless one node was so slow that JAX aborted it for the loss of the other.
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0") and ended["ExitCode"] != "0:0", text
    assert "batch_size" in text
    assert "not requeued" in text


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, [], "--workdir is missing"),
        ({"PAINJAX_VENV": "/nowhere", "PATH": "/usr/bin:/bin"}, ["--workdir={}"], f"{NODES[1]}: painjax is not found"),
        ({"SLURM_GPUS_ON_NODE": "4"}, ["--workdir={}"], "A node has 4 GPUs for 1 processes"),
    ],
)
def test_what_cannot_run_is_refused(slurm, environment, arguments, message, tmp_path):
    log = tmp_path / "job.log"
    arguments = [argument.format(tmp_path / "run") for argument in arguments]
    job = submit(slurm, TRAIN, log, *arguments, options=["--nodes=2"], **environment)
    assert slurm.wait(job, "COMPLETED", "FAILED")["ExitCode"] == "2:0"
    assert message in log.read_text()


def test_an_array_makes_the_shards_and_a_job_after_it_merges_them(slurm, tmp_path):
    arguments = ["--config=tiny", f"--data_dir={tmp_path}"]
    options = ["--array=0-1", "--mem-per-cpu=1G"]
    made = submit(slurm, GENERATE, tmp_path / "%a.log", *arguments, options=options)
    after = [f"--dependency=afterok:{made}", "--mem-per-cpu=1G"]
    job = submit(slurm, GENERATE, tmp_path / "merge.log", *arguments, "--merge", options=after)
    ended = slurm.wait(job, "COMPLETED", "FAILED", "CANCELLED")
    said = "".join(log.read_text() for log in sorted(tmp_path.glob("*.log")))
    assert ended["JobState"] == "COMPLETED", said
    splits = tfds.builder_from_directory(tmp_path / "pain3d/tiny" / GENERATOR_VERSION).info.splits
    assert sum(split.num_examples for split in splits.values()) == 198
    assert len(splits["train"].shard_lengths) == 2


def test_an_array_with_gaps_is_refused(slurm, tmp_path):
    arguments = ["--config=tiny", f"--data_dir={tmp_path}"]
    job = submit(slurm, GENERATE, tmp_path / "job.log", *arguments, options=["--array=1-1", "--mem-per-cpu=1G"])
    assert slurm.wait(f"{job}_1", "COMPLETED", "FAILED")["ExitCode"] == "2:0"
    assert "sbatch --array=0-0" in (tmp_path / "job.log").read_text()


def test_nothing_is_left_when_the_cluster_ends():
    if why_not():
        pytest.skip(f"needs a Slurm to start: {why_not()}")
    with cluster() as running:
        log = running.folder / "job.log"
        job = running.submit(f"--output={log}", "--wrap=srun sleep 987654321", cwd=running.folder)
        running.wait(job, "RUNNING")
    assert not running.folder.exists()
    left = subprocess.run(["pgrep", "--full", f"{running.folder}|sleep 987654321"], capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize("script", [TRAIN, GENERATE], ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script):
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
