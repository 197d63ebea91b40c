"""The records of one split of a built TFDS data set, at random access, without TensorFlow.

TFDS finds the data set and reads its bytes. The fields are taken out of a record here: TFDS would parse and decode all
forty of a frame, which takes longer than decoding its pictures, and holds the interpreter lock meanwhile.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from painjax.errors import UserError

_LICENSED = ("unbc",)  # built from files that users have to ask for
_AT_ONCE = 256  # records that a column is read by


class Records:
    """The records of a split; a field is named by its path, such as 'aus' or 'identity/id'.

    Raises:
      UserError: when the data set is not built, incomplete, of another file format, or lacks a field or the split, or
        the split is empty.
    """

    def __init__(self, name: str, split: str, fields: Iterable[str], data_dir: str | None = None):
        builder = _find(name, data_dir)
        self.name = f"{name}, split {split}"
        self.features = flat_features(builder.info.features)
        self._place = f"Data set {name} in {builder.data_dir}"
        self._build = _build_command(name)
        self._check_fields(fields)
        if split not in builder.info.splits:
            raise UserError(f"Data set {name} has no split {split!r}; it has {', '.join(builder.info.splits)}.")
        lost = [path for path in builder.info.splits[split].filepaths if not Path(path).exists()]
        if lost:
            raise UserError(
                f"Data set {name} is incomplete: {lost[0]} is missing. Remove {builder.data_dir}. "
                f"{_build_command(name, data_dir)}"
            )
        if builder.info.file_format.value != "array_record":
            raise UserError(
                f"Data set {name} in {builder.data_dir} is stored as {builder.info.file_format.value}, which cannot be "
                f"read at random; expected array_record. {_build_command(name)}"
            )
        if builder.info.splits[split].num_examples == 0:
            raise UserError(f"Data set {name} in {builder.data_dir} has no examples in its split {split!r}.")
        self._encoded = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

    def __len__(self) -> int:
        return len(self._encoded)

    def read(self, index: int, fields: Sequence[str]) -> list[Any]:
        """The values of `fields` in record `index`: a picture's encoded bytes, or a NumPy array or scalar."""
        return self._take(self._encoded[index], fields)

    def columns(self, fields: Sequence[str]) -> list[np.ndarray]:
        """The values of `fields`, which are no pictures, in all records: [N, ...] each. Reads all of every record.

        Raises:
          UserError: if the data set lacks one of them.
        """
        self._check_fields(fields)
        rows = []
        for start in range(0, len(self), _AT_ONCE):
            encoded = self._encoded.__getitems__(range(start, min(start + _AT_ONCE, len(self))))
            rows += [self._take(record, fields) for record in encoded]
        return [np.array(column) for column in zip(*rows, strict=True)]

    def _check_fields(self, fields: Iterable[str]) -> None:
        missing = [field for field in fields if field not in self.features]
        if missing:
            raise UserError(
                f"{self._place} has no field {', '.join(missing)}; it has {', '.join(self.features)}. Expected the "
                f"fields of pain3d. {self._build}"
            )

    def _take(self, encoded: bytes, fields: Sequence[str]) -> list[Any]:
        found = tf_example_pb2.Example.FromString(encoded).features.feature
        return [_value(found[field], self.features[field]) for field in fields]

    def __repr__(self) -> str:  # grain prints it in its errors
        return f"Records({self.name})"


def dataset_version(name: str, data_dir: str | None = None) -> dict[str, str]:
    """What tells a built data set from others: its `name`, its `version`, and a `fingerprint` of what the data set says
    of itself (fields, examples and bytes of each split, and of how many shards it was merged, which orders the
    examples). No record is read.

    Raises:
      UserError: when it is not built.
    """
    builder = _find(name, data_dir)
    splits = {key: [split.num_examples, split.num_bytes] for key, split in builder.info.splits.items()}
    fields = json.loads((Path(builder.data_dir) / "features.json").read_text())
    merged = [dict(builder.info.metadata)] if builder.info.metadata else []
    described = json.dumps([fields, splits, *merged], sort_keys=True)
    return {
        "name": name,
        "version": str(builder.info.version),
        "fingerprint": hashlib.sha256(described.encode()).hexdigest()[:16],
    }


def flat_features(features: tfds.features.FeaturesDict, prefix: str = "") -> dict[str, Any]:
    """The features by path."""
    found = {}
    for name, feature in features.items():
        nested = isinstance(feature, tfds.features.FeaturesDict)
        found |= flat_features(feature, f"{prefix}{name}/") if nested else {prefix + name: feature}
    return found


def _value(found: Any, feature: Any) -> Any:
    """A field of a `tf.train.Example` as its feature describes it."""
    if isinstance(feature, tfds.features.Image):
        return found.bytes_list.value[0]
    numbers = found.float_list if np.issubdtype(feature.np_dtype, np.floating) else found.int64_list
    values = np.array(numbers.value, feature.np_dtype)
    if values.size != math.prod(feature.shape):
        raise UserError(f"A record has {values.size} numbers where its field is {feature}; build the data set again.")
    return values.reshape(feature.shape)[()]


def _find(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """The builder of an already built data set, as its own files describe it, even where the code is at hand that
    generates the like: that may be of another version."""
    try:
        builder = tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
        built = bool(builder.info.splits)
    except ValueError:  # DatasetNotFoundError, or an unknown config of a known data set: thousands of lines of names
        built = False
    if not built:
        where = data_dir or f"the default folder {tfds.core.constants.DATA_DIR}"
        raise UserError(f"Data set {name} is not built in {where}. {_build_command(name, data_dir)}")
    return builder


def _build_command(name: str, data_dir: str | None = None) -> str:
    base, _, config = name.partition("/")
    command = f"tfds build tfds_builders/{base}"
    command += f" --config={config}" if config else ""
    command += " --manual_dir=DIR" if base in _LICENSED else ""
    command += f" --data_dir={data_dir}" if data_dir else ""
    return f"Build it with `{command}`, or point config.data.data_dir at the folder that has it."
