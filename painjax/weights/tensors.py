"""Tensors of a file that are read when asked for, so that a model of gigabytes is never in memory twice."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  (teaches NumPy, and so safetensors, the name bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from painjax.errors import UserError

_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOATS = frozenset(_TYPES.values())


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor: `dtype` is NumPy's name, or the file's for types that we do not read."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


class Tensors(Mapping[str, np.ndarray]):
    """Named tensors; `entries` tells shapes and types without reading them."""

    def __init__(self, entries: Mapping[str, Entry]):
        self.entries = dict(entries)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Tensors":
        """Arrays in memory."""
        return cls({name: Entry(a.shape, str(a.dtype), lambda a=a: a) for name, a in arrays.items()})

    def renamed(self, names: Mapping[str, str]) -> "Tensors":
        """The same tensors, those in `names` under their new names."""
        return Tensors({names.get(name, name): entry for name, entry in self.entries.items()})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entries[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def read_safetensors(paths: list[Path]) -> Tensors:
    """The tensors of one file, or of the shards of one model together.

    Raises:
      UserError: if a file is truncated or no safetensors file, or two files hold the same tensor.
    """
    entries: dict[str, Entry] = {}
    for path in paths:
        try:
            file = safe_open(path, framework="np")
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path} cannot be read as safetensors ({error}). It is truncated or of another format; download it "
                "again."
            ) from error
        for name in file.keys():
            if name in entries:
                raise UserError(f"{path} holds {name}, which another file of this model holds too.")
            tensor = file.get_slice(name)
            dtype = tensor.get_dtype()
            entries[name] = Entry(
                tuple(tensor.get_shape()),
                _TYPES.get(dtype, dtype),
                lambda file=file, name=name: file.get_tensor(name),
            )
    return Tensors(entries)
