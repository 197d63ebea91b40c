"""Every experiment builds, says how to start it, fits the library, and trains in its test form."""

import importlib
import re
import shlex
from pathlib import Path

import jax
import pytest
import tensorflow_datasets as tfds
from flax import nnx
from flax.traverse_util import flatten_dict

from data_gen.scene import split_of
from painjax import __main__ as command_line
from painjax import evaluate, pretrained, report, train
from painjax.config import flat, load_config
from painjax.errors import UserError
from painjax.export import export_model
from painjax.models import lora
from painjax.models.presets import PRESETS
from painjax.models.vitpain import ViTPain, ViTPainConfig
from tests import synthetic_unbc, tiny_encoder, tiny_vitpain
from tfds_builders.unbc.unbc_dataset_builder import Builder

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if "def get_config" in path.read_text())


def get_config(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def needs_weights(config):
    """Whether the experiment starts from weights, which may decide its sizes."""
    return config.model.width is None or bool(config.model.lora_rank)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """For a configuration that starts from weights, a small model folder of the kind that it starts from."""
    folder = tmp_path_factory.mktemp("weights")
    encoder = tiny_encoder.write(folder / "encoder")
    ours = tiny_vitpain.write(folder / "vitpain", neutral="shared")
    official = tiny_vitpain.write(folder / "official", **tiny_vitpain.OFFICIAL)

    def fitting(config):
        if not needs_weights(config):
            return ""
        if config.model.neutral is not None:
            return str(encoder)
        return str(official if config.model.get("heads_layout") == "official" else ours)

    return fitting


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_builds(name, weights):
    config = get_config(name)
    if config.model.width is None:
        config = pretrained.complete(config, pretrained.read(weights(config)))
    ViTPainConfig(**config.model)
    assert config.steps > config.optim.warmup_steps
    with pytest.raises(ValueError, match="Unknown variant 'tset'"):
        get_config(name, "tset")


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_says_how_to_start_it_with_commands_that_parse(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    document = importlib.import_module(f"configs.{name}").__doc__.replace("\\\n", " ")
    found = re.findall(r"^ *(?:python -m )?(painjax .*)$", document, flags=re.MULTILINE)
    commands = [shlex.split(text)[1:] for text in found]
    (options, overrides), *others = [
        (options, overrides) for options, overrides in map(command_line._read, commands) if options.name == "train"
    ]
    assert options.config == f"configs/{name}.py" and options.workdir.startswith("runs/") and not others
    config = load_config(options.config, overrides)
    assert bool(config.get("teacher")) == ("teacher" in config)  # what must be given is
    assert bool(config.pretrained) == needs_weights(config)


@pytest.mark.parametrize("name", NAMES)
def test_settings_keep_their_type(name):
    config = get_config(name)
    with pytest.raises(TypeError):
        config.steps = "many"
    with pytest.raises(TypeError):
        config.data.data_dir = 3


def differences(first, second):
    """Names of the settings that differ; a loss that is absent weighs 0."""
    first, second = ({n: v for n, v in flat(get_config(name)).items() if v != 0} for name in (first, second))
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


GUIDANCE = {f"loss.{name}" for name in ("heatmap", "attention", "features")}
LOGITS = {f"loss.{name}" for name in ("match_pspi", "match_aus", "match_thresholds")}


def test_ablations_differ_from_the_student_in_guidance_alone():
    teacher = {"teacher", "teacher_outputs", "model.project_width"}
    assert differences("student", "student_supervised") == GUIDANCE | LOGITS | teacher
    assert differences("student", "student_features_only") == GUIDANCE - {"loss.features"} | LOGITS
    assert differences("student", "student_logits_only") == GUIDANCE | {"model.project_width"}
    for kept in ("heatmap", "attention"):
        assert differences("student_supervised", f"student_{kept}_only") == {f"loss.{kept}"}
    assert differences("student", "student_neutral") == {"model.neutral", "data.neutral", "data.neutrals"}


def parameters(name):
    """How many parameters the experiment has on DINOv3 ViT-L/16, and how many of them it trains."""
    config = get_config(name)
    model = PRESETS["dinov3_l"].model | {field: value for field, value in config.model.items() if value is not None}
    shapes = jax.eval_shape(
        lambda: nnx.to_pure_dict(nnx.state(ViTPain(ViTPainConfig(**model), rngs=nnx.Rngs(0)), nnx.Param))
    )
    sizes = {path: value.size for path, value in flatten_dict(shapes, sep="/").items()}
    return sum(sizes.values()), sum(n for path, n in sizes.items() if lora.trains(path, config.model.lora_rank))


def test_the_papers_model_has_the_papers_number_of_parameters():
    total, trained = parameters("paper_student")
    assert round(total / 1e6) == 614 and round(trained / 1e6, 1) == 7.8


def test_the_papers_recipe_is_as_published():
    config = get_config("paper_student")
    frames = sum(split_of(0, identity) == "train" for identity in range(2500)) * 33
    assert config.steps == 150 * (frames // 48) and config.batch_size == 48 and f"{frames:,} frames" in doc("student")
    assert config.optim.learning_rate == 1e-4 and config.optim.groups.adapters.rate == 0.1
    assert config.loss.to_dict() == {"pspi": 1.0, "aus": 25.0, "thresholds": 1.0}
    second = get_config("paper_unbc")
    assert second.steps == 50 * 310 and second.batch_size == 100
    assert second.loss.aus == 0.1 * config.loss.aus and second.optim == config.optim
    differ = differences("paper_student", "paper_teacher")
    assert differ == {"data.input", "model.in_channels", "model.neutral"}


def doc(name):
    return importlib.import_module(f"configs.paper_{name}").__doc__


@pytest.fixture(scope="module")
def unbc(tmp_path_factory):
    """The data directory of a stand-in for unbc/fold_0."""
    folder = tmp_path_factory.mktemp("unbc")
    synthetic_unbc.write(folder)
    builder = Builder(config="fold_0", data_dir=folder / "data")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    return folder / "data"


@pytest.fixture(scope="module")
def run(synthetic_dataset, unbc, weights):
    """Trains an experiment for two steps in its test form."""

    def run(name, workdir, **settings):
        config = get_config(name, "test")
        is_unbc = config.data.name.startswith("unbc/")
        config.data.data_dir = str(unbc if is_unbc else synthetic_dataset)
        config.data.name = "unbc/fold_0" if is_unbc else "pain3d/quick"
        config.steps = 2
        config.pretrained = weights(config)
        config.update(settings)
        assert train.main(config, workdir) == 2
        return workdir

    return run


@pytest.fixture(scope="module")
def teacher_workdir(run, tmp_path_factory):
    return run("teacher", tmp_path_factory.mktemp("runs") / "teacher")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "teacher"])  # which the fixture trains
def test_every_experiment_trains(name, run, teacher_workdir, tmp_path):
    run(name, tmp_path, **({"teacher": str(teacher_workdir)} if "teacher" in get_config(name) else {}))


@pytest.mark.slow
def test_a_student_goes_on_with_photographs(run, teacher_workdir, tmp_path):
    """Distilled on faces that have heatmaps, exported, trained and evaluated on faces that have none."""
    student = run("student_neutral", tmp_path / "student", teacher=str(teacher_workdir))
    exported = export_model(student, tmp_path / "exported", "safetensors")
    workdir = run("unbc_finetune", tmp_path / "unbc", pretrained=str(exported))
    found = evaluate.main(workdir, "test")
    assert found["n"] == 12 and found["identities"] == 2 and found["pspi"]["mae"] >= 0
    assert found["heatmap"] == {"pcc": None, "attention_pcc": None, "attention_iou": None, "n": 0}
    page = report.main(workdir).read_text()
    assert "No frame has a pain heatmap" in page and "<th scope='col'>true pain heatmap" not in page
    assert "synthetic" not in page.split("<details>")[0] and "licence allows" in page


def test_what_learns_from_heatmaps_refuses_data_without(run, unbc, tmp_path):
    settings = {"data.name": "unbc/fold_0", "data.data_dir": str(unbc)}
    config = get_config("student_attention_only", "test")
    config.update_from_flattened_dict(settings)
    with pytest.raises(UserError, match="unbc/fold_0.* has no field heatmap"):
        train.main(config, tmp_path)
