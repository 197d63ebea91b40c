import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict

from configs import student, student_lora, teacher
from painjax import pretrained
from painjax.errors import UserError
from painjax.model_folder import build_model, read_model_folder, write_model_folder
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.state import make_model, place
from tests import tiny_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_encoder.write(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def weights(folder):
    return pretrained.read(folder)


def shapes_of(config):
    params = nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make_model(config)), nnx.Param))
    return {path: value.shape for path, value in flatten_dict(params, sep="/").items()}


def filled(config, weights):
    """The model of `config` with the pretrained weights in it, in evaluation mode."""
    graphdef, state = jax.jit(lambda: nnx.split(make_model(config)))()
    model = nnx.merge(graphdef, state)
    model.eval()
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    nnx.update(model, place(params, pretrained.arrange(weights, config, shapes_of(config))))
    return model


def write_vitpain(folder, seed=0, **fields):
    model = tiny_encoder.MODEL | {"image_size": 32, "project_width": 32} | fields
    module = nnx.eval_shape(lambda: ViTPain(ViTPainConfig(**model), rngs=nnx.Rngs(0)))
    source = {"from": "a test", "revision": None, "file": None, "sha256": None}
    described = {"model": model, "preprocessing": tiny_encoder.PREPROCESSING, "source": source, "card": "# Tiny\n"}
    return write_model_folder(folder, tiny_encoder.random_params(module, seed), kind="vitpain", **described)


# ---------------------------------------------------------------- the experiment


def test_fields_that_are_left_to_the_weights_come_from_them(weights, folder):
    config = student_lora.get_config("test")
    done = pretrained.complete(config, weights)
    assert config.model.width is None  # the caller's stays as it is
    expected = tiny_encoder.MODEL | {"mlp_ratio": 4.0, "position": "rope", "in_channels": 3, "norm_epsilon": 1e-5}
    assert {name: done.model[name] for name in expected} == expected
    assert done.data.image_mean == (0.5, 0.4, 0.3) and done.data.image_std == (0.2, 0.3, 0.4)
    assert done.pretrained == str(folder)
    assert (done.model.lora_rank, done.model.neutral, done.model.image_size) == (8, "shared", 32)


