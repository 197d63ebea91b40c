"""Finished identities on disk, so that a build that was killed does not render them again.

A build writes its records only when all examples are there; until then every finished identity lies in a file of its
own. The folder's name says what shaped the examples, and a build with other settings or of another version looks
elsewhere. The files hold plain arrays, and reading them executes nothing.
"""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_gen import array_file

_NAME = "unfinished_"
_SEPARATOR = "/"
_KEYS = "key"  # the column of the examples' names; no field of an example is called so

Frames = list[tuple[str, dict[str, Any]]]


def folder(parent: Path, settings: Mapping[str, Any]) -> Path:
    """Where the identities of a build with these settings (fit for JSON) are kept, below `parent`.

    The generator's own code counts as a setting: a build that is gone on with is by one generator from end to end.
    """
    key = json.dumps([settings, code()], sort_keys=True)
    return parent / f"{_NAME}{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def code() -> str:
    """A hash of the generator's own code."""
    key = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        key.update(source.read_bytes())
    return key.hexdigest()[:16]


def kept_bytes(parent: Path) -> int:
    """How much disk space all folders of finished identities below `parent` take."""
    return sum(path.stat().st_size for path in parent.glob(f"{_NAME}*/*"))


def kept_bytes_of(where: Path, identities: Iterable[int]) -> int:
    """How much of it some identities in one of the folders take."""
    return sum(path.stat().st_size for path in (_path(where, i) for i in identities) if path.exists())


def remove(where: Path, identities: Iterable[int]) -> None:
    """Removes some identities from one of the folders, and the folder if nothing else is in it."""
    for identity in identities:
        _path(where, identity).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not there, or somebody else's identities are
        where.rmdir()


def remove_all(parent: Path) -> None:
    """Removes every folder of finished identities below `parent`, those of earlier settings too."""
    for path in parent.glob(f"{_NAME}*"):
        shutil.rmtree(path, ignore_errors=True)


def save(where: Path, identity: int, frames: Frames) -> None:
    """Keeps the examples of one identity: [(key, example)], an example being a nested dict of arrays, numbers, text and
    bytes, the same fields in each."""
    rows = [{_KEYS: key} | _flat(example) for key, example in frames]
    columns = {name: value for field in rows[0] for name, value in _column(field, rows).items()}
    array_file.write(_path(where, identity), columns)


def load(where: Path, identity: int) -> Frames | None:
    """The examples of an identity as `save` was given them, numbers as NumPy scalars; None if there are none.

    A damaged file (full disk, power loss) counts as none, and a warning says so.
    """
    path = _path(where, identity)
    try:
        return _frames(array_file.read(path))
    except FileNotFoundError:
        return None
    except (array_file.Damaged, KeyError, ValueError) as error:  # the last two: whole, but not as `save` writes it
        logging.warning("%s is damaged (%s) and is made again.", path, error)
        return None


def _path(where: Path, identity: int) -> Path:
    return where / f"{identity:08d}.npz"


def _flat(example: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in example.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}{_SEPARATOR}") if nested else {prefix + name: value}
    return flat


def _column(field: str, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    values = [row[field] for row in rows]
    if isinstance(values[0], bytes):  # an array of bytes would lose zeros at their ends
        ends = np.cumsum([len(value) for value in values])
        return {f"{field}.bytes": np.frombuffer(b"".join(values), np.uint8), f"{field}.ends": ends}
    return {field: np.array(values)}


def _frames(columns: dict[str, np.ndarray]) -> Frames:
    rows: list[dict[str, Any]] = [{} for _ in columns[_KEYS]]
    for name, column in columns.items():
        field, _, part = name.partition(".")
        if part == "ends":
            continue
        if part == "bytes":
            starts = np.concatenate([[0], columns[f"{field}.ends"]])
            blob = column.tobytes()
            if starts[-1] != len(blob):
                raise ValueError(f"{field} has {len(blob)} bytes; expected {starts[-1]}")
            column = [blob[start:end] for start, end in zip(starts[:-1], starts[1:], strict=True)]
        for row, value in zip(rows, column, strict=True):
            _nest(row, field.split(_SEPARATOR), str(value) if isinstance(value, np.str_) else value)
    return [(row.pop(_KEYS), row) for row in rows]


def _nest(example: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        example = example.setdefault(name, {})
    example[path[-1]] = value
