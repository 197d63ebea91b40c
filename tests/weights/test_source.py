"""Finding weights: files, folders, repositories, and which of their files."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from painjax.errors import UserError
from painjax.weights import source
from painjax.weights.source import choose, find


@pytest.fixture
def folder(tmp_path):
    save_file({"x": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "preprocessor_config.json").write_text('{"size": 8}')
    return tmp_path


@pytest.mark.parametrize("end", ["", "model.safetensors"])
def test_what_stands_beside_a_file_or_in_a_folder(folder, end):
    found = find(str(folder / end))
    assert found.weights == (folder / "model.safetensors",)
    assert (found.config, found.preprocessor, found.revision) == ({"a": 1}, {"size": 8}, "")


def test_what_stands_beside_a_file_in_a_folder_of_a_folder(folder, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    folder.rename(outer / "sub")
    found = find(str(outer))
    assert found.weights == (outer / "sub" / "model.safetensors",) and found.config == {"a": 1}


@pytest.mark.parametrize("shards", [["a"], {"x": 3}, {"x": "../other.safetensors"}, None])
def test_an_index_names_files_beside_it(folder, shards):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match="weight_map must name files beside it"):
        find(str(folder))


def test_shards(folder):
    (folder / "model.safetensors").unlink()
    for i in (1, 2):
        save_file({f"x{i}": np.ones(2, np.float32)}, folder / f"model-0000{i}-of-00002.safetensors")
    index = {"weight_map": {f"x{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = find(str(folder))
    assert found.file.name == "model.safetensors.index.json"
    assert [path.name for path in found.weights] == sorted(index["weight_map"].values())
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="names the files model-00002-of-00002.safetensors, which are not there"):
        find(str(folder))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["README.md", "model.safetensors", "pytorch_model.bin", "other.safetensors"], "model.safetensors"),
        (["vitpain-epoch=141-val_regression_mae=1.859.ckpt"], "vitpain-epoch=141-val_regression_mae=1.859.ckpt"),
        (["a.safetensors", "b.ckpt", "c.pt"], "a.safetensors"),
        (["onnx/model.safetensors", "weights.safetensors"], "weights.safetensors"),
        (["checkpoints/last.ckpt", "README.md"], "checkpoints/last.ckpt"),
    ],
)
def test_the_file_that_is_meant(names, chosen):
    assert choose(names, None, "the folder") == chosen


def test_a_file_by_name():
    assert choose(["a.safetensors", "sub/b.ckpt"], "sub/b.ckpt", "the folder") == "sub/b.ckpt"
    with pytest.raises(UserError, match="the folder has no file 'c.pt'. It has: a.safetensors"):
        choose(["a.safetensors"], "c.pt", "the folder")
    with pytest.raises(UserError, match="model.pkl is refused: only .safetensors.*pickles"):
        choose(["model.pkl"], "model.pkl", "the folder")


def test_several_files_and_none():
    with pytest.raises(UserError, match=r"several files of weights: a.ckpt, b.ckpt. Choose one with --file=NAME"):
        choose(["b.ckpt", "a.ckpt"], None, "the folder")
    many = [f"{number:03}.ckpt" for number in range(200)]
    with pytest.raises(UserError, match=r"008.ckpt, 009.ckpt and 190 more. Choose one"):
        choose(many, None, "the folder")
    with pytest.raises(
        UserError, match=r"the folder has no weights that can be read.*It has: flax_model.msgpack, x.h5"
    ):
        choose(["x.h5", "flax_model.msgpack"], None, "the folder")
    with pytest.raises(UserError, match="It has: nothing"):
        choose([], None, "the folder")


def test_local_mistakes(folder, tmp_path):
    with pytest.raises(UserError, match="--revision=v1 is for repositories"):
        find(str(folder), revision="v1")
    with pytest.raises(UserError, match="--file=x is for folders"):
        find(str(folder / "model.safetensors"), file="x")
    with pytest.raises(UserError, match="config.json is refused"):
        find(str(folder / "config.json"))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        find(str(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match="holds a list"):
        find(str(folder))


@pytest.mark.parametrize("name", ["no/such/folder", "./model.safetensors", "org/model.safetensors", "nothing"])
def test_neither_here_nor_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no file or folder"):
        find(name)


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("facebook/dinov2-small", "facebook/dinov2-small"),
        ("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k", "timm/vit_tiny_patch16_224.augreg_in21k"),
        ("https://huggingface.co/facebook/dinov2-small/", "facebook/dinov2-small"),
        ("vit_small_patch16_dinov3.lvd1689m", "timm/vit_small_patch16_dinov3.lvd1689m"),
        ("dinov2_s", "facebook/dinov2-small"),
    ],
)
def test_ids_of_repositories(name, repository, monkeypatch):
    opened = []

    def stop(*arguments):
        opened.append(arguments)
        raise UserError("stopped")

    monkeypatch.setattr(source.hub.Snapshot, "open", stop)
    with pytest.raises(UserError, match="stopped"):
        find(name, revision="v1", offline=True)
    assert opened == [(repository, "v1", True)]
