"""`painjax train --check`: what a training would miss on this host is named, and nothing is trained."""

from pathlib import Path

import pytest

from painjax import __main__ as cli
from painjax.config import load_config
from painjax.errors import UserError
from painjax.launch.check_host import check_host
from tests import tiny_encoder

ROOT = Path(__file__).resolve().parents[2]
TEACHER, STUDENT = (f"{ROOT}/configs/{name}.py:test" for name in ("teacher", "student"))


def test_a_host_with_everything_says_what_it_has(synthetic_dataset, tmp_path, capsys):
    arguments = [f"--config={TEACHER}", f"--workdir={tmp_path / 'run'}", f"--config.data.data_dir={synthetic_dataset}"]
    assert cli.main(["train", "--check", *arguments]) == 0
    assert "pain3d/quick: 40 frames to learn from, 12 to validate with" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("experiment", "setting", "message"),
    [
        (TEACHER, "data.data_dir", "pain3d/quick is not built in .*nowhere. Build it with `tfds build"),
        (TEACHER, "data.validation_split", "no split '.*nowhere'"),
        (TEACHER, "pretrained", "config.pretrained is '.*nowhere', where there is no model folder"),
        (STUDENT, "teacher", "config.teacher is '.*nowhere'"),
    ],
)
def test_what_is_missing_is_named(experiment, setting, message, synthetic_dataset, tmp_path):
    settings = {"data.data_dir": synthetic_dataset, setting: tmp_path / "nowhere"}
    config = load_config(experiment, [f"--config.{name}={value}" for name, value in settings.items()])
    with pytest.raises(UserError, match=message):
        check_host(config)


def test_pretrained_weights_that_were_not_copied_are_named(synthetic_dataset, tmp_path):
    folder = tiny_encoder.write(tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    settings = [f"--config.data.data_dir={synthetic_dataset}", f"--config.pretrained={folder}"]
    with pytest.raises(UserError, match="config.pretrained is '.*encoder', where there is no model folder with its w"):
        check_host(load_config(TEACHER, settings))
