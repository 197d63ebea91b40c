"""Every experiment builds, fits the library, and trains in its test form."""

import importlib
from pathlib import Path

import pytest

from painjax import pretrained, train
from painjax.config import flat
from painjax.models.vitpain import ViTPainConfig
from tests import tiny_encoder

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")


def get_config(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_encoder.write(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_builds_and_says_how_to_start_it(name, weights):
    config = get_config(name)
    if config.model.width is None:  # left to the pretrained weights
        config = pretrained.complete(config, pretrained.read(weights))
    ViTPainConfig(**config.model)
    assert config.steps > config.optim.warmup_steps
    document = importlib.import_module(f"configs.{name}").__doc__
    assert f"python -m painjax train --config=configs/{name}.py --workdir=" in document
    with pytest.raises(ValueError, match="Unknown variant 'tset'"):
        get_config(name, "tset")


@pytest.mark.parametrize("name", NAMES)
def test_settings_keep_their_type(name):
    config = get_config(name)
    with pytest.raises(TypeError):
        config.steps = "many"
    with pytest.raises(TypeError):
        config.data.data_dir = 3


def test_the_comparison_differs_from_the_student_in_guidance_alone():
    student, supervised = (flat(get_config(name)) for name in ("student", "student_supervised"))
    different = {name for name in student.keys() | supervised.keys() if student.get(name) != supervised.get(name)}
    guidance = {"heatmap", "attention", "features", "match_pspi", "match_aus", "match_thresholds"}
    assert different == {"teacher", "model.project_width"} | {f"loss.{name}" for name in guidance}


@pytest.fixture(scope="module")
def teacher_workdir(synthetic_dataset, tmp_path_factory):
    return run("teacher", synthetic_dataset, tmp_path_factory.mktemp("runs") / "teacher")


def run(name, data_dir, workdir, **settings):
    config = get_config(name, "test")
    config.data.data_dir = str(data_dir)
    config.steps = 2
    config.update(settings)
    assert train.main(config, workdir) == 2
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_trains(name, teacher_workdir, weights, synthetic_dataset, tmp_path):
    if name != "teacher":  # which the fixture trains
        config = get_config(name)
        settings = {"teacher": str(teacher_workdir)} if "teacher" in config else {}
        settings |= {"pretrained": str(weights)} if config.model.width is None else {}
        run(name, synthetic_dataset, tmp_path, **settings)
