"""PyTorch's files: tensors come back bit for bit, and nothing else is let in."""

import sys
import warnings
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from painjax.errors import UserError
from painjax.weights.torch_file import read_torch, write_torch


class Payload:
    """What an attacker would put into a checkpoint: opening it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_what_is_written_torch_and_we_read(tmp_path):
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.float32(3)}
    write_torch(tmp_path / "deep" / "x.ckpt", tensors, {"hyper_parameters": {"lora_rank": 8}, "epoch": 3})
    loaded = torch.load(tmp_path / "deep" / "x.ckpt", weights_only=True)
    assert loaded["hyper_parameters"] == {"lora_rank": 8} and loaded["epoch"] == 3
    np.testing.assert_array_equal(loaded["state_dict"]["a.weight"].numpy(), tensors["a.weight"])
    back, metadata = read_torch(tmp_path / "deep" / "x.ckpt")
    assert metadata == {"hyper_parameters": {"lora_rank": 8}, "epoch": 3}
    for name, value in tensors.items():
        np.testing.assert_array_equal(back[name], value)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.ckpt"]


def test_state_dicts_of_every_kind(tmp_path):
    state = {"w": torch.arange(3.0), "h": torch.ones(2).half(), "b": torch.tensor([1.5, -2.0]).bfloat16()}
    training = {"optimizer_states": [{"exp_avg": torch.ones(2)}], "callbacks": {}, "lr_schedulers": [], "loops": {}}
    for content, rest in (
        (state, {}),
        ({"state_dict": state, "epoch": 1} | training, {"epoch": 1}),
        ({"model": torch.nn.ParameterDict(state).state_dict(), "args": "x"}, {"args": "x"}),
    ):
        torch.save(content, tmp_path / "x.pt")
        tensors, metadata = read_torch(tmp_path / "x.pt")
        assert metadata == rest
        assert {name: value.dtype.name for name, value in tensors.items()} == {
            "w": "float32",
            "h": "float16",
            "b": "bfloat16",
        }
        np.testing.assert_array_equal(tensors["b"], np.array([1.5, -2.0], ml_dtypes.bfloat16))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1)}, "extra": Payload(tmp_path / "owned")}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil.ckpt is refused.*\(it holds _?io.open\).*safetensors") as refused:
        read_torch(tmp_path / "evil.ckpt")
    assert "add_safe_globals" not in str(refused.value)  # torch's advice how to let it in
    torch.save({"extra": Payload(tmp_path / "owned")}, tmp_path / "new.ckpt", pickle_protocol=4)
    with warnings.catch_warnings(), pytest.raises(UserError, match="new.ckpt is refused"):
        warnings.simplefilter("error")
        read_torch(tmp_path / "new.ckpt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_pickle_is_refused_or_read(tmp_path, seed):
    """Whatever torch raises for it: assertions, missing arguments, an empty stack."""
    torch.save({"w": torch.ones(4), "v": torch.ones(2, 3)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = bytearray((tmp_path / "x.pt").read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(len(data), size=3):
        data[place] = rng.integers(256)
    (tmp_path / "x.pt").write_bytes(data)
    try:
        assert set(read_torch(tmp_path / "x.pt")[0])
    except UserError as error:
        assert "x.pt" in str(error)


@pytest.mark.parametrize("part", [0, 10, 0.5, 0.99])
def test_truncated(tmp_path, part):
    torch.save({"w": torch.randn(1000)}, tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: part if part > 1 else int(part * len(data))])
    with pytest.raises(UserError, match=r"cut\.pt (cannot be read|is refused)"):
        read_torch(tmp_path / "cut.pt")


def test_another_format(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("hello.txt", "hello")
    with pytest.raises(UserError, match="cannot be read"):
        read_torch(tmp_path / "x.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds a list; expected named tensors"):
        read_torch(tmp_path / "list.pt")
    torch.save({"w": torch.ones(1), "epoch": 3}, tmp_path / "mixed.pt")
    with pytest.raises(UserError, match="entries that are no tensors: epoch"):
        read_torch(tmp_path / "mixed.pt")
    torch.save({"w": torch.ones(1).to(torch.float8_e4m3fn)}, tmp_path / "eight.pt")
    with pytest.raises(UserError, match="float8_e4m3fn cannot be read"):
        read_torch(tmp_path / "eight.pt")


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'painjax\[torch\]'"):
        read_torch(tmp_path / "x.pt")
