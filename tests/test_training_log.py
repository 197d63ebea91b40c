"""Each writer is read back by the program that it writes for."""

import contextlib
import json
import resource

import jax
import psutil
import pytest
from ml_collections import ConfigDict

from painjax.errors import UserError
from painjax.files import write_atomically
from painjax.training_log import TrainingLog, check_writers
from tests.training_logs import tensorboard_shows, wandb_holds

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


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """The package, which reads the environment of this test only, and leaves nothing but in its folder."""
    package = pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("WANDB_SILENT", "true")
    package.teardown()
    yield package
    with contextlib.suppress(OSError):  # its process is gone
        package.teardown()


def test_weights_and_biases_offline_goes_on_with_the_same_run(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    workdir = tmp_path / "teacher"
    workdir.mkdir()
    init, modes = wandb.init, []
    monkeypatch.setattr(wandb, "init", lambda **options: modes.append(options["resume"]) or init(**options))
    config = make_config(wandb="pain", data={"name": "pain3d"})
    write(config, workdir, 0, range(1, 6))
    write(config, workdir, 3, range(4, 8))  # of 4 and 5 nobody knows whether a kill has lost them
    with TrainingLog(config, workdir, 7, validated=False) as log:  # a validation that is made up for
        log.write(7, {"validation": {"mae": 2.0}})
    wandb.teardown()  # its process closes the files
    starts = wandb_holds(workdir)
    for start in starts:
        assert (start["id"], start["project"]) == ((workdir / "wandb_run_id").read_text(), "pain")
        assert start["name"] == "teacher" and start["config"].items() >= config.to_dict().items()
        assert start["axes"]["*"] == "step" and start["exit"] == 0
    assert modes == ["allow"] * 3  # which the files do not tell
    assert [[row["step"] for row in start["rows"]] for start in starts] == [[1, 2, 3, 4, 5], [4, 5, 6, 7], [7]]
    assert starts[0]["rows"][0] == {"step": 1, "loss": 0.1, "validation/pspi/mae": 1.5}  # the undefined is left out
    assert starts[2]["rows"] == [{"step": 7, "validation/mae": 2.0}]


def test_weights_and_biases_has_another_run_for_a_training_that_begins_anew(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for steps in ([1, 2, 3], [4, 5]):
        write(make_config(wandb="pain"), tmp_path, 0, steps)
    wandb.teardown()
    steps = {start["id"]: [row["step"] for row in start["rows"]] for start in wandb_holds(tmp_path)}
    assert len(steps) == 2 and steps[(tmp_path / "wandb_run_id").read_text()] == [4, 5]


@pytest.mark.parametrize("last", [2, 3])
def test_a_training_outlives_the_process_of_weights_and_biases(wandb, tmp_path, monkeypatch, caplog, last):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with TrainingLog(make_config(wandb="pain"), tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": 0.5})
            if step == last:
                (service,) = (each for each in psutil.Process().children() if "wandb" in each.name())
                service.kill()
                service.wait()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    assert caplog.text.count("Weights & Biases is lost") == 1


def test_weights_and_biases_that_nobody_is_logged_in_to_is_one_sentence(wandb, tmp_path):
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
    write(make_config(tensorboard=True, wandb="pain"), tmp_path, 0, [1])
    assert not list(tmp_path.iterdir())
