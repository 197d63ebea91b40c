"""Pickles of arrays, read without chumpy, without SciPy, and without running what the file asks to run.

FLAME's official files are Python 2 pickles of NumPy arrays, chumpy objects and SciPy matrices. Unpickling imports and
calls whatever a file names, so a stranger's file may do anything. Here every name in a file is looked up in a short
table of inert recorders: none of them imports, calls or evaluates, and a name that is not in the table ends the
reading. NumPy's own unpickling is not trusted either, since it believes what the file says of memory.
"""

import pickle  # noqa: TID251
import re
from pathlib import Path

import numpy as np


class Refused(ValueError):
    """The file names something that is no array; the message says what."""


def load(path: Path):
    """What a pickle holds: arrays, and the dictionaries, lists, texts and numbers around them.

    Chumpy objects become their value, sparse matrices dense ones.

    Raises:
      Refused: if the file names any other class or function. Nothing of it has then been called.
      ValueError: if the file is no pickle, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file, encoding="latin1").load())
    except Refused:
        raise
    except (
        pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError,
        RecursionError, MemoryError,
    ) as error:  # fmt: skip  # all that a damaged pickle has been seen to raise
        raise ValueError(f"no pickle of arrays: {error}") from error


class _Record:
    """An object of the file: the arguments that it was made with, and its state. It does nothing."""

    def __init__(self, *arguments):
        self.arguments, self.state = arguments, None

    def __setstate__(self, state):
        self.state = state


class _Array(_Record):
    """numpy.ndarray, made by `_reconstruct` and filled by its state (version, shape, dtype, Fortran order, bytes)."""


class _Buffer(_Record):
    """numpy's array of pickle protocol 5: (bytes, dtype, shape, order)."""


class _Dtype(_Record):
    """numpy.dtype: ('f8', ..) and a state whose second entry is the byte order."""


class _Scalar(_Record):
    """numpy's scalar: (dtype, bytes)."""


class _Text(_Record):
    """`_codecs.encode`, which stands for bytes in a pickle of protocol 2 by Python 3."""


class _Chumpy(_Record):
    """chumpy.ch.Ch: its state's 'x' is the array."""


class _Matrix(_Record):
    """A compressed SciPy matrix; its state has data, indices, indptr and the shape."""


class _Columns(_Matrix):
    """Compressed by columns."""


class _Set(_Record):
    """A Python set, of which chumpy's state has some."""


def _reconstructor(kind, *_):
    """copyreg's way to make an object without arguments."""
    if not (isinstance(kind, type) and issubclass(kind, _Record)):
        raise Refused(f"an object of {kind!r}")
    return kind()


class _Type(_Record):
    """A class that is only named as another's base."""


_NAMES = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Type,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Text,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    **{(f"scipy.sparse.{file}", f"csc_{kind}"): _Columns for file in ("csc", "_csc") for kind in ("matrix", "array")},
    **{(f"scipy.sparse.{file}", f"csr_{kind}"): _Matrix for file in ("csr", "_csr") for kind in ("matrix", "array")},
    **{(builtins, "set"): _Set for builtins in ("__builtin__", "builtins")},
    **{(builtins, "object"): _Type for builtins in ("__builtin__", "builtins")},
    **{(copyreg, "_reconstructor"): _reconstructor for copyreg in ("copy_reg", "copyreg")},
}


class _Unpickler(pickle.Unpickler):
    """Finds nothing but the recorders in `_NAMES`."""

    def find_class(self, module, name):
        if (module, name) not in _NAMES:
            raise Refused(f"{module}.{name}")
        return _NAMES[module, name]


def _plain(value):
    """Records -> arrays and Python's own containers."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items() if isinstance(key, (str, bytes, int))}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _Array(state=(*_, shape, dtype, fortran, data)):
            return _numbers(data, dtype, shape, "F" if fortran else "C")
        case _Buffer(arguments=(data, dtype, shape, order)):
            return _numbers(data, dtype, shape, order)
        case _Scalar(arguments=(dtype, data)):
            return _numbers(data, dtype, (), "C")
        case _Chumpy(state={"x": array}):
            return _plain(array)
        case _Matrix(state=dict(state)):
            return _dense(_plain(state), isinstance(value, _Columns))
        case _Set():
            return None
        case _Record():
            raise Refused(f"a {type(value).__name__[1:].lower()} without numbers")
    return value


def _numbers(data, dtype, shape, order) -> np.ndarray:
    """Bytes of a file -> array."""
    code = dtype.arguments[0] if isinstance(dtype, _Dtype) and dtype.arguments else None
    if not (isinstance(code, str) and re.fullmatch(r"[biuf][1248]", code)):
        raise Refused(f"an array of {code or 'things without a type'}")
    if isinstance(data, _Text):
        data = data.arguments[0]
    if isinstance(data, str):
        data = data.encode("latin1")
    state = dtype.state if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else ("", "|")
    order_of_bytes = state[1] if state[1] in ("<", ">") else "="
    return np.frombuffer(data, np.dtype(code).newbyteorder(order_of_bytes)).reshape(shape, order=order)


def _dense(state: dict, by_columns: bool) -> np.ndarray:
    """(rows, columns) of a compressed matrix, duplicates added up."""
    rows, columns = (int(size) for size in state.get("_shape", state.get("shape")))
    count = np.diff(state["indptr"])
    major = np.repeat(np.arange(len(count)), count)
    minor = state["indices"][: len(major)]
    dense = np.zeros((rows, columns))
    np.add.at(dense, (minor, major) if by_columns else (major, minor), state["data"][: len(major)])
    return dense
