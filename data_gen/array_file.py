"""`.npz` files: read with one error for all kinds of damage, written whole or not at all."""

import contextlib
import lzma
import os
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

# What zipfile, its decompressors and numpy's parser of headers have been seen to raise on damaged files.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, SyntaxError, RuntimeError,
    EOFError, OSError, MemoryError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
)  # fmt: skip


class Damaged(ValueError):
    """The file is no `.npz` file of plain arrays, or not all of one."""


def read(path: Path, names: Container[str] | None = None) -> dict[str, np.ndarray | None]:
    """All that is stored; None for what is not in `names`, where those are given.

    Raises:
      Damaged: if the file is cut short or corrupt, or holds objects instead of numbers and texts.
      OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:  # opened here, for np.load leaves a file open that it cannot read
        try:
            with np.load(file, allow_pickle=False) as stored:
                return {key: stored[key] if names is None or key in names else None for key in stored.files}
        except _DAMAGE as error:
            raise Damaged(f"{type(error).__name__}: {error}") from error


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Makes or replaces a file; one that is interrupted leaves nothing, and nobody ever sees half a file."""
    with _whole(path) as file:
        np.savez(file, **arrays)


def copy(path: Path, content: bytes) -> None:
    """Makes or replaces a file by the bytes of another one, as `write` does; one that is the same is left alone."""
    if not (path.exists() and path.read_bytes() == content):
        with _whole(path) as file:
            file.write(content)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Context: an OSError names `path` where the system does not, as of a disk that is full at a write."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name.partition('-')[0]}-"
    with (
        named_errors(path),
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=".npz", delete=False) as partial,
    ):
        try:
            yield partial
            partial.close()
            os.chmod(partial.name, 0o644)  # temporary files are private; a cache folder may be shared
            os.replace(partial.name, path)
        except BaseException:
            os.unlink(partial.name)
            raise
