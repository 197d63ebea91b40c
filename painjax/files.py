"""Writing files so that a reader never sees half of one."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes `content` under a temporary name beside `path` and moves it there; text is UTF-8."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with named_errors(path):
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)


@contextlib.contextmanager
def named_errors(path: str | os.PathLike) -> Iterator[None]:
    """Context: an OSError names `path` where the system does not, as of a disk that is full at a write."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def give_usual_rights(path: str | os.PathLike) -> None:
    """Gives a file the rights that a new file has in its folder: some libraries write what only its owner may read."""
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    new.touch()
    with contextlib.suppress(OSError):  # of file systems without rights, which all may read anyway
        shutil.copymode(new, path)
    new.unlink()


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON; NaN becomes null, which JSON has and NaN it has not."""
    write_atomically(path, json.dumps(jsonable(value), indent=1, allow_nan=False) + "\n")


def jsonable(value: Any) -> Any:
    """`value` with every undefined number (NaN, infinity) replaced by None, for strict JSON."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
