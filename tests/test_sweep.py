"""A grid becomes commands that a shell runs as they stand; what cannot be trained is refused before any is printed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from configs import sweep
from painjax import __main__ as command_line
from painjax.config import load_config
from painjax.errors import UserError
from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/student_supervised.py"


@pytest.fixture(autouse=True)
def from_the_projects_folder(monkeypatch):
    monkeypatch.chdir(ROOT)


def parsed(line):
    """What `painjax train` makes of a command, as a shell would hand it over."""
    program, *arguments = shlex.split(line)
    assert program == "painjax"
    options, overrides = command_line._read(arguments)
    return options.workdir, load_config(options.config, overrides)


def test_every_combination_has_its_own_command_and_folder():
    grid = ["optim.learning_rate=1e-3,3e-4", "seed=0,1,2"]
    found = [parsed(line) for line in sweep.commands(CONFIG, "runs/my sweep", grid, ["--config.steps=50"])]
    assert [(config.optim.learning_rate, config.seed) for _, config in found] == [
        (1e-3, 0), (1e-3, 1), (1e-3, 2), (3e-4, 0), (3e-4, 1), (3e-4, 2),
    ]  # fmt: skip
    assert all(config.steps == 50 for _, config in found)
    assert [folder for folder, _ in found][:2] == [f"runs/my sweep/learning_rate=1e-3_seed={seed}" for seed in (0, 1)]
    assert len({folder for folder, _ in found}) == 6


def test_values_that_no_folder_can_be_named_by():
    grid = ['optim.groups.all.pattern="[a-z]{1,}.*",.*,".{0,99}"', "pretrained=a/b,a b"]
    found = [parsed(line) for line in sweep.commands(CONFIG, "runs/s", grid)]
    assert {config.optim.groups.all.pattern for _, config in found} == {"[a-z]{1,}.*", ".*", ".{0,99}"}
    assert {config.pretrained for _, config in found} == {"a/b", "a b"}
    folders = {folder.removeprefix("runs/s/") for folder, _ in found}
    assert len(folders) == 6 and not any(set(folder) & set("/ *[]{}\"'") for folder in folders)


def test_settings_that_end_alike_are_named_in_full():
    lines = sweep.commands(CONFIG, "runs/s", ["data.augment.noise=0.0,0.1", "model.dropout=0.1", "model.width=192"])
    assert "--workdir=runs/s/noise=0.0_dropout=0.1_width=192 " in next(iter(lines))
    grid, learns_from = ["loss.heatmap=0.5", "loss.pspi=2.0", "model.remat=full"], ["--config.teacher=runs/teacher"]
    (line,) = sweep.commands("configs/student.py", "runs/s", grid, learns_from)
    assert "/heatmap=0.5_pspi=2.0_remat=full " in line
    grid, learns_from = ["optim.groups.heads.rate=1.0", "optim.groups.adapters.rate=0.1"], ["--config.pretrained=w"]
    (line,) = sweep.commands("configs/student_lora.py", "runs/s", grid, ["--config.teacher=runs/teacher", *learns_from])
    assert "/optim.groups.heads.rate=1.0_optim.groups.adapters.rate=0.1 " in line


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        (["optim.lerning_rate=1"], "Did you mean 'learning_rate'"),
        (["seed=0,one"], "config.seed=one"),
        (["seed=0,0"], "'0' twice"),
        (["optim.learning_rate=1e-3,0.001"], "learning_rate=1e-3 and learning_rate=0.001 are the same experiment"),
        (["seed=0", "seed=1"], "seed is given twice"),
        (["steps=100"], "steps is given twice"),
        (["model.neutral=shred"], "'shred'; expected one of none"),
        (["optim.warmup_steps=30,60"], "expected less than config.steps, 50"),
        (["accumulate=2,3"], "expected what divides config.batch_size, 64"),
        (["seed"], "expected a setting and its values"),
        (["seed=1,"], "expected a setting and its values"),
    ],
)
def test_what_cannot_be_trained_is_refused(grid, why):
    with pytest.raises(UserError, match=why):
        sweep.commands(CONFIG, "runs/s", grid, ["--config.steps=50"])


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("configs/student.py", "config.teacher is empty, and this experiment learns from a teacher"),
        ("configs/student_lora.py", "to the pretrained weights, and config.pretrained is empty"),
    ],
)
def test_what_no_machine_could_start_is_refused(config, why):
    with pytest.raises(UserError, match=why):
        sweep.commands(config, "runs/s", ["seed=0,1"])


def test_what_this_machine_has_not_is_a_warning(synthetic_dataset, tmp_path, capsys):
    """The commands may be for a cluster; a typo would be seen all the same."""
    fits, too_small = tmp_path / "fits", tmp_path / "too_small"
    for folder, size in ((fits, 112), (too_small, 64)):
        (folder / "checkpoints" / "1").mkdir(parents=True)
        config = load_config("configs/teacher.py", [f"--config.model.image_size={size}"])
        (folder / "config.json").write_text(config.to_json())
    arguments = ["--config=configs/student.py", "--workdir=runs/s", "--", f"--config.data.data_dir={synthetic_dataset}"]

    def warnings(*grid, index=()):
        assert sweep.main([*arguments[:2], *(f"--grid={axis}" for axis in grid), *index, *arguments[2:]]) == 0
        out, err = capsys.readouterr()
        return len(out.splitlines()), err.splitlines()

    grid = [f"teacher={fits},{tmp_path / 'absent'},{too_small}", "seed=0,1"]
    printed, (absent, misfit) = warnings(*grid)
    assert printed == 6
    assert "2 of 6 would not start" in absent and f"no trained model in {tmp_path / 'absent'}" in absent
    assert "2 of 6 would not start" in misfit and "model.image_size is 64, the student's 112" in misfit
    assert warnings(*grid, index=["--index=0"]) == (1, [])
    (of_data,) = warnings(f"teacher={fits}", "data.train_split=train,trian")[1]
    assert "1 of 2 would not start" in of_data and "no split 'trian'" in of_data
    (of_weights,) = warnings(f"teacher={fits}", f"pretrained={tmp_path / 'absent'}")[1]
    assert "1 of 1 would not start" in of_weights and "where there is no model folder" in of_weights


@pytest.mark.parametrize("argument", ["--workdir=elsewhere", "--config=configs/teacher.py", "--config.seed", "seed=1"])
def test_only_settings_are_given_to_all(argument):
    with pytest.raises(UserError, match=r"after --: expected settings such as"):
        sweep.commands(CONFIG, "runs/s", ["steps=100"], [argument])


def test_one_command_by_its_index(capsys):
    arguments = [f"--config={CONFIG}", "--workdir=runs/s", "--grid", "seed=0,1,2", "--start=sbatch train.sbatch"]
    assert sweep.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("sbatch train.sbatch --config=configs/")
    assert sweep.main([*arguments, "--index=2"]) == 0
    assert capsys.readouterr().out == f"{lines[2]}\n"
    assert sweep.main([*arguments, "--index=3"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "this grid has 3 commands, 0 to 2" in err


@pytest.mark.slow
def test_a_printed_command_trains(synthetic_dataset, tmp_path):
    workdir = tmp_path / "a sweep"
    arguments = [f"--config={CONFIG}:test", f"--workdir={workdir}", "--grid", "seed=3,4", "--index=1"]
    arguments += [f"--start={shlex.join([sys.executable, '-m', 'painjax', 'train'])}"]
    arguments += ["--", "--config.steps=2", f"--config.data.data_dir={synthetic_dataset}"]
    printed = subprocess.run(
        [sys.executable, "-m", "configs.sweep", *arguments], capture_output=True, text=True, check=True
    ).stdout
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}
    done = subprocess.run(["sh"], input=printed, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = workdir.iterdir()
    assert run.name == "seed=4" and json.loads((run / "config.json").read_text())["seed"] == 4
    assert (run / "checkpoints/2").is_dir()