def test_a_relative_folder_is_written_down_in_full(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert pretrained.complete(student_lora.get_config("test"), pretrained.read("tiny")).pretrained == str(folder)


def test_all_fields_that_disagree_are_listed_with_the_flags_that_mend_them(weights):
    config = student.get_config("test")  # says what its encoder is
    config.model.update({"width": 64, "registers": 0, "layer_scale": 0.0, "heads": 2})
    with pytest.raises(UserError) as error:
        pretrained.complete(config, weights)
    flags = "--config.model.width=32 --config.model.registers=4 --config.model.layer_scale=1e-05."
    assert str(error.value).endswith(f"add {flags}") and "width 32 and not 64" in str(error.value)
    assert "heads" not in str(error.value)


def test_what_is_left_to_the_weights_needs_weights():
    with pytest.raises(UserError, match=r"leaves .*width to the pretrained weights.* empty.*painjax import"):
        pretrained.complete(student_lora.get_config(), None)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config.pretrained = '.*nowhere': there is no such folder.*painjax import"):
        pretrained.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no model folder"):
        pretrained.read(tmp_path)


def test_weights_are_told_by_their_hash(weights, folder, tmp_path):
    moved = pretrained.read(shutil.copytree(folder, tmp_path / "moved"))
    other = pretrained.read(tiny_encoder.write(tmp_path / "other", seed=1))
    pretrained.check_same(None, None, "")
    pretrained.check_same(moved, weights.reference(), "")
    with pytest.raises(UserError, match=rf"of {folder}, and {other.folder} holds others, .* Give the right ones."):
        pretrained.check_same(other, weights.reference(), "Give the right ones.")
    with pytest.raises(UserError, match="none are given"):
        pretrained.check_same(None, weights.reference(), "")
    with pytest.raises(UserError, match="without pretrained weights"):
        pretrained.check_same(weights, None, "")


# ---------------------------------------------------------------- the weights


@pytest.mark.parametrize("neutral", ["none", "shared", "separate"])
def test_an_encoder_folder_fills_the_encoders(weights, folder, neutral):
    config = student_lora.get_config("test")
    config.model.neutral = neutral
    config = pretrained.complete(config, weights)
    model = filled(config, weights)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    expected = build_model(read_model_folder(folder))(images)
    np.testing.assert_allclose(model(images).encoded, expected, atol=1e-5)  # new adapters change nothing
    if neutral == "separate":
        np.testing.assert_allclose(model.neutral_encoder(images), expected, atol=1e-5)


def test_channels_for_a_neutral_reference_start_at_zero(weights, folder):
    config = pretrained.complete(student_lora.get_config("test"), weights)
    config.model.neutral = "channels"
    model = filled(config, weights)
    assert model.encoder.patch_embed.kernel.shape == (8 * 8 * 6, 32)
    images, neutral = jax.random.normal(jax.random.key(0), (2, 2, 32, 32, 3))
    expected = build_model(read_model_folder(folder))(images)
    np.testing.assert_allclose(model(images, neutral).encoded, expected, atol=1e-5)


def test_a_heatmap_teacher_sees_what_a_grey_picture_showed(weights, folder):
    config = teacher.get_config("test")
    config.model.update({"mlp_ratio": 4.0, "layer_scale": 1.0})  # where layer scale would start is no matter
    config = pretrained.complete(config, weights)
    assert config.model.in_channels == 1 and "image_mean" not in config.data
    heat = jax.random.normal(jax.random.key(0), (2, 32, 32, 1))
    expected = build_model(read_model_folder(folder))(jnp.repeat(heat, 3, axis=-1))
    np.testing.assert_allclose(filled(config, weights)(heat).encoded, expected, atol=1e-5)


def test_a_vitpain_folder_fills_everything_it_has(tmp_path):
    path = write_vitpain(tmp_path / "vitpain", neutral="shared")
    config = student_lora.get_config("test")
    config.model.neutral = "separate"
    weights = pretrained.read(path)
    model = filled(pretrained.complete(config, weights), weights)
    expected = build_model(read_model_folder(path))
    images, neutral = jax.random.normal(jax.random.key(0), (2, 2, 32, 32, 3))
    for mine, theirs in zip(
        jax.tree.leaves(model(images, neutral)), jax.tree.leaves(expected(images, neutral)), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)  # two copies of one encoder


def test_adapters_of_the_folder_are_folded_in(tmp_path):
    path = write_vitpain(tmp_path / "vitpain", neutral="none", lora_rank=2, lora_alpha=4.0)
    config = student_lora.get_config("test")
    config.model.neutral = "none"
    weights = pretrained.read(path)
    config = pretrained.complete(config, weights)
    assert config.model.lora_rank == 8  # its own, new
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    expected = build_model(read_model_folder(path))(images)
    np.testing.assert_allclose(filled(config, weights)(images).pspi, expected.pspi, atol=1e-3, rtol=1e-4)


def test_weights_without_a_place_and_encoders_without_weights_are_listed(tmp_path):
    weights = pretrained.read(write_vitpain(tmp_path / "vitpain", neutral="separate"))
    config = student_lora.get_config("test")
    config.model.update({"neutral": "shared", "project_width": 0})
    config = pretrained.complete(config, weights)
    shapes = shapes_of(config) | {"encoder/extra": (3,), "encoder/norm/scale": (33,), "new_head/bias": (1,)}
    with pytest.raises(UserError) as error:
        pretrained.arrange(weights, config, shapes)
    for text in (
        "neutral_encoder/cls_token (1, 1, 32) has no place",
        "project/kernel (32, 32) has no place",
        "encoder/extra (3,) of the model is not in the folder",
        "encoder/norm/scale is (32,), in the model (33,)",
        "--config.model.neutral=separate --config.model.project_width=32",
    ):
        assert text in str(error.value)
    assert "new_head" not in str(error.value)


def test_what_is_put_in_place_shares_no_memory_and_keeps_its_layout(weights):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    layout = jax.sharding.NamedSharding(mesh, jax.P(None, "fsdp"))
    like = {"a": {"b": jax.device_put(jnp.zeros((4, 8)), layout), "c": jnp.ones(3)}}
    source = np.arange(32, dtype=np.float64).reshape(4, 8)
    placed = place(like, {"a/b": source})
    assert placed["a"]["b"].sharding == layout and placed["a"]["b"].dtype == jnp.float32
    expected = source.copy()
    source[:] = -1
    np.testing.assert_array_equal(placed["a"]["b"], expected)
    np.testing.assert_array_equal(placed["a"]["c"], 1)
