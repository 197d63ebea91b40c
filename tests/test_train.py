import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from configs import student, teacher
from painjax import train
from painjax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def make_config(data_dir, experiment=teacher, **settings):
    config = experiment.get_config("test")
    config.data.data_dir = str(data_dir)
    config.update({"steps": 8, "checkpoint_every": 3, "validate_every": 100} | settings)
    return config


def entries(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir):
    logged = [(entry["step"], entry["loss"]) for entry in entries(workdir) if "loss" in entry]
    assert [step for step, _ in logged] == list(range(1, len(logged) + 1))  # no step twice, none left out
    return np.array([loss for _, loss in logged])


@pytest.fixture(scope="module")
def finished(synthetic_dataset, tmp_path_factory):
    """A teacher trained for 8 steps without interruption."""
    workdir = tmp_path_factory.mktemp("finished")
    assert train.main(make_config(synthetic_dataset), workdir) == 8
    return workdir


PROGRAM = """
import json, os, pathlib, sys, time
from ml_collections import ConfigDict
from painjax import train
from painjax.errors import Stopped

config, workdir, number = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
write = train.TrainingLog.write

def write_and_stop(log, step, numbers):
    write(log, step, numbers)
    if step == 5:
        while not (workdir / "checkpoints" / "3").exists():  # saved in the background
            time.sleep(0.01)
        os.kill(os.getpid(), number)

train.TrainingLog.write = write_and_stop
try:
    train.main(ConfigDict(config), workdir)
except Stopped as stopped:
    assert str(stopped).startswith("Stopped at step")
else:
    raise AssertionError("finished")
"""


