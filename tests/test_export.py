"""Export: every format whole or not at all, adapters merged, the authors' checkpoint tensor by tensor."""

import errno
import json
import shutil

import numpy as np
import pytest

from configs import student
from painjax import evaluate, export, train
from painjax.errors import UserError
from painjax.export import export_model
from painjax.model_folder import flatten, read_model_folder
from painjax.predict import Predictor
from painjax.weights.importing import import_weights
from tests import tiny_encoder, tiny_vitpain

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def run(synthetic_dataset, tmp_path_factory):
    """A training run with its evaluation."""
    config = student.get_config("test")
    config.steps = 2
    config.teacher = ""
    config.model.project_width = 0
    config.data.data_dir = str(synthetic_dataset)
    config.data.image_mean, config.data.image_std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    for weight in ("features", "match_pspi", "match_aus", "match_thresholds"):
        del config.loss[weight]
    del config.teacher
    workdir = tmp_path_factory.mktemp("runs") / "student"
    train.main(config, workdir)
    evaluate.main(workdir, "test")
    return workdir


def test_a_training_run_becomes_a_model_folder_that_predicts_the_same(run, tmp_path):
    folder = export_model(run, tmp_path / "exported", "safetensors")
    pictures = list(tiny_vitpain.pictures(3))
    expected, found = (Predictor(path).predict(pictures[:2]) for path in (run, folder))
    np.testing.assert_allclose(found.pspi, expected.pspi, atol=1e-6)
    np.testing.assert_allclose(found.aus, expected.aus, atol=1e-6)
    config = json.loads((folder / "config.json").read_text())
    assert config["source"]["from"] == "student" and config["source"]["revision"] == "step 2"
    assert config["preprocessing"] == {
        "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "size": 32, "crop": 1.0, "interpolation": "lanczos"
    }  # fmt: skip
    # Nothing tells where it was made.
    assert not [file for file in folder.glob("*.*n") if str(run.parent) in file.read_text()]
    assert str(config["experiment"]["data"]["data_dir"]) == "None"


def test_the_card_of_a_run_has_its_figures_by_group(run, tmp_path):
    card = (export_model(run, tmp_path / "exported", "safetensors") / "README.md").read_text()
    evaluation = json.loads((run / "evaluation.json").read_text())
    row = next(line for line in card.splitlines() if line.startswith("| with neutral |"))
    assert f"| {evaluation['pspi']['mae']:.3f} |" in row
    people = {line.split(" | ")[0]: line.split(" | ")[1:3] for line in card.splitlines() if "gender:" in line}
    assert people == {"| gender: female": ["2", "6"], "| gender: male": ["1", "4"]}  # 4 frames of each, 10 in all
    assert "license: apache-2.0" in card and "pain3d/quick" in card


def test_a_model_says_what_it_was_trained_from_where_only_the_weights_of_that_are_gone(run, tmp_path):
    encoder = tiny_encoder.write(tmp_path / "encoder")
    (encoder / "model.safetensors").unlink()
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"pretrained": str(encoder)}))
    saved = read_model_folder(export_model(tmp_path / "run", tmp_path / "exported", "safetensors"))
    assert saved.config["source"]["backbone"] == json.loads((encoder / "config.json").read_text())["source"]


def test_adapters_are_merged_and_the_model_stays_the_same(tmp_path):
    source = tiny_vitpain.write(tmp_path / "model", neutral="shared", lora_rank=2)
    folder = export_model(source, tmp_path / "exported", "safetensors")
    saved = read_model_folder(folder)
    assert saved.config["model"]["lora_rank"] == 0
    assert not [path for path in flatten(saved.params) if "lora" in path]
    image, neutral = tiny_vitpain.pictures(2), tiny_vitpain.pictures(1, seed=1)
    expected, found = (tiny_vitpain.outputs(path, image, neutral) for path in (source, folder))
    for name in ("predict", "predict_enrolled"):
        np.testing.assert_allclose(found[name].tokens, expected[name].tokens, atol=2e-5)
        np.testing.assert_allclose(found[name].pspi, expected[name].pspi, atol=1e-4)


