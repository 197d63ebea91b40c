"""Runs that are killed, stopped, changed or robbed of their disk, as real processes: what they have learned is kept."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import teacher
from painjax import sharding
from painjax.checkpoint import Checkpoints
from painjax.state import create_state
from tests.training_logs import tensorboard_shows, wandb_holds
from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]
LOGGED = {"step", "loss", "pspi", "aus", "consistency", "thresholds", "gradient_norm", "learning_rate", "validation"}
STEPS, CHECKPOINT_EVERY, VALIDATE_EVERY = 12, 3, 5

pytestmark = pytest.mark.slow

# A training that, at a step, sends itself a signal: when the step is logged, while its checkpoint is being written, or
# between two batches of its validation. 'compile' is before the first step; 'group' is 'logged', to its children too.
PROGRAM = """
import os, resource, sys, time
from painjax import __main__ as cli
from painjax import train

kind, step, number, limit = sys.argv[1], *map(int, sys.argv[2:5])
sys.argv[1:] = sys.argv[5:]
if limit:  # bytes that a file may have: as good as a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def then_kill(function, due):
    def wrapped(*arguments, **options):
        value = function(*arguments, **options)
        if due(*arguments):
            print("Told at", time.time(), file=sys.stderr, flush=True)
            os.kill(0 if kind == "group" else os.getpid(), number)
        return value
    return wrapped

if kind in ("logged", "group"):
    train.TrainingLog.write = then_kill(train.TrainingLog.write, lambda _, at, numbers: at == step)
elif kind == "saving":
    train.Checkpoints.save = then_kill(train.Checkpoints.save, lambda _, state, position: int(state.step) == step)
elif kind == "validating":
    stop, predict = train.Checkpoints.stop_requested, train.predict_split
    asked = []
    def predict_and_count(*arguments, **options):
        asked.append(0)
        return predict(*arguments, **options)
    def counted(checkpoints):
        if asked:
            asked[-1] += 1
            if checkpoints.latest_step() == step and asked[-1] == 2:
                print("Told at", time.time(), file=sys.stderr, flush=True)
                os.kill(os.getpid(), number)
        return stop(checkpoints)
    train.predict_split, train.Checkpoints.stop_requested = predict_and_count, counted
elif kind == "validated":
    train.Checkpoints.write_scores = then_kill(train.Checkpoints.write_scores, lambda _, at, summary: at == step)
elif kind == "compile":
    train.make_train_step = then_kill(train.make_train_step, lambda *_: True)
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def run(synthetic_dataset, tmp_path_factory):
    """Trains in a process of its own; returns its exit status and what it said."""
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    settings = {
        **{"data.data_dir": synthetic_dataset, "steps": STEPS, "ema_decay": 0.9, "model.depth": 1, "batch_size": 4},
        **{"checkpoint_every": CHECKPOINT_EVERY, "validate_every": VALIDATE_EVERY},
    }
    flags = ["--config=configs/teacher.py:test", *(f"--config.{name}={value}" for name, value in settings.items())]

    def start(workdir, *more, kind="never", step=0, number=signal.SIGKILL, limit=0, devices=1):
        command = [sys.executable, "-c", PROGRAM, kind, *map(str, (step, int(number), limit))]
        command += ["train", f"--workdir={workdir}", *flags, *more]
        here = os.environ | environment | {"XLA_FLAGS": xla_flags(devices)}
        done = subprocess.run(
            command, cwd=ROOT, env=here, capture_output=True, text=True, timeout=500, start_new_session=True
        )
        return done.returncode, done.stderr

    return start


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    status, err = run(workdir)
    assert status == 0, err
    return workdir


def numbers(workdir):
    """What the run logged, without its speeds."""
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name in LOGGED} for entry in entries]


@pytest.fixture(scope="module")
def state():
    config = teacher.get_config("test")
    config.ema_decay, config.model.depth = 0.9, 1
    return create_state(config, sharding.create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1]))[0]


def last_state(workdir, state):
    """All arrays of the last checkpoint, and what it says beside them."""
    with Checkpoints(workdir) as checkpoints:
        restored, position = checkpoints.restore(state)
    return (restored.step, restored.params, restored.ema, restored.opt_state), position


