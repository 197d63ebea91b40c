"""Training on pretrained weights with LoRA, from the model folder to prediction."""

import json
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict
from PIL import Image

from configs import student_lora, student_supervised, teacher
from painjax import evaluate, predict, pretrained, sharding, train
from painjax.checkpoint import Checkpoints, restore_model
from painjax.errors import UserError
from painjax.model_folder import read_model_folder
from painjax.models import lora
from painjax.state import create_state
from tests import tiny_encoder
from tests.test_train import losses, make_config, stop_at_step_5

pytestmark = pytest.mark.slow  # several trainings


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_encoder.write(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def teacher_workdir(synthetic_dataset, weights, tmp_path_factory):
    """A teacher that is itself a LoRA run, on the weights of an RGB encoder."""
    workdir = tmp_path_factory.mktemp("teacher")
    config = make_config(synthetic_dataset, teacher, steps=2, pretrained=str(weights))
    config.model.update({"lora_rank": 2, "layer_scale": 1.0})
    assert train.main(config, workdir) == 2
    return workdir


@pytest.fixture(scope="module")
def config(synthetic_dataset, weights, teacher_workdir):
    config = make_config(synthetic_dataset, student_lora, pretrained=str(weights), teacher=str(teacher_workdir))
    config.optim.learning_rate = 0.01  # so that few steps tell
    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("lora")
    assert train.main(config, workdir) == 8
    return workdir


def params_of(model):
    return flatten_dict(jax.device_get(nnx.to_pure_dict(nnx.state(model, nnx.Param))), sep="/")


def test_the_configuration_is_written_down_complete(finished, weights):
    config = json.loads((finished / "config.json").read_text())
    assert config["pretrained"] == str(weights)
    assert config["model"]["width"] == 32 and config["model"]["qkv_bias"] == "query_value"
    assert config["data"]["image_mean"] == [0.5, 0.4, 0.3]


def test_a_checkpoint_holds_what_trains_and_names_the_rest(finished, weights):
    saved = json.loads((finished / "checkpoints/8/params/_METADATA").read_text())["tree_metadata"]
    saved = {"/".join(part["key"] for part in entry["key_metadata"]) for entry in saved.values()}
    model, *_ = restore_model(finished)
    assert saved == {path for path in params_of(model) if lora.trains(path, 8)}
    assert "encoder/blocks/qkv/lora_a" in saved and "encoder/blocks/qkv/kernel" not in saved
    position = json.loads((finished / "checkpoints/8/position/metadata").read_text())
    sha256 = json.loads((weights / "config.json").read_text())["weights_sha256"]
    assert position["pretrained"] == {"from": str(weights), "weights_sha256": sha256}


def test_the_restored_model_has_the_folders_encoder_and_trained_adapters(finished, weights):
    model, config, step = restore_model(finished)
    assert step == 8 and config.data.image_std == [0.2, 0.3, 0.4]
    params = params_of(model)
    for path, expected in flatten_dict(read_model_folder(weights).params, sep="/").items():
        np.testing.assert_array_equal(params[f"encoder/{path}"], expected)
    assert np.abs(params["encoder/blocks/qkv/lora_b"]).min() > 0


def test_what_is_rounded_in_training_is_rounded_wherever_the_model_is_used(synthetic_dataset, weights, tmp_path):
    """Bit for bit: the model that training validates, and the one that evaluation puts together."""
    config = make_config(synthetic_dataset, student_lora, pretrained=str(weights), frozen_dtype="bfloat16")
    public = pretrained.read(str(weights))
    config = pretrained.complete(config, public)
    mesh = sharding.create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    state = train._start_from(public, config, create_state(config, mesh)[0])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, {"pretrained": public.reference()})
    (tmp_path / "config.json").write_text(config.to_json())
    restored, *_ = restore_model(tmp_path)
    kernel = restored.encoder.blocks.qkv.kernel[...]
    assert kernel.dtype == jnp.float32 and np.any(kernel != public.params["encoder/blocks/qkv/kernel"])
    pictures = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    found, expected = (nnx.jit(lambda model: model(pictures, pictures))(each) for each in (restored, state.model()))
    jax.tree.map(np.testing.assert_array_equal, vars(found), vars(expected))


def test_it_evaluates(finished):
    found = evaluate.main(finished, "test")
    validated = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()][-1]
    assert found["n"] == 10 and found["step"] == 8 and np.isfinite(found["pspi"]["mae"])
    # The model in memory at the end of training, and the one put together from checkpoint and folder.
    again = evaluate.main(finished, "validation")
    assert again["pspi"]["mae"] == pytest.approx(validated["validation"]["pspi"]["mae"], rel=1e-4)


