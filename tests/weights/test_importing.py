"""The whole way: from a file, a folder or the hub to a model folder."""

import hashlib
import json

import huggingface_hub
import huggingface_hub.constants
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

from painjax.errors import UserError
from painjax.model_folder import flatten, is_model_folder, read_model_folder
from painjax.weights import import_weights
from painjax.weights.torch_file import write_torch
from tests.weights import originals
from tests.weights.hub_stand_in import COMMIT, Hub

CONFIG = {
    "model_type": "dinov3_vit",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 4,
    "hidden_act": "gelu",
}
PREPROCESSOR = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2], "size": 32, "resample": 2}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "dinov3-of-mine"
    path.mkdir()
    save_file(originals.hf_dinov3(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return path


def params_of(folder) -> dict[str, np.ndarray]:
    return flatten(read_model_folder(folder).params)


def assert_same(ours: dict, others: dict) -> None:
    assert sorted(ours) == sorted(others)
    for name in ours:
        np.testing.assert_array_equal(ours[name], others[name], err_msg=name)


def test_a_folder(folder, tmp_path):
    target = import_weights(str(folder), tmp_path / "deep" / "ours")
    assert target == tmp_path / "deep" / "ours" and is_model_folder(target)
    config = read_model_folder(target).config
    assert config["kind"] == "encoder"
    assert config["preprocessing"] == {
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.2, 0.2],
        "size": 32,
        "crop": 1.0,
        "interpolation": "bilinear",
    }
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert config["source"] == {
        "from": "dinov3-of-mine",  # no path of this machine
        "revision": "",
        "file": "model.safetensors",
        "sha256": digest,
    }
    card = (target / "README.md").read_text()
    assert digest in card and "width 16, 2 blocks, 2 heads" in card and "0.4, 0.5, 0.6" in card


def test_shards_and_torch_files_hold_the_same(folder, tmp_path):
    whole = params_of(import_weights(str(folder), tmp_path / "whole"))
    tensors = originals.hf_dinov3()
    write_torch(folder / "pytorch_model.bin", tensors, {})
    chosen = import_weights(str(folder), tmp_path / "torch", file="pytorch_model.bin")
    assert_same(params_of(chosen), whole)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").unlink()
    names, shards = sorted(tensors), {}
    for i, half in enumerate((names[::2], names[1::2]), 1):
        shard = f"model-0000{i}-of-00002.safetensors"
        save_file({name: tensors[name] for name in half}, folder / shard)
        shards |= dict.fromkeys(half, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    sharded = import_weights(str(folder), tmp_path / "sharded")
    assert_same(params_of(sharded), whole)
    source = read_model_folder(sharded).config["source"]
    assert source["file"] == "model.safetensors.index.json"
    assert {name: len(digest) for name, digest in source["shards"].items()} == dict.fromkeys(shards.values(), 64)


def test_half_precision_becomes_float32(folder, tmp_path):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        tensors = {name: x.astype(dtype) for name, x in originals.hf_dinov3().items()}
        save_file(tensors, folder / "model.safetensors")
        ours = params_of(import_weights(str(folder), tmp_path / np.dtype(dtype).name))
        assert all(x.dtype == np.float32 for x in ours.values())
        np.testing.assert_array_equal(ours["norm/bias"], tensors["norm.bias"].astype(np.float32))


def test_a_bare_file_needs_its_heads(folder, tmp_path, caplog):
    bare = tmp_path / "weights.safetensors"
    (folder / "model.safetensors").rename(bare)
    with pytest.raises(UserError, match="--heads=N"):
        import_weights(str(bare), tmp_path / "ours")
    config = read_model_folder(import_weights(str(bare), tmp_path / "ours", heads=2)).config
    assert config["model"]["heads"] == 2
    assert (
        "ImageNet's mean and standard deviation and 224 px are assumed" in (tmp_path / "ours" / "README.md").read_text()
    )
    assert "weights.safetensors says how its pictures are prepared: ImageNet's" in caplog.text
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    caplog.clear()
    import_weights(str(bare), tmp_path / "told", heads=2)
    assert not caplog.text


def test_the_authors_checkpoint(shared, tmp_path):
    file = shared / "golden" / "vitpain_official_tiny_neutral.ckpt"
    target = import_weights(str(file), tmp_path / "ours", heads=4)
    config = read_model_folder(target).config
    assert config["kind"] == "vitpain"
    model = config["model"]
    assert (model["heads_layout"], model["position"], model["registers"], model["neutral"]) == (
        "official",
        "none",
        0,
        "separate",
    )
    assert (model["lora_rank"], model["lora_alpha"], model["image_size"]) == (8, 16.0, 224)
    assert config["preprocessing"]["mean"] == [0.485, 0.456, 0.406] and config["preprocessing"]["size"] == 224
    assert config["source"]["hyper_parameters"]["model_name"] == "timm/vit_small_patch16_dinov3.sat493m"
    assert "not a medical device" in (target / "README.md").read_text()
    with pytest.raises(UserError, match="called after a model of width 384"):
        import_weights(str(file), tmp_path / "again")


def test_the_hub(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub = Hub({"org/dinov3": files | {"README.md": b"hello", "pytorch_model.bin": b"not read"}})
    huggingface_hub.set_client_factory(hub.client)
    here = params_of(import_weights(str(folder), tmp_path / "here"))
    online = import_weights("org/dinov3", tmp_path / "online")
    assert_same(params_of(online), here)
    source = read_model_folder(online).config["source"]
    assert (source["from"], source["revision"]) == ("org/dinov3", COMMIT)
    assert source["sha256"] == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert f"commit `{COMMIT}`" in (online / "README.md").read_text()
    assert not any("README" in request or "pytorch" in request for request in hub.asked)
    hub.refuses = "network"
    again = import_weights("org/dinov3", tmp_path / "offline", offline=True)
    assert (again / "config.json").read_bytes() == (online / "config.json").read_bytes()


def test_the_authors_checkpoint_from_the_hub(shared, tmp_path, monkeypatch):
    """With what Lightning puts beside the weights."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    golden = shared / "golden" / "vitpain_official_tiny.ckpt"
    name = "vitpain-epoch=141-val_regression_mae=1.859.ckpt"
    content = torch.load(golden, weights_only=True)
    scores = {"best_model_score": torch.tensor(1.859), "dirpath": "saved", "best_k_models": {name: torch.ones(())}}
    schedule = {"T_max": 150, "eta_min": 1e-6, "base_lrs": [1e-5, 1e-4], "last_epoch": 142, "_last_lr": [1e-5, 1e-4]}
    content |= {
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 142}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val/regression_mae'}": scores},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}],
        "lr_schedulers": [schedule],
        "hparams_name": "kwargs",
    }
    torch.save(content, tmp_path / name)
    files = {"README.md": b"hello", ".gitattributes": b"", name: (tmp_path / name).read_bytes()}
    huggingface_hub.set_client_factory(Hub({"someone/ViTPain": files}).client)
    online = import_weights("someone/ViTPain", tmp_path / "online", heads=4)
    assert_same(params_of(online), params_of(import_weights(str(golden), tmp_path / "here", heads=4)))
    source = read_model_folder(online).config["source"]
    assert (source["from"], source["revision"], source["file"]) == ("someone/ViTPain", COMMIT, name)


# --- bad input ---


def test_a_target_that_is_taken_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="not empty"):
        import_weights("no/such-model", tmp_path / "taken")


@pytest.mark.parametrize("part", [0.0, 0.1, 0.9, 0.999])
def test_truncated_files(folder, tmp_path, part):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: int(part * len(data))])
    with pytest.raises(UserError, match="cannot be read as safetensors.*truncated"):
        import_weights(str(folder), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_another_architecture(folder, tmp_path):
    save_file({"layer4.0.conv1.weight": np.ones((8, 3, 3, 3), np.float32)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"dinov3-of-mine \(model.safetensors\) holds 1 tensors .*no architecture"):
        import_weights(str(folder), tmp_path / "ours")


def test_types_that_are_no_floats(folder, tmp_path):
    tensors = originals.hf_dinov3()
    tensors["norm.weight"] = np.ones(16, np.int8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match="norm.weight is of type I8, expected one of bfloat16, float16"):
        import_weights(str(folder), tmp_path / "ours")


def test_a_value_that_overflows_is_named(folder, tmp_path):
    tensors = originals.hf_dinov3()
    tensors["layer.0.norm1.weight"] = np.full(16, np.inf, np.float16)  # what 70,000 is there
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"layer\.0\.norm1\.weight has values that are not finite"):
        import_weights(str(folder), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_model_folder_is_not_imported_again(folder, tmp_path):
    target = import_weights(str(folder), tmp_path / "ours")
    with pytest.raises(UserError, match="is a model folder already"):
        import_weights(str(target), tmp_path / "again")
    (target / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights that can be read"):
        import_weights(str(target), tmp_path / "again")


def test_two_files_with_one_tensor(folder, tmp_path):
    for i in (1, 2):
        (folder / f"model-0000{i}-of-00002.safetensors").write_bytes(save({"x": np.ones(1, np.float32)}))
    weights = {"x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(UserError, match="holds x, which another file of this model holds too"):
        import_weights(str(folder), tmp_path / "ours", file="model.safetensors.index.json")