def assert_same_end(workdir, uninterrupted, state):
    found, expected = last_state(workdir, state), last_state(uninterrupted, state)
    assert int(found[0][0]) == STEPS
    jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
    assert found[1]["data"] == expected[1]["data"]
    assert numbers(workdir) == numbers(uninterrupted)
    scores = [
        json.loads((each / f"checkpoints/{STEPS}/metrics/metrics").read_text()) for each in (workdir, uninterrupted)
    ]
    assert scores[0] == scores[1]


def test_a_run_killed_at_random_steps_five_times_ends_as_one_never_interrupted(run, uninterrupted, state, tmp_path):
    draw = random.Random(1)
    saved = {s for s in range(1, STEPS + 1) if s % CHECKPOINT_EVERY == 0 or s % VALIDATE_EVERY == 0 or s == STEPS}
    validated = {s for s in saved if s % VALIDATE_EVERY == 0 or s == STEPS}
    kills = []
    for step in sorted(draw.sample(range(1, STEPS + 1), 5)):
        kinds = ["logged", *(["saving"] if step in saved else []), *(["validating"] if step in validated else [])]
        kills.append((draw.choice(kinds), step))
    assert {kind for kind, _ in kills} == {"logged", "saving", "validating"}, kills
    for kind, step in kills:
        status, err = run(tmp_path, kind=kind, step=step)
        assert status == -signal.SIGKILL, (kind, step, err)
    status, err = run(tmp_path)
    assert status == 0, err
    assert_same_end(tmp_path, uninterrupted, state)
    starts = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 6 and [s["step"] for s in starts] == sorted(s["step"] for s in starts)


@pytest.mark.parametrize(("kind", "step"), [("logged", 4), ("validating", 5), ("validating", STEPS)])
def test_a_run_that_is_told_to_stop_does_so_at_the_next_batch(run, uninterrupted, state, tmp_path, kind, step):
    status, err = run(tmp_path, kind=kind, step=step, number=signal.SIGTERM)
    assert time.time() - float(err.rsplit("Told at ", 1)[1].split()[0]) < 30, err  # as long as a scheduler may give it
    assert status == 143, err
    reached = int(err.rsplit("Stopped at step ", 1)[1].split()[0])
    assert step <= reached <= step + 1  # the signal may fall between the question and the log
    assert (tmp_path / "checkpoints" / str(reached)).is_dir()
    if kind == "validating":
        assert reached == step and "validation" not in (tmp_path / "metrics.jsonl").read_text().splitlines()[-1]
    status, err = run(tmp_path)
    assert status == 0, err
    assert_same_end(tmp_path, uninterrupted, state)


def test_once_a_validation_is_made_up_for_there_is_nothing_to_save(run, uninterrupted, state, tmp_path):
    """The next thing would be to compile the step, for minutes."""
    assert run(tmp_path, kind="validating", step=5, number=signal.SIGTERM)[0] == 143
    status, err = run(tmp_path, kind="validated", step=5, number=signal.SIGTERM)
    assert status == -signal.SIGTERM, err
    assert run(tmp_path)[0] == 0
    assert_same_end(tmp_path, uninterrupted, state)


def test_a_stop_that_reaches_every_process_leaves_the_worker_at_work(run, tmp_path):
    """As of Slurm's scancel, and of ^C in a terminal."""
    status, err = run(tmp_path, "--config.data.workers=1", kind="group", step=4, number=signal.SIGTERM)
    assert status == 143, err
    reached = int(err.rsplit("Stopped at step ", 1)[1].split()[0])
    assert reached in (4, 5) and (tmp_path / "checkpoints" / str(reached)).is_dir()