def test_it_predicts_pictures_normalised_as_its_weights_want_them(finished, tmp_path):
    face, calm = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for name, pixels in (("face.png", face), ("calm.png", calm)):
        Image.fromarray(pixels).save(tmp_path / name)
    (found,) = predict.main(finished, tmp_path / "face.png", tmp_path / "calm.png")["predictions"]
    model, *_ = restore_model(finished)
    mean, std = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
    expected = model(*(jnp.asarray((pixels[None] / np.float32(255) - mean) / std) for pixels in (face, calm)))
    assert found["pspi"] == pytest.approx(float(np.clip(expected.pspi[0], 0, 16)), abs=2e-3)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(config, finished, tmp_path):
    result = stop_at_step_5(config, tmp_path, signal.SIGKILL)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert train.main(config, tmp_path) == 8
    went_on, whole = (params_of(restore_model(run)[0]) for run in (tmp_path, finished))
    assert went_on.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(went_on[name], values, err_msg=name)
    np.testing.assert_allclose(losses(tmp_path), losses(finished), rtol=2e-7)  # what is logged, to its last bit


def test_weights_that_moved_are_found_where_they_are_said_to_be(config, finished, weights, tmp_path):
    moved = shutil.copytree(weights, tmp_path / "moved")
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "checkpoints/8")
    settings = json.loads((run / "config.json").read_text())
    gone = str(tmp_path / "gone")
    emptied = shutil.copytree(weights, tmp_path / "emptied")
    (emptied / "model.safetensors").unlink()
    for place in (gone, emptied):
        (run / "config.json").write_text(json.dumps(settings | {"pretrained": str(place)}))
        with pytest.raises(UserError, match=rf"stands on .* of {place}, where there .*\"pretrained\" of .*config.json"):
            restore_model(run)
    (run / "config.json").write_text(json.dumps(settings | {"pretrained": str(moved)}))
    assert restore_model(run)[2] == 6
    config = config.copy_and_resolve_references()
    config.pretrained = gone
    with pytest.raises(UserError, match=r"no such folder.*--config.pretrained="):
        train.main(config, run)
    config.pretrained = str(moved)
    assert train.main(config, run) == 8
    np.testing.assert_array_equal(losses(run), losses(finished))


def test_other_weights_are_refused(config, finished, tmp_path):
    other = tiny_encoder.write(tmp_path / "other", seed=1)
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "checkpoints/8")
    config = config.copy_and_resolve_references()
    config.pretrained = str(other)
    with pytest.raises(UserError, match=rf"{other} holds others, .*Give the right ones with --config.pretrained"):
        train.main(config, run)
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(settings | {"pretrained": str(other)}))
    with pytest.raises(UserError, match=rf"{other} holds others, .*into \"pretrained\" of .*config.json"):
        restore_model(run)


def test_without_lora_everything_is_trained_and_saved(synthetic_dataset, weights, tmp_path):
    folder = shutil.copytree(weights, tmp_path / "weights")
    config = make_config(synthetic_dataset, student_supervised, steps=2, pretrained=str(folder))
    config.model.update({"neutral": "separate", "layer_scale": 1.0})
    assert train.main(config, tmp_path / "run") == 2
    shutil.rmtree(folder)  # no longer needed
    model, *_ = restore_model(tmp_path / "run")
    before = read_model_folder(weights).params["blocks"]["fc1"]["kernel"]
    for encoder in (model.encoder, model.neutral_encoder):
        after = encoder.blocks.fc1.kernel[...]
        assert not np.array_equal(after, before) and np.abs(after - before).max() < 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretrained": ""}, r"lora_rank is 8 and config.pretrained empty"),
        ({"model.neutral": "channels"}, r"neutral is 'channels'.*'patch_embed'"),
    ],
)
def test_a_setting_that_could_never_learn_is_refused(config, synthetic_dataset, tmp_path, settings, message):
    config = config.copy_and_resolve_references()
    for name, value in tiny_encoder.MODEL.items():
        with config.unlocked():
            config.model[name] = value
    config.model.update({"mlp_ratio": 4.0, "layer_scale": 1.0})
    config.update_from_flattened_dict(settings)
    with pytest.raises(UserError, match=message):
        train.main(config, tmp_path)
