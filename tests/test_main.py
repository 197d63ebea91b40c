"""The command line: mistakes are one paragraph and status 2, before anything heavy; --json is one object."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from painjax import __main__ as cli
from painjax.config import load_config
from painjax.errors import UserError
from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

def get_config(variant=""):
    if variant not in ("", "big"):
        raise ValueError(f"Unknown variant {variant!r}; expected 'big' or nothing.")
    return ConfigDict({"steps": 5 if not variant else 50, "name": placeholder(str), "optim": {"learning_rate": 0.1}})
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "experiment.py"
    path.write_text(EXPERIMENT)
    return path


def run(*arguments, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla_flags(1)}
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "painjax", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_overrides_change_the_experiment(experiment):
    config = load_config(
        f"{experiment}:big", ["--config.optim.learning_rate=0.5", "--config.name", "x", "--config.steps=7"]
    )
    assert (config.steps, config.name, config.optim.learning_rate) == (7, "x", 0.5)
    assert load_config(f"{experiment}:big").steps == 50


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--config.optim.learning_rte=1"], "--config.optim.learning_rte.*Did you mean 'learning_rate'"),
        (["--config.stepz=1"], "Unknown setting --config.stepz"),
        (["--config.steps.x=1"], "--config.steps.x"),
        (["--config.steps=many"], "--config.steps=many"),
        (["--config.steps=1.5"], "--config.steps=1.5"),
        (["--config.optim=1"], "--config.optim=1"),
        (["--config.steps"], "--config.steps"),
        (["3"], "Unexpected argument '3'"),
    ],
)
def test_a_wrong_setting_is_named(experiment, overrides, message):
    with pytest.raises(UserError, match=message) as error:
        load_config(str(experiment), overrides)
    assert "\n" not in str(error.value)


def test_a_wrong_experiment_is_named(experiment):
    with pytest.raises(UserError, match="no experiment .*nothing.py"):
        load_config(str(experiment.parent / "nothing.py"))
    with pytest.raises(UserError, match="Unknown variant 'small'"):
        load_config(f"{experiment}:small")
    for code, named in (
        ("{}['nothing']", "KeyError: 'nothing'"),
        ("1 / 0", "ZeroDivisionError"),
        ("no_name", "no_name"),
    ):
        experiment.write_text(f"def get_config():\n    return {code}")
        with pytest.raises(UserError, match=named):
            load_config(str(experiment))
    experiment.write_text("import no_such_package")
    with pytest.raises(UserError, match="no_such_package"):
        load_config(str(experiment))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--help"], None),
        (["train", "--config=configs/experiment.py", "--config.stepz=1", "--workdir=W"], "stepz"),
        (["train", "--config=configs/experiment.py", "--nope", "--workdir=W"], "--nope"),
        (["evaluate", "--workdir=W", "--splitt=test"], "--splitt"),
        (["predict", "--workdir=W"], "--image"),
        (["import", "--from=x"], "--to"),
        (["export", "--from=W", "--to=D", "--format=pickle"], "pickle"),
        (["bench", "sleep"], "sleep"),
        (["bench", "host", "--lora_rank=8"], "--lora_rank"),  # which it does not take
        (["bench", "host", "--config=configs/experiment.py", "--config.stepz=1"], "stepz"),
        (["bench", "teacher", "--config.steps=1"], "--config.steps"),
    ],
)
def test_help_and_mistakes_answer_before_jax_is_loaded(experiment, arguments, named):
    result = run(*arguments, cwd=experiment.parents[1])
    loaded = {line.rsplit("|", 1)[1].strip() for line in result.stderr.splitlines() if line.startswith("import time")}
    text = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("import time"))
    assert not loaded & {"jax", "flax", "tensorflow", "torch", "tensorflow_datasets", "matplotlib", "OpenGL"}
    if named is None:
        assert result.returncode == 0 and all(
            c in result.stdout for c in ("train", "evaluate", "predict", "report", "import", "export", "bench")
        )
    else:
        assert result.returncode == 2 and named in text and "Traceback" not in text and result.stdout == ""


def test_a_missing_run_is_one_paragraph(tmp_path, capsys):
    assert cli.main(["evaluate", f"--workdir={tmp_path}/none"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "painjax train" in printed.err
    with pytest.raises(FileNotFoundError):
        cli.main(["evaluate", f"--workdir={tmp_path}/none", "--debug"])


def test_a_path_that_cannot_be_used_is_one_paragraph(synthetic_dataset, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["train", "--config=configs/teacher.py:test", f"--workdir={tmp_path}/file"]
    arguments += [f"--config.data.data_dir={synthetic_dataset}"]
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert f"{tmp_path}/file/.lock: Not a directory" in printed and "Check that" in printed


RESULT = {
    "predictions": [
        {
            "image": "faces/a.png",
            "pspi": 3.25,
            "aus": {"AU4": 1.0, "AU6": 2.0, "AU7": 0.5, "AU9": 0.0, "AU10": 0.25, "AU43": 1.0},
            "thresholds": {"pspi>=1": 0.875, "pspi>=2": 0.5, "pspi>=3": 0.25},
            "warnings": ["a.png: 40 x 40 pixels is small"],
        }
    ],
    "videos": [
        {
            "video": "v/b.mp4",
            "frames": 40,
            "frames_without_face": 2,
            "mean_pspi": 1.5,
            "max_pspi": 7.25,
            "max_pspi_time_s": 3.2,
            "warnings": ["b.mp4: 64 x 48 pixels is not square"],
        }
    ],
    "errors": [],
}


def test_predict_prints_a_table_or_one_json_object(monkeypatch, capsys):
    from painjax import predict

    monkeypatch.setattr(predict, "main", lambda *arguments, **options: RESULT)
    assert cli.main(["predict", "--workdir=W", "--image=a.png", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == RESULT and "small" in printed.err and "b.mp4: 64" in printed.err
    assert cli.main(["predict", "--workdir=W", "--image=a.png"]) == 0
    printed = capsys.readouterr().out
    assert "b.mp4: 40 frames, 2 without a face; PSPI 1.50 on average, 7.25 at 3.20 s" in printed
    row = next(line for line in printed.splitlines() if line.startswith("a.png"))
    assert row.split() == ["a.png", "3.25", "1.00", "2.00", "0.50", "0.00", "0.25", "1.00", "0.88"]


def test_predict_with_bad_files_ends_with_status_1(monkeypatch, capsys):
    from painjax import predict

    broken = RESULT | {"errors": [{"image": "b.png", "error": "The image b.png cannot be read."}]}
    monkeypatch.setattr(predict, "main", lambda *arguments, **options: broken)
    assert cli.main(["predict", "--workdir=W", "--image=faces"]) == 1
    printed = capsys.readouterr()
    assert "a.png" in printed.out and "b.png cannot be read" in printed.err and "1 of 3" in printed.err


def test_a_negative_number_is_a_value_and_no_flag():
    _, overrides = cli._read(["train", "--config=c.py", "--workdir=w", "--config.mesh.data", "-1", "--config.seed=2"])
    assert overrides == ["--config.mesh.data", "-1", "--config.seed=2"]
    assert load_config("configs/teacher.py", overrides).mesh.data == -1
    with pytest.raises(SystemExit):
        cli._read(["train", "--config=c.py", "--workdir=w", "-x"])


def test_what_the_system_refuses_the_generator_is_worded_too(capsys):
    assert cli.main(["gallery", "--config=tiny", "--output=/proc/none"]) == 2
    assert "/proc/none: No such file or directory. Check that this path is right" in capsys.readouterr().err
