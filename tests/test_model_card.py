"""The model card: what it must say of every kind of model, front matter that parses, code that runs."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from painjax.export import export_model
from painjax.exportable import read_exportable
from painjax.metrics import constant_baseline
from painjax.model_card import HowTo, model_card
from tests import tiny_encoder, tiny_vitpain
from tests.test_metrics import draw_predictions

HOW_TO = HowTo("a test", library="jax", install="pip install jax", usage="print(1)\n", notes=("A note.",))


def card_of(folder):
    return model_card(read_exportable(folder), HOW_TO, {"weights": "abc"})


def front_matter(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.S).group(1))


def described(folder, **changes):
    """Changes the config.json of a model folder, as another source or experiment would have written it."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


EXPERIMENT = {"data": {"name": "pain3d/quick", "data_dir": "nowhere", "input": "image"}, "model": {}}


@pytest.fixture
def folder(tmp_path):
    return tiny_vitpain.write(tmp_path / "model", neutral="shared")


def test_every_card_of_a_vitpain_says_what_it_is_not_for(folder):
    card = card_of(folder)
    assert "Not a medical device" in card and "Out of scope" in card
    assert "Not measured" in card or "Nothing yet" in card
    assert "| `weights` | `abc` |" in card
    assert "A note." in card and "```python\nprint(1)\n```" in card
    assert "mean 0.5, 0.4, 0.3 and standard deviation 0.2, 0.3, 0.4" in card
    assert "width 32, 2 blocks, 2 heads" in card
    assert {"painjax", "pspi"} <= set(front_matter(card)["tags"])
    assert front_matter(card)["library_name"] == "jax"


def test_the_licence_of_a_backbone_goes_with_it(folder):
    source = {"from": "timm/vit_small_patch16_dinov3.lvd1689m", "revision": "0123", "file": "f", "sha256": "beef"}
    card = card_of(described(folder, source={"from": "student"} | {"backbone": source}, experiment=EXPERIMENT))
    assert front_matter(card)["license_name"] == "dinov3-license"
    assert all(part in card for part in (source["from"], "`0123`", "`beef`", "DINOv3 License", "3DPain"))


def test_weights_from_scratch_on_synthetic_data_are_ours(folder):
    card = card_of(described(folder, source={"from": "student", "backbone": None}, experiment=EXPERIMENT))
    assert front_matter(card)["license"] == "apache-2.0"
    assert "No person is depicted" in card


def test_weights_from_scratch_on_other_data_are_under_its_terms(folder):
    experiment = {"data": EXPERIMENT["data"] | {"name": "unbc_mcmaster"}, "model": {}}
    card = card_of(described(folder, source={"from": "student", "backbone": None}, experiment=experiment))
    assert front_matter(card)["license"] == "other"
    assert "`unbc_mcmaster`" in card and "3DPain" not in card


def test_weights_fine_tuned_from_our_own_are_not_called_new(folder):
    experiment = EXPERIMENT | {"pretrained": "exported/first_student"}
    card = card_of(described(folder, source={"from": "student", "backbone": None}, experiment=experiment))
    assert front_matter(card)["license"] == "other"
    assert "Fine-tuned from `first_student`" in card and "Trained from random weights" not in card


def test_other_backbones_keep_their_licence(tmp_path):
    encoder = tiny_encoder.write(tmp_path / "encoder", position="learned", position_grid=4, registers=0)
    card = card_of(encoder)
    assert front_matter(card)["license_name"] == "see-source"
    assert "without anything that reads pain" in card
    assert "Not a medical device" in card


@pytest.mark.parametrize(
    ("channels", "told"), [(1, "one channel in 0..1"), (3, "RGB in 0..1"), (6, "6 channels in 0..1")]
)
def test_the_channels_of_an_encoders_pictures(channels, told, tmp_path):
    assert told in card_of(tiny_encoder.write(tmp_path / "encoder", in_channels=channels))


# --- what was measured ---


def evaluate(folder, step):
    """Leaves made-up predictions and their evaluation, as `painjax evaluate` would."""
    predictions = draw_predictions(10)
    predictions.save(folder / "predictions_test.npz")
    constant = constant_baseline(predictions.pspi_true, predictions.pspi_true)
    constant["aus"] = {f"AU{k}": {"mae": 1.5} for k in (4, 6, 7, 9, 10, 43)}
    summary = predictions.summary()
    summary["pspi"]["auroc@1"] = None  # not defined
    evaluation = {"split": "test", "n": 10, "identities": 3, "step": step, **summary}
    evaluation |= {"baselines": {"constant": constant}, "protocols": {"with_neutral": summary}}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return summary


def test_figures_are_those_of_the_evaluation(folder):
    summary = evaluate(described(folder, experiment=EXPERIMENT), step=0)
    card = card_of(folder)
    (row,) = [line for line in card.splitlines() if line.startswith("| with neutral |")]
    pspi = summary["pspi"]
    numbers = [pspi["mae"], pspi["rmse"], pspi["pcc"], pspi["icc"], None, pspi["auroc@2"], pspi["auroc@3"]]
    assert row == "| with neutral | " + " | ".join("-" if x is None else f"{x:.3f}" for x in numbers) + " |"
    assert f"| AU4 | {summary['aus']['AU4']['mae']:.3f} | 1.500 |" in card
    assert "Not measured by demographic group: the data set `pain3d/quick` was not at hand" in card


def test_figures_of_another_step_are_not_shown(folder):
    evaluate(described(folder, experiment=EXPERIMENT), step=7)
    card = card_of(folder)
    assert "step 7" in card and "| with neutral |" not in card


def test_figures_of_another_data_set_are_not_shown(folder):
    evaluate(described(folder, experiment=EXPERIMENT), step=0)
    file = folder / "evaluation.json"
    found = json.loads(file.read_text())
    for name, shown in (("pain3d/quick", True), ("unbc_mcmaster", False)):
        file.write_text(json.dumps(found | {"data_set": {"name": name}}))
        assert ("| with neutral |" in card_of(folder)) is shown


# --- the code in it ---


@pytest.mark.parametrize("format", ["safetensors", "hf", "official"])
def test_the_code_of_the_card_runs(format, tmp_path):
    fields = tiny_vitpain.OFFICIAL if format == "official" else {}
    folder = export_model(tiny_vitpain.write(tmp_path / "model", **fields), tmp_path / "exported", format)
    Image.fromarray(tiny_vitpain.pictures(1)[0]).save(folder / "face.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
