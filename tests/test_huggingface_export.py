"""The encoder in transformers' layout: loaded by transformers itself, it computes the same tokens."""

import json

import numpy as np
import pytest

from painjax.errors import UserError
from painjax.export import export_model
from painjax.model_folder import build_model, read_model_folder
from tests import tiny_encoder, tiny_vitpain

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LEARNED = {"position": "learned", "position_grid": 4, "registers": 0, "norm_epsilon": 1e-6}


def tokens_of(folder, pixels):
    """What transformers computes, with the class that config.json names; every tensor of it must be in the file."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    options = {"add_pooling_layer": False} if name == "ViTModel" else {}
    model, loading = getattr(transformers, name).from_pretrained(folder, output_loading_info=True, **options)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        return name, model(torch.tensor(np.asarray(pixels)).permute(0, 3, 1, 2)).last_hidden_state.numpy()


@pytest.mark.parametrize(
    ("fields", "architecture"),
    [
        ({}, "DINOv3ViTModel"),
        ({"registers": 0, "qkv_bias": "none", "layer_scale": 0.0}, "DINOv3ViTModel"),
        ({"mlp": "swiglu", "qkv_bias": "all", "rope_theta": 50.0, "lora_rank": 2}, "DINOv3ViTModel"),
        (LEARNED | {"layer_scale": 0.0, "qkv_bias": "all"}, "ViTModel"),
        (LEARNED | {"qkv_bias": "query_value"}, "Dinov2Model"),
        (LEARNED | {"registers": 2, "qkv_bias": "all", "mlp": "swiglu", "mlp_ratio": 2.75}, "Dinov2WithRegistersModel"),
    ],
    ids=["dinov3", "plain dinov3", "gated dinov3", "vit", "dinov2", "gated dinov2 with registers"],
)
def test_transformers_computes_the_same_tokens(fields, architecture, tmp_path):
    source = tiny_encoder.write(tmp_path / "encoder", **fields)
    folder = export_model(source, tmp_path / "exported", "hf")
    pixels = tiny_vitpain.normalised(tiny_vitpain.pictures(2))
    name, found = tokens_of(folder, pixels)
    assert name == architecture
    np.testing.assert_allclose(found, build_model(read_model_folder(source))(pixels), atol=2e-5)


def test_frame_and_difference_are_six_channels(tmp_path):
    source = tiny_vitpain.write(tmp_path / "model", neutral="channels")
    folder = export_model(source, tmp_path / "exported", "hf")
    image, neutral = (tiny_vitpain.normalised(tiny_vitpain.pictures(2, seed)) for seed in (0, 1))
    _, found = tokens_of(folder, np.concatenate([image, image - neutral], axis=-1))
    expected = build_model(read_model_folder(source))(image, neutral).encoded
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert not (folder / "preprocessor_config.json").exists()
    assert "6 channels" in (folder / "README.md").read_text()


def test_the_preprocessing_goes_with_it(tmp_path):
    folder = export_model(tiny_encoder.write(tmp_path / "encoder"), tmp_path / "exported", "hf")
    found = json.loads((folder / "preprocessor_config.json").read_text())
    assert (found["image_mean"], found["image_std"]) == ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    assert found["size"] == {"height": 32, "width": 32} and not found["do_center_crop"]
    assert found["resample"] == 3  # Pillow's bicubic


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position": "none"}, "no positions"),
        (LEARNED | {"mlp_ratio": 2.5}, "whole ratios"),
        (LEARNED | {"position_prefix": False, "layer_scale": 0.0}, "position_prefix"),
    ],
)
def test_what_transformers_cannot_compute_is_refused(fields, message, tmp_path):
    source = tiny_encoder.write(tmp_path / "encoder", **fields)
    with pytest.raises(UserError, match=message):
        export_model(source, tmp_path / "exported", "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