@pytest.mark.parametrize("name", ["vitpain_official_tiny", "vitpain_official_tiny_neutral"])
def test_the_authors_checkpoint_comes_back_tensor_by_tensor(name, shared, tmp_path):
    original = torch.load(shared / "golden" / f"{name}.ckpt", weights_only=True)
    imported = import_weights(str(shared / "golden" / f"{name}.ckpt"), tmp_path / "imported", heads=4)
    folder = export_model(imported, tmp_path / "exported", "official")
    written = torch.load(folder / "vitpain.ckpt", weights_only=True)
    assert set(written["state_dict"]) == set(original["state_dict"])
    for key, value in original["state_dict"].items():
        if key.endswith("reg_token"):  # not used by their code
            value = torch.zeros_like(value)
        torch.testing.assert_close(written["state_dict"][key], value, rtol=0, atol=0, msg=key)
    for key in ("model_name", "lora_rank", "lora_alpha", "use_neutral_reference", "num_au_features", "num_classes"):
        assert written["hyper_parameters"][key] == original["hyper_parameters"][key], key
    assert "pytorch-lightning_version" in written


def test_a_merged_model_goes_into_the_authors_layout_with_adapters_of_zeros(tmp_path):
    fields = tiny_vitpain.OFFICIAL | {"lora_rank": 2, "lora_targets": "patch_embed|blocks/(qkv|proj)"}
    source = tiny_vitpain.write(tmp_path / "model", **fields)
    merged = export_model(source, tmp_path / "merged", "safetensors")
    folder = export_model(merged, tmp_path / "exported", "official")
    again = import_weights(str(folder / "vitpain.ckpt"), tmp_path / "again", heads=2)
    saved = read_model_folder(again).config["model"]
    assert (saved["lora_rank"], saved["lora_alpha"]) == (8, 16)
    params, expected = (flatten(read_model_folder(path).params) for path in (again, merged))
    for path, value in expected.items():
        np.testing.assert_array_equal(params[path], value, err_msg=path)
    assert not any(params[path].any() for path in set(params) - set(expected))


@pytest.mark.parametrize("kind", ["painjax", "encoder"])
def test_other_models_have_no_place_in_the_authors_checkpoint(kind, tmp_path):
    write = tiny_encoder.write if kind == "encoder" else tiny_vitpain.write
    with pytest.raises(UserError, match="their code has no place for it"):
        export_model(write(tmp_path / "model"), tmp_path / "exported", "official")


def test_an_encoder_folder_can_be_exported_again(tmp_path):
    source = tiny_encoder.write(tmp_path / "encoder", lora_rank=2)
    saved = read_model_folder(export_model(source, tmp_path / "exported", "safetensors"))
    assert saved.config["kind"] == "encoder" and saved.config["model"]["lora_rank"] == 0
    assert saved.config["preprocessing"] == tiny_encoder.PREPROCESSING


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export_model(tmp_path / "model", tmp_path / "taken", "hf")
    assert (tmp_path / "taken" / "mine.txt").read_text() == "mine"


def test_an_empty_target_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    folder = export_model(tiny_encoder.write(tmp_path / "encoder"), tmp_path / "empty", "safetensors")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "encoder"]


@pytest.mark.parametrize("format", ["safetensors", "hf", "stablehlo"])
def test_whoever_may_read_the_card_may_read_the_rest(format, tmp_path, everybody_may_read):
    folder = export_model(tiny_encoder.write(tmp_path / "encoder"), tmp_path / "exported", format)
    (folder / "new").touch()
    assert len({oct(file.stat().st_mode) for file in folder.iterdir()}) == 1
    assert oct(folder.stat().st_mode) == oct(tmp_path.joinpath("encoder").stat().st_mode)


def test_an_unknown_format_is_told_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="safetensors, hf, official, stablehlo, onnx"):
        export_model(tmp_path, tmp_path / "exported", "pickle")


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(model, folder):
        (folder / "half.bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "half.bin"))

    monkeypatch.setitem(export.FORMATS, "hf", full)
    source = tiny_encoder.write(tmp_path / "encoder")
    with pytest.raises(UserError, match=r"No space left on device.*GB free"):
        export_model(source, tmp_path / "exported", "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_a_source_without_a_model_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained model"):
        export_model(tmp_path / "nowhere", tmp_path / "exported", "safetensors")
