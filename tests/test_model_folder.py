"""Model folders: what is written is read back, and everything that could be wrong with one is told."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from painjax.errors import UserError
from painjax.model_folder import (
    build_model,
    flatten,
    is_model_folder,
    parameter_shapes,
    read_model_folder,
    sha256,
    unflatten,
    write_model_folder,
)
from painjax.models.vit import ViT, ViTConfig
from painjax.models.vitpain import ViTPain, ViTPainConfig
from tests import tiny_encoder

TINY = ViTConfig(patch_size=4, width=16, depth=2, heads=2, dropout=0.1, drop_path=0.1)
DESCRIPTION = {
    "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 8, "crop": 1.0, "interpolation": "bicubic"},
    "source": {"from": "somewhere", "revision": "abc", "file": "f.safetensors", "sha256": "0" * 64},
    "card": "# A card\n",
}


def parameters(model: nnx.Module) -> dict:
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    model = ViT(TINY, rngs=nnx.Rngs(3))
    model.eval()
    folder = tmp_path_factory.mktemp("model") / "nested" / "folder"
    write_model_folder(folder, parameters(model), kind="encoder", model=dataclasses.asdict(TINY), **DESCRIPTION)
    return folder, model


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "copy")


def test_the_model_comes_back(made):
    folder, model = made
    read = read_model_folder(folder)
    built = build_model(read)
    image = jax.random.normal(jax.random.key(0), (2, 12, 8, 3))
    np.testing.assert_array_equal(built(image), model(image))
    assert built.config == TINY
    assert read.config["preprocessing"] == DESCRIPTION["preprocessing"]
    assert read.config["source"] == DESCRIPTION["source"]
    assert (folder / "README.md").read_text() == "# A card\n"
    assert is_model_folder(folder)


def test_it_holds_three_files_whose_arrays_anybody_can_read(made):
    folder, model = made
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    tensors = load_file(folder / "model.safetensors")
    assert tensors["blocks/qkv/kernel"].shape == (2, 16, 48) and tensors["blocks/qkv/kernel"].dtype == np.float32
    np.testing.assert_array_equal(tensors["norm/scale"], model.norm.scale[...])
    assert json.loads((folder / "config.json").read_text())["weights_sha256"] == sha256(folder / "model.safetensors")


def test_whoever_may_read_the_card_may_read_the_weights(tmp_path, everybody_may_read):
    """safetensors and onnx write files that only their owner may read."""
    folder = tiny_encoder.write(tmp_path / "encoder")
    (folder / "new").touch()
    assert len({oct(file.stat().st_mode) for file in folder.iterdir()}) == 1


def test_arrays_that_do_not_lie_in_order_are_written_as_they_read(tmp_path):
    params = jax.tree.map(lambda x: np.asfortranarray(np.asarray(x)), parameters(ViT(TINY, rngs=nnx.Rngs(0))))
    write_model_folder(tmp_path / "f", params, kind="encoder", model=dataclasses.asdict(TINY), **DESCRIPTION)
    kernel = read_model_folder(tmp_path / "f").params["blocks"]["qkv"]["kernel"]
    np.testing.assert_array_equal(kernel, params["blocks"]["qkv"]["kernel"])


def test_vitpain_with_its_experiment(tmp_path):
    config = ViTPainConfig(patch_size=4, width=16, depth=1, heads=2, image_size=8, neutral="shared", lora_rank=2)
    model = ViTPain(config, rngs=nnx.Rngs(0))
    model.eval()
    write_model_folder(
        tmp_path / "f",
        parameters(model),
        kind="vitpain",
        model=dataclasses.asdict(config),
        experiment={"seed": 7, "data": {"name": "pain3d/quick"}},
        **DESCRIPTION,
    )
    read = read_model_folder(tmp_path / "f")
    assert read.config["experiment"] == {"seed": 7, "data": {"name": "pain3d/quick"}}
    built = build_model(read)
    assert isinstance(built, ViTPain) and built.config == config
    jax.tree.map(np.testing.assert_array_equal, parameters(built), parameters(model))


def test_parameter_shapes_are_those_of_the_model():
    expected = jax.tree.map(jnp.shape, parameters(ViT(TINY, rngs=nnx.Rngs(0))))
    assert unflatten(parameter_shapes("encoder", dataclasses.asdict(TINY))) == expected


def test_flatten_and_unflatten_undo_each_other():
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert flatten(nested) == {"a/b": 1, "a/c/d": 2, "e": 3}
    assert unflatten(flatten(nested)) == nested


# --- what can be wrong ---


def test_nothing_is_overwritten(made, tmp_path):
    folder, model = made
    arguments = {"kind": "encoder", "model": dataclasses.asdict(TINY), **DESCRIPTION}
    with pytest.raises(UserError, match="not empty"):
        write_model_folder(folder, parameters(model), **arguments)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write_model_folder(tmp_path / "file", parameters(model), **arguments)
    (tmp_path / "empty").mkdir()
    assert is_model_folder(write_model_folder(tmp_path / "empty", parameters(model), **arguments))


def test_parameters_that_do_not_fit_are_not_written(tmp_path):
    params = parameters(ViT(TINY, rngs=nnx.Rngs(0)))
    params["norm"] = {"scale": np.ones(3), "shift": np.ones(3)}
    with pytest.raises(UserError, match=r"norm/bias is missing.*norm/shift is not a parameter.*norm/scale has shape"):
        write_model_folder(tmp_path / "f", params, kind="encoder", model=dataclasses.asdict(TINY), **DESCRIPTION)
    assert not list(tmp_path.iterdir())


def test_changed_weights(copy):
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors | {"norm/scale": tensors["norm/scale"] + 1}, copy / "model.safetensors")
    with pytest.raises(UserError, match="has changed since it was written"):
        read_model_folder(copy)


def edit(folder, change) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "format 2.*reads 1"),
        (lambda c: c.pop("format"), "names no format"),
        (lambda c: c.update(kind="decoder"), "kind 'decoder'"),
        (lambda c: c.pop("model"), "lacks model"),
        (lambda c: c["model"].update(depth=3), "blocks/fc1/kernel has shape"),
        (lambda c: c["model"].update(registers=0), "registers is not a parameter"),
        (lambda c: c["model"].update(heads=3), "not valid.*multiple of"),
        (lambda c: c["model"].update(colour="red"), "unknown fields: colour"),
        (lambda c: c["model"].pop("width"), "copy: The model's configuration is not valid.*width"),
        (lambda c: c.update(preprocessing={}), "has the preprocessing {}; expected mean and std"),
        (lambda c: c["preprocessing"].update(std=[0.5]), "expected mean and std"),
        (lambda c: c["preprocessing"].update(mean=[0.5, 0.5, "0.5"]), "expected mean and std"),
        (lambda c: c["preprocessing"].pop("crop"), "expected mean and std"),
        (lambda c: c["preprocessing"].update(mean=[0.5], std=[0.5]), "expected mean and std"),
        (lambda c: c["preprocessing"].update(std=[0.5, 0.0, 0.5]), "expected mean and std"),
        (lambda c: c["preprocessing"].update(mean=[0.5, float("nan"), 0.5]), "expected mean and std"),
        (lambda c: c["preprocessing"].update(size=0), "expected mean and std"),
    ],
)
def test_a_description_that_does_not_fit(copy, change, message):
    edit(copy, change)
    with pytest.raises(UserError, match=message):
        read_model_folder(copy)


def test_truncated_weights(copy):
    data = (copy / "model.safetensors").read_bytes()[:-8]
    (copy / "model.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="has changed"):
        read_model_folder(copy)
    edit(copy, lambda config: config.update(weights_sha256=sha256(copy / "model.safetensors")))
    with pytest.raises(UserError, match="cannot be read"):
        read_model_folder(copy)


def test_what_is_no_model_folder(tmp_path, copy):
    with pytest.raises(UserError, match="no model folder.*painjax import"):
        read_model_folder(tmp_path)
    assert not is_model_folder(tmp_path)
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model.safetensors"):
        read_model_folder(copy)
    assert is_model_folder(copy)  # so that whoever asks reads it, and is told the above
    (copy / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_model_folder(copy)
    (copy / "model.safetensors").touch()
    (copy / "config.json").write_text(json.dumps({"model_type": "dinov2"}))  # as transformers leaves it
    assert not is_model_folder(copy)
