"""Each writer is read back by the program that it writes for."""

import json
import resource

import jax
import pytest
from ml_collections import ConfigDict

from painjax.errors import UserError
from painjax.files import write_atomically
from painjax.training_log import TrainingLog, check_writers

NUMBERS = {"loss": 0.5, "mfu": None, "validation": {"pspi": {"mae": 1.5, "icc": float("nan")}}}


def make_config(**settings):
    return ConfigDict({"steps": 9, "tensorboard": False, "wandb": ""} | settings)


def write(config, workdir, start, steps, **options):
    with TrainingLog(config, workdir, start, **options) as log:
        for step in steps:
            log.write(step, NUMBERS | {"loss": step / 10})


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_jsonl_is_written_always_and_a_resumed_run_does_not_repeat_itself(tmp_path):
    write(make_config(), tmp_path, 0, range(1, 6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # dies while writing
    write(make_config(), tmp_path, 3, range(4, 8))
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 8))
    assert lines(tmp_path)[0] == {
        "step": 1,
        "loss": 0.1,
        "mfu": None,
        "validation": {"pspi": {"mae": 1.5, "icc": None}},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_run_that_begins_anew_loses_no_line(tmp_path):
    for steps in (range(1, 4), range(1, 3), range(1, 6)):
        write(make_config(), tmp_path, 0, steps)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]
    before = (tmp_path / "metrics_before.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in before] == [1, 2, 3, 1, 2]


def test_a_validation_that_was_broken_off_is_dropped(tmp_path):
    with TrainingLog(make_config(), tmp_path, 0) as log:
        log.write(3, {"loss": 1.0})
        log.write(3, {"validation": {}})
    with TrainingLog(make_config(), tmp_path, 3, validated=False):
        pass
    assert lines(tmp_path) == [{"step": 3, "loss": 1.0}]


def test_a_full_disk_is_told_with_the_file(tmp_path):
    """Of a write the system names no file."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TrainingLog(make_config(), tmp_path, 0) as log:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
            for name, write_it in (
                ("metrics.jsonl", lambda: log.write(1, NUMBERS)),
                ("config.json", lambda: write_atomically(tmp_path / "config.json", "x" * 20)),
            ):
                with pytest.raises(OSError) as error:
                    write_it()
                assert error.value.filename == str(tmp_path / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_tensorboard_shows_every_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    config = make_config(tensorboard=True)
    write(config, tmp_path, 0, range(1, 6))
    write(config, tmp_path, 3, range(4, 8))
    shown = tensorboard_shows(tmp_path)
    assert set(shown) == {"loss", "validation/pspi/mae"}  # what is undefined is left out
    assert shown["loss"] == [(step, step / 10) for step in range(1, 8)]
    assert [step for step, _ in shown["validation/pspi/mae"]] == list(range(1, 8))


def test_tensorboard_shows_every_step_once_of_a_run_that_begins_anew(tmp_path):
    pytest.importorskip("tensorboard")
    config = make_config(tensorboard=True)
    for steps in (range(1, 4), range(1, 3), range(1, 6)):  # within one second
        write(config, tmp_path, 0, steps)
    assert tensorboard_shows(tmp_path)["loss"] == [(step, step / 10) for step in range(1, 6)]


def test_tensorboard_shows_a_repeated_validation_once(tmp_path):
    pytest.importorskip("tensorboard")
    config = make_config(tensorboard=True)
    for validated, mae in ((True, 1.0), (False, 2.0)):
        with TrainingLog(config, tmp_path, 3 if mae == 2.0 else 0, validated=validated) as log:
            if mae == 1.0:
                log.write(3, {"loss": 0.5})
            log.write(3, {"validation": {"mae": mae}})
    assert tensorboard_shows(tmp_path) == {"loss": [(3, 0.5)], "validation/mae": [(3, 2.0)]}


def tensorboard_shows(workdir):
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    events = accumulator.EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 6)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path, monkeypatch):
    """What the run is asked for; the package alone, offline, does not go on with a run (the test after this one)."""
    wandb = pytest.importorskip("wandb")
    logged = []

    class Run:
        def log(self, numbers, step):
            logged.append((step, numbers))

        def finish(self):
            logged.append("finished")

    started = []
    monkeypatch.setattr(wandb, "init", lambda **options: started.append(options) or Run())
    config = make_config(wandb="pain")
    write(config, tmp_path, 0, range(1, 6))
    write(config, tmp_path, 3, range(4, 8))  # 4 and 5 are there already
    first, second = started
    assert first["id"] == second["id"] and first["project"] == "pain" and first["dir"] == tmp_path
    assert first["resume"] == "allow" and first["config"] == config.to_dict()
    steps = [entry if entry == "finished" else entry[0] for entry in logged]
    assert steps == [1, 2, 3, 4, 5, "finished", 6, 7, "finished"]
    assert logged[0][1] == {"loss": 0.1, "validation/pspi/mae": 1.5}


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write(make_config(wandb="pain"), tmp_path, 0, range(1, 3))
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert (tmp_path / "wandb_run_id").read_text() in run.name and run.stat().st_size > 0


@pytest.mark.slow
def test_weights_and_biases_that_nobody_is_logged_in_to_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("wandb").teardown()  # so that it reads the environment again
    monkeypatch.setenv("HOME", str(tmp_path))  # where a key may lie
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"config.wandb is 'pain'.* API key.*WANDB_MODE=offline"):
        write(make_config(wandb="pain"), tmp_path, 0, [1])


@pytest.mark.parametrize(("setting", "value"), [("tensorboard", True), ("wandb", "pain")])
def test_a_missing_extra_is_refused(monkeypatch, setting, value):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_writers(make_config())
    with pytest.raises(UserError, match=rf"config\.{setting} is .* pip install 'painjax\[{setting}\]'"):
        check_writers(make_config(**{setting: value}))


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    write(make_config(tensorboard=True), tmp_path, 0, [1])
    assert not list(tmp_path.iterdir())
