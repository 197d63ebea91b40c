"""An array_record file whose records are in the order that TFDS gives them: that of a hash of their keys."""

import hashlib
import os
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

_OPTIONS = "group_size:1"  # as TFDS writes them: each record is read without its neighbours
_AT_ONCE = 64  # records in memory


class ShuffledFile:
    """Takes records in any order, and then writes them sorted.

    TFDS's own shuffler needs TensorFlow for more than a gigabyte. This one keeps them in a draft beside the file.

    Attributes:
      examples: how many there are.
      example_bytes: size of all records, which is what TFDS calls the size of a split.
    """

    def __init__(self, path: Path, split: str):
        self.path, self.examples, self.example_bytes = path, 0, 0
        self._split, self._hashes = split, []
        self._draft = path.with_name(f"{path.name}.draft")
        self._writer = ArrayRecordWriter(os.fspath(self._draft), _OPTIONS)

    def add(self, key: str, record: bytes) -> None:
        self._writer.write(record)
        self._hashes.append(hashlib.md5(f"{self._split}{key}".encode()).digest())
        self.examples += 1
        self.example_bytes += len(record)

    def finish(self) -> None:
        """Writes the file, and removes the draft."""
        self._writer.close()
        order = sorted(range(self.examples), key=self._hashes.__getitem__)
        draft, writer = ArrayRecordReader(os.fspath(self._draft)), ArrayRecordWriter(os.fspath(self.path), _OPTIONS)
        for start in range(0, self.examples, _AT_ONCE):
            for record in draft.read(order[start : start + _AT_ONCE]):
                writer.write(record)
        writer.close()
        draft.close()
        self._draft.unlink()
