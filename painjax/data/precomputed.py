"""What a teacher has said of every example of a split, on disk: `painjax precompute` writes it, training reads it.

    outputs.json                         what it is (`Manifest`); written last
    outputs-00003-of-00016.array_record  a part of the examples, in the order of the split

An example is one record, or two: of its heatmap, and of this mirrored. A record is the patch tokens, [P, D] in the
manifest's dtype, and behind them float32 numbers: PSPI, action units, logits of the thresholds.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from painjax.errors import UserError
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

FORMAT = 1
MANIFEST = "outputs.json"
DTYPES = ("bfloat16", "float32")
_NUMBERS = 1 + len(AU_NAMES) + len(PSPI_THRESHOLDS)
_MEND = "Remove the folder, and run `painjax precompute` again."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `outputs.json` holds.

    teacher, teacher_step, teacher_sha256: the folder, step and hash of the weights (`checkpoint.weights_sha256`).
    data_set: its name, version and fingerprint. split, count: of its examples. image_size: of the heatmaps that the
    teacher saw. patches, width: P and D of the tokens. flip: whether the mirrored heatmaps are there.
    """

    teacher: str
    teacher_step: int
    teacher_sha256: str
    data_set: dict[str, str]
    split: str
    count: int
    image_size: int
    patches: int
    width: int
    dtype: str
    flip: bool
    examples_per_shard: int
    format: int = FORMAT

    @property
    def versions(self) -> int:
        """Records of an example."""
        return 2 if self.flip else 1

    @property
    def record_bytes(self) -> int:
        return self.patches * self.width * jnp.dtype(self.dtype).itemsize + _NUMBERS * 4

    @property
    def example_bytes(self) -> int:
        return self.versions * self.record_bytes

    @property
    def shards(self) -> list[range]:
        """The examples of each file."""
        size = self.examples_per_shard
        return [range(start, min(start + size, self.count)) for start in range(0, self.count, size)]

    def shard_path(self, folder: str | os.PathLike, shard: int) -> Path:
        return Path(folder) / f"outputs-{shard:05d}-of-{len(self.shards):05d}.array_record"

    def pack(self, patch_tokens: np.ndarray, pspi: np.floating, aus: np.ndarray, threshold_logits: np.ndarray) -> bytes:
        """A record, of what a teacher says of one example."""
        numbers = np.array([pspi, *aus, *threshold_logits])
        return np.asarray(patch_tokens, jnp.dtype(self.dtype)).tobytes() + np.asarray(numbers, np.float32).tobytes()

    def unpack(self, record: bytes) -> dict[str, Any]:
        """The fields that a batch carries: `teacher_patch_tokens` [P, D] and so on."""
        if len(record) != self.record_bytes:
            raise UserError(f"A teacher's output has {len(record)} bytes; expected {self.record_bytes}. {_MEND}")
        tokens = self.patches * self.width
        numbers = np.frombuffer(record, np.float32, offset=len(record) - _NUMBERS * 4)
        pspi, aus, threshold_logits = np.split(numbers, (1, 1 + len(AU_NAMES)))
        return {
            "teacher_patch_tokens": np.frombuffer(record, jnp.dtype(self.dtype), tokens).reshape(-1, self.width),
            "teacher_pspi": pspi[0],
            "teacher_aus": aus,
            "teacher_threshold_logits": threshold_logits,
        }


class PrecomputedOutputs:
    """The outputs in a folder, at random access, by example and by whether it is mirrored.

    Raises:
      UserError: if there are none, they are not all there, or of another format.
    """

    def __init__(self, folder: str | os.PathLike):
        self.manifest = read_manifest(folder)
        paths = [self.manifest.shard_path(folder, shard) for shard in range(len(self.manifest.shards))]
        lost = [path for path in paths if not path.is_file()]
        if lost:
            raise UserError(f"{folder} is incomplete: {lost[0].name} is missing, of {len(paths)} files. {_MEND}")
        # With the number of its records in its name no file is opened before it is read.
        versions = self.manifest.versions
        counted = zip(paths, self.manifest.shards, strict=True)
        self._records = ArrayRecordDataSource([f"{path}[0:{versions * len(shard)}]" for path, shard in counted])

    def read(self, index: int, flip: bool) -> dict[str, Any]:
        """Of example `index` of the split; `flip`: of its mirrored heatmap."""
        versions = self.manifest.versions
        if flip and versions == 1:
            raise UserError("A mirrored example is asked of outputs that have none; see `check_outputs`.")
        return self.manifest.unpack(self._records[versions * index + int(flip)])


def read_manifest(folder: str | os.PathLike) -> Manifest:
    """What the outputs in `folder` are.

    Raises:
      UserError: if there are none, they are not finished, or of another format.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{folder} holds no finished outputs of a teacher: it has no {MANIFEST}. Make them with "
            f"`painjax precompute --workdir=TEACHER --to={folder}`; the same command goes on where it was stopped."
        )
    try:
        return as_manifest(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}. {_MEND}") from error


def as_manifest(value: Any) -> Manifest:
    """Raises UserError for another format, ValueError or TypeError for what is none."""
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    if value.get("format") != FORMAT:
        raise UserError(
            f"The outputs of a teacher have format {value.get('format')!r}; this version of PainJAX reads {FORMAT}. "
            + _MEND
        )
    return Manifest(**value)