def stop_at_step_5(config, workdir, number):
    """The same training in a process of its own, which gets the signal when step 5 has been logged."""
    command = [sys.executable, "-c", PROGRAM, config.to_json(), str(workdir), str(int(number))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_the_log_tells_losses_speed_and_validation(finished):
    first, *_, last = entries(finished)
    expected = {"step", "loss", "pspi", "aus", "consistency", "thresholds"}
    norms = {"gradient_norm", "parameter_norm", "learning_rate"}
    speed = {"images_per_s", "examples_per_s_per_device", "mfu", "data_wait", "eta_s"}
    assert set(first) == expected | norms | speed
    weighted = first["pspi"] + first["aus"] + 0.1 * first["consistency"] + 0.1 * first["thresholds"]
    np.testing.assert_allclose(first["loss"], weighted, rtol=1e-5)  # the weights of the config
    assert 0 <= first["data_wait"] <= 1 and first["images_per_s"] > 0
    np.testing.assert_allclose(first["examples_per_s_per_device"], first["images_per_s"] / 8, atol=0.01)
    assert first["mfu"] is None  # nobody knows what a CPU can do
    assert last["step"] == 8 and last["validation"]["pspi"]["mae"] > 0
    assert len(losses(finished)) == 8


def test_a_finished_run_returns_at_once(finished, synthetic_dataset, caplog):
    caplog.set_level("INFO")
    before = (finished / "metrics.jsonl").read_bytes()
    began = time.monotonic()
    assert train.main(make_config(synthetic_dataset), finished) == 8
    assert time.monotonic() - began < 5
    assert "finished" in caplog.text
    assert (finished / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_loses_only_the_steps_since_its_last_checkpoint(finished, synthetic_dataset, tmp_path):
    config = make_config(synthetic_dataset)
    result = stop_at_step_5(config, tmp_path, signal.SIGKILL)
    assert result.returncode == -signal.SIGKILL, result.stderr
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # dies while writing
    assert train.main(config, tmp_path) == 8
    np.testing.assert_array_equal(losses(tmp_path), losses(finished))


@pytest.mark.slow
def test_a_run_told_to_stop_saves_and_loses_nothing(finished, synthetic_dataset, tmp_path):
    config = make_config(synthetic_dataset)
    result = stop_at_step_5(config, tmp_path, signal.SIGTERM)
    assert result.returncode == 0, result.stderr
    reached = len(losses(tmp_path))
    assert 5 <= reached < 8
    assert (tmp_path / "checkpoints" / str(reached)).is_dir()
    assert train.main(config, tmp_path) == 8
    np.testing.assert_array_equal(losses(tmp_path), losses(finished))


def test_a_changed_experiment_is_refused_and_harmless_changes_are_not(finished, synthetic_dataset):
    config = make_config(synthetic_dataset, log_every=5, keep_best="pspi.pcc", mesh={"data": 4, "fsdp": 2})
    assert train.main(config, finished) == 8
    config.optim.learning_rate = 1.0
    config.model.depth = 3
    with pytest.raises(UserError, match=r"(?s)model.depth: 2 -> 3.*optim.learning_rate: 0.001 -> 1.0") as error:
        train.main(config, finished)
    assert "log_every" not in str(error.value)


def test_a_run_of_an_earlier_version_goes_on(finished, synthetic_dataset, tmp_path):
    """Its configuration lacks the settings that came later; absent means their default."""
    run = shutil.copytree(finished, tmp_path / "run")
    before = json.loads((run / "config.json").read_text())
    del before["pretrained"], before["loss"]["pspi_nll"], before["model"]["uncertainty"]
    for name in ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets"):
        del before["model"][name]
    (run / "config.json").write_text(json.dumps(before))
    shutil.rmtree(run / "checkpoints" / "8")
    assert train.main(make_config(synthetic_dataset), run) == 8
    np.testing.assert_array_equal(losses(run), losses(finished))


def test_a_batch_that_the_devices_do_not_divide_is_refused(synthetic_dataset, tmp_path):
    with pytest.raises(UserError, match="batch_size = 12.*8 devices"):
        train.main(make_config(synthetic_dataset, batch_size=12), tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", 0, "config.steps is 0"),
        ("batch_size", 0, "config.batch_size is 0"),
        ("validate_every", 0, "config.validate_every is 0"),
        ("optim.warmup_steps", 8, "warmup_steps is 8; expected less than config.steps, 8"),
        ("optim.schedule", "linear", "schedule is 'linear'; expected one of cosine, rsqrt, constant"),
        ("ema_decay", 1.0, "ema_decay is 1.0; expected 0"),
        ("frozen_dtype", "int8", "frozen_dtype is 'int8'; expected one of float32, bfloat16"),
        ("data.input", "heat", "config.data.input is 'heat'; expected 'image' or 'heatmap'"),
        ("data.input", "image", "config.model.in_channels is 1; expected 3"),
        ("model.width", 30, "config.model.width is 30"),
        ("seed", -1, "config.seed is -1; expected at least 0"),
        ("optim.learning_rate", float("inf"), "config.optim.learning_rate is inf; expected a finite number"),
        ("optim.b1", 1.5, "config.optim.b1 is 1.5; expected 0 or more, below 1"),
        ("optim.weight_decay", -0.1, "config.optim.weight_decay is -0.1; expected at least 0"),
        ("optim.final_fraction", -3.0, "config.optim.final_fraction is -3.0; expected a part, 0 to 1"),
        ("optim.groups.all.rate", -1.0, "config.optim.groups.all.rate is -1.0; expected at least 0"),
        ("loss.pspi", -1.0, "config.loss.pspi is -1.0; expected 0"),
        ("loss.aus", float("nan"), "config.loss.aus is nan; expected a finite number"),
        ("data.augment.rotation", float("nan"), "config.data.augment.rotation is nan; expected a finite number"),
        ("profile.start", 9, "config.profile.start is 9; expected a step of config.steps, 8"),
    ],
)
def test_a_value_that_cannot_be_trained_with_is_named(synthetic_dataset, tmp_path, key, value, message):
    config = make_config(synthetic_dataset)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        train.main(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_wrong_split_is_refused_before_anything_is_trained(synthetic_dataset, tmp_path):
    """Also the one that is not read before the first validation."""
    for name in ("train_split", "validation_split"):
        config = make_config(synthetic_dataset)
        config.data[name] = "valid"
        with pytest.raises(UserError, match="has no split 'valid'; it has"):
            train.main(config, tmp_path)
        assert not (tmp_path / "config.json").exists()


def test_an_unknown_data_set_is_refused(synthetic_dataset, tmp_path):
    config = make_config(synthetic_dataset)
    config.data.name = "pain3d/nothing"
    with pytest.raises(UserError, match="tfds build tfds_builders/pain3d --config=nothing"):
        train.main(config, tmp_path)


def test_a_student_needs_a_trained_teacher_that_fits(finished, synthetic_dataset, tmp_path):
    config = make_config(synthetic_dataset, student)
    with pytest.raises(UserError, match="config.teacher is empty"):
        train.main(config, tmp_path)
    config.teacher = str(tmp_path / "nobody")
    with pytest.raises(UserError, match=f"config.teacher.*{re.escape(config.teacher)}.*painjax train"):
        train.main(config, tmp_path)
    config.teacher = str(finished)
    config.model.project_width = 64
    with pytest.raises(UserError, match="model.width is 32, the student's project_width 64"):
        train.main(config, tmp_path)
    assert not (tmp_path / "config.json").exists()
