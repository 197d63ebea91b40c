"""PyTorch's files, read without executing what is in them. The one place of the library that needs torch for it."""

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from painjax.errors import UserError

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
_TRAINING = ("optimizer_states", "lr_schedulers", "callbacks", "loops")


def read_torch(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint with `torch.load(weights_only=True)`, which builds tensors and plain values only.

    Args:
      path: a state dict, or a dict that has one under 'state_dict' (Lightning) or 'model'.

    Returns:
      The tensors by name, bfloat16 as `ml_dtypes.bfloat16`, and what stands beside them, without the state of training.

    Raises:
      UserError: if torch is not installed, or the file is truncated, of another kind, or holds code to execute.
    """
    path, torch = Path(path), _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other kinds, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except torch.serialization.pickle.UnpicklingError as error:
        # Not torch's own words, which tell how to let it in.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = f"it holds {found.group(1)}" if found else "not written by torch"
        raise UserError(
            f"{path} is refused: it is no file of plain tensors ({why}). Opening it otherwise could run whatever its "
            "maker put in; ask for a safetensors file."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can make torch raise anything
        raise UserError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else 'it ends too early'}). It is "
            "truncated or no PyTorch file; download it again."
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}; expected named tensors.")
    key = next((key for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)), None)
    state = content if key is None else content[key]
    others = sorted(str(name) for name, value in state.items() if not isinstance(value, torch.Tensor))
    if others:
        raise UserError(f"{path} has entries that are no tensors: {', '.join(others[:10])}. Expected a state dict.")
    metadata = {} if key is None else {k: v for k, v in content.items() if k != key and k not in _TRAINING}
    return {name: _numpy(torch, value) for name, value in state.items()}, metadata


def write_torch(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Writes {'state_dict': tensors, **metadata} as PyTorch and Lightning read it; readers see all of it or nothing."""
    path, torch = Path(path), _torch()
    state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save({"state_dict": state, **metadata}, partial)
    partial.replace(path)


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "PyTorch's files (.ckpt, .pt, .pth, .bin) need torch to read and write: pip install 'painjax[torch]'. "
            "A safetensors file needs nothing."
        ) from error
    return torch


def _numpy(torch: ModuleType, value: Any) -> np.ndarray:
    value = value.detach()
    if value.dtype == torch.bfloat16:
        import ml_dtypes

        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    try:
        return value.numpy()
    except (TypeError, RuntimeError) as error:  # 8-bit floats, sparse and quantised tensors
        raise UserError(
            f"A tensor of type {value.dtype} cannot be read; expected float32, float16 or bfloat16."
        ) from error
