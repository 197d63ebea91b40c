"""Records of a data set that is built in a bucket."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath


class BucketWriter(tfds.core.ExampleWriter):
    """Writes a file on this machine's disk and copies it: array_record's own writer knows folders only."""

    def write(self, path: epath.PathLike, examples: Iterable[tuple[int | bytes, bytes]]):
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "records"
            positions = super().write(draft, examples)
            with draft.open("rb") as records, epath.Path(path).open("wb") as copy:
                shutil.copyfileobj(records, copy)
        return positions
