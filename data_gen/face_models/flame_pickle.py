"""Pickles of arrays, read without chumpy, without SciPy, and without running what the file asks to run.

FLAME's official files are Python 2 pickles of NumPy arrays, chumpy objects and SciPy matrices. Unpickling imports and
calls whatever a file names, so a stranger's file may do anything. Here `pickle_reader` only writes down what the file
asks for, and what it may ask for is a short table. NumPy's own unpickling is not trusted either, since it believes
what the file says of memory.
"""

import re
from pathlib import Path

import numpy as np

from data_gen.face_models import pickle_reader
from data_gen.face_models.pickle_reader import Name, Record, Refused

ARRAYS = 1 << 30  # bytes of all arrays of a file; FLAME's are a tenth of that
_NAMES = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "array" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "buffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "text",  # stands for bytes in a pickle of protocol 2 by Python 3
    ("chumpy.ch", "Ch"): "chumpy",
    ("chumpy", "Ch"): "chumpy",
    **{(f"scipy.sparse.{file}", f"csc_{kind}"): "columns" for file in ("csc", "_csc") for kind in ("matrix", "array")},
    **{(f"scipy.sparse.{file}", f"csr_{kind}"): "rows" for file in ("csr", "_csr") for kind in ("matrix", "array")},
    **{(builtins, "set"): "set" for builtins in ("__builtin__", "builtins")},  # chumpy's state has some
    **{(builtins, "object"): "type" for builtins in ("__builtin__", "builtins")},
    **{(copyreg, "_reconstructor"): "object" for copyreg in ("copy_reg", "copyreg")},  # makes its first argument
}


def load(path: Path):
    """What a pickle holds: arrays, and the dictionaries, lists, texts and numbers around them.

    Chumpy objects become their value, sparse matrices dense ones, sets None.

    Raises:
      Refused: if the file names any other class or function. Nothing of it has then been called.
      ValueError: if the file is no pickle, a damaged one, or one that would fill the memory.
    """
    data = path.read_bytes()
    try:
        return _Arrays().plain(pickle_reader.read(data, _NAMES))
    except Refused:
        raise
    except (
        LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError, MemoryError,
    ) as error:  # fmt: skip  # all that a damaged pickle has been seen to raise
        raise ValueError(f"no pickle of arrays: {error}") from error


def _kind(value) -> str | None:
    """What a record stands for."""
    if not isinstance(value, Record):
        return None
    kind = _NAMES[value.maker.module, value.maker.name]
    if kind != "object":
        return kind
    made = value.arguments[0] if value.arguments else None
    if not isinstance(made, Name):
        raise Refused(f"an object of {type(made).__name__}")
    return _NAMES[made.module, made.name]


class _Arrays:
    """Records -> arrays and Python's own containers, each converted once however often the file refers to it."""

    def __init__(self):
        self._known, self._bytes = {}, 0

    def plain(self, value):
        if not isinstance(value, (dict, list, tuple, Record)):
            return None if isinstance(value, Name) else value
        if id(value) not in self._known:
            self._known[id(value)] = self._convert(value)
        return self._known[id(value)]

    def _convert(self, value):
        match _kind(value), value:
            case _, dict():
                return {key: self.plain(item) for key, item in value.items()}
            case _, list() | tuple():
                return [self.plain(item) for item in value]
            case "array", Record(state=(*_, shape, dtype, fortran, data)):
                return self._numbers(data, dtype, shape, "F" if fortran else "C")
            case "buffer", Record(arguments=(data, dtype, shape, order)):
                return self._numbers(data, dtype, shape, order)
            case "scalar", Record(arguments=(dtype, data)):
                return self._numbers(data, dtype, (), "C")
            case "chumpy", Record(state={"x": array}):
                return self.plain(array)
            case "columns" | "rows" as kind, Record(state=dict(state)):
                return self._dense(self.plain(state), kind == "columns")
            case "set", _:
                return None
            case kind, _:
                raise Refused(f"a {kind} without numbers")

    def _count(self, size: int) -> None:
        """Many arrays may share the same bytes of the file, and a sparse matrix claims any size."""
        self._bytes += size
        if self._bytes > ARRAYS:
            raise ValueError(f"arrays of more than {ARRAYS:,} bytes")

    def _numbers(self, data, dtype, shape, order) -> np.ndarray:
        """Bytes of a file -> array."""
        code = dtype.arguments[0] if _kind(dtype) == "dtype" and dtype.arguments else None
        if not (isinstance(code, str) and re.fullmatch(r"[biuf][1248]", code)):
            raise Refused(f"an array of {code or 'things without a type'}")
        if _kind(data) == "text":
            data = data.arguments[0]
        self._count(len(data))
        if isinstance(data, str):
            data = data.encode("latin1")
        state = dtype.state if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else ("", "|")
        order_of_bytes = state[1] if state[1] in ("<", ">") else "="
        return np.frombuffer(data, np.dtype(code).newbyteorder(order_of_bytes)).reshape(shape, order=order)

    def _dense(self, state: dict, by_columns: bool) -> np.ndarray:
        """(rows, columns) of a compressed matrix, duplicates added up."""
        rows, columns = (int(size) for size in state.get("_shape", state.get("shape")))
        count = np.diff(state["indptr"])
        if len(count) and not 0 <= count.min() <= count.max() <= len(state["indices"]):
            raise ValueError("a sparse matrix with counts that its indices do not have")
        self._count(8 * (rows * columns + int(count.sum())))
        major = np.repeat(np.arange(len(count)), count)
        minor = state["indices"][: len(major)]
        dense = np.zeros((rows, columns))
        np.add.at(dense, (minor, major) if by_columns else (major, minor), state["data"][: len(major)])
        return dense