def test_tensorboard_and_weights_and_biases_have_every_number_of_a_stopped_run(run, tmp_path, monkeypatch):
    """Of one that is stopped with all its processes, that of Weights & Biases too, and makes up for a validation."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    workdir, more = tmp_path / "run", ["--config.tensorboard=True", "--config.wandb=pain"]
    status, err = run(workdir, *more, kind="group", step=5, number=signal.SIGTERM)
    assert status == 143 and "Stopped at step 5" in err, err
    status, err = run(workdir, *more)
    assert status == 0, err

    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    logged = [
        {jax.tree_util.keystr(path, simple=True, separator="/"): value for path, value in leaves}
        for leaves in map(jax.tree.leaves_with_path, lines)  # without the undefined
    ]
    assert [row["step"] for row in logged if "loss" in row] == list(range(1, STEPS + 1))
    first, second = wandb_holds(workdir)
    assert first["id"] == second["id"] and first["exit"] == second["exit"] == 0
    assert first["config"].items() >= json.loads((workdir / "config.json").read_text()).items()
    assert first["rows"] + second["rows"] == logged
    assert second["rows"][0].keys() >= {"step", "validation/pspi/mae"} and second["rows"][0]["step"] == 5
    for tag, shown in tensorboard_shows(workdir).items():
        expected = [(row["step"], row[tag]) for row in logged if tag in row]
        np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-6, err_msg=tag)


def test_before_the_first_step_there_is_nothing_to_save(run, tmp_path):
    began = time.monotonic()
    status, err = run(tmp_path, kind="compile", number=signal.SIGTERM)
    assert status == -signal.SIGTERM, err  # a shell says 143
    assert not any((tmp_path / "checkpoints").iterdir()) and time.monotonic() - began < 300


def test_a_full_disk_ends_the_run_in_one_sentence(run, uninterrupted, state, tmp_path):
    assert run(tmp_path, kind="logged", step=7, number=signal.SIGTERM)[0] == 143
    before = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    status, err = run(tmp_path, limit=20_000)
    assert status == 2, err
    (sentence,) = [line for line in err.splitlines() if "could not be written" in line]
    assert "The checkpoint of step 9" in sentence and f"The one of step {max(map(int, before))} is kept" in sentence
    # Orbax's and TensorStore's threads, and asyncio of both, would print hundreds of lines.
    assert "never retrieved" not in err and "Traceback" not in err and err.splitlines()[-1] == sentence, err
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == before
    assert run(tmp_path)[0] == 0
    assert_same_end(tmp_path, uninterrupted, state)


def test_a_run_goes_on_with_other_numbers_of_devices(run, tmp_path):
    """Eight, four and one, the weights split over as many, half and none of them."""
    settings = ["--config.batch_size=8", "--config.model.depth=2"]
    assert run(tmp_path / "one", *settings)[0] == 0
    for devices, fsdp, step in ((8, 8, 3), (4, 2, 7), (1, 1, None)):
        stop = {} if step is None else {"kind": "logged", "step": step, "number": signal.SIGTERM}
        status, err = run(tmp_path / "many", *settings, f"--config.mesh.fsdp={fsdp}", devices=devices, **stop)
        assert status == (0 if step is None else 143), err
    found, expected = (
        [entry["loss"] for entry in numbers(tmp_path / name) if "loss" in entry] for name in ("many", "one")
    )
    assert len(found) == STEPS
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_longer_run_is_a_changed_one_and_a_shorter_one_says_so(run, uninterrupted, tmp_path):
    workdir = tmp_path / "run"
    subprocess.run(["cp", "-r", uninterrupted, workdir], check=True)
    status, err = run(workdir, "--config.steps=8")
    assert status == 2 and f"steps: {STEPS} -> 8" in err and "--accept_changes" in err
    status, err = run(workdir, "--config.steps=8", "--accept_changes")
    assert status == 2 and f"is trained for {STEPS} steps already, and config.steps is 8" in err
    status, err = run(workdir, "--config.steps=14", "--config.batch_size=8", "--accept_changes")
    assert status == 0, err
    assert [entry["step"] for entry in numbers(workdir) if "loss" in entry] == list(range(1, 15))
    last = json.loads((workdir / "starts.jsonl").read_text().splitlines()[-1])
    assert last["step"] == STEPS and last["changes"] == {"steps": "12 -> 14", "batch_size": "4 -> 8"}
    status, err = run(
        workdir, "--config.steps=14", "--config.batch_size=8", "--config.model.width=64", "--accept_changes"
    )
    assert status == 2 and "cannot go on with other values of these" in err and "model.width: 32 -> 64" in err
