"""Records of a built TFDS data set, at random access, without TensorFlow."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tensorflow_datasets as tfds
from PIL import Image

from painjax.errors import UserError

_JPEG_MAGIC = b"\xff\xd8"
_LICENSED = ("unbc",)  # built from files that users have to ask for


class FrameSource:
    """One split of a data set with the fields of the pain3d specification (`tfds_builders/pain3d/README.md`).

    `source[i]` is a dict of NumPy arrays: each of the requested images as uint8 [S, S, C], and `aus` [6] float32
    (0..5), `pspi` float32 (0..16), `identity` int32, `index` int32 (= i). Only the requested images are decoded; those
    of `if_there` only from a data set that has them (photographs have no pain heatmap).

    Raises:
      UserError: when the data set is not built, incomplete, of another file format, or lacks a field or the split.
    """

    def __init__(
        self,
        name: str,
        split: str,
        images: Sequence[str],
        data_dir: str | None = None,
        *,
        if_there: Sequence[str] = (),
    ):
        builder = _find(name, data_dir)
        features = builder.info.features
        self._images = (*images, *(field for field in if_there if field in features and field not in images))
        people = features["identity"] if "identity" in features else {}
        self._groupings = {k: v for k, v in people.items() if isinstance(v, tfds.features.ClassLabel)}
        missing = [field for field in (*images, "aus", "pspi", "identity") if field not in features]
        if missing:
            raise UserError(
                f"Data set {name} in {builder.data_dir} has no field {', '.join(missing)}; it has "
                f"{', '.join(features)}. Expected the fields of pain3d. {_build_command(name)}"
            )
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
        pictures = [field for field, feature in features.items() if isinstance(feature, tfds.features.Image)]
        # Decoding here, not in TFDS: it would decode the images nobody asked for too, and JPEG twice as slowly.
        self._records = builder.as_data_source(
            split, decoders={field: tfds.decode.SkipDecoding() for field in pictures}
        )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        example = {name: _decode(record[name]) for name in self._images}
        return example | {
            "aus": np.asarray(record["aus"], np.float32),
            "pspi": np.float32(record["pspi"]),
            "identity": np.int32(record["identity"]["id"]),
            "index": np.int32(index),
        }

    def groups(self, index: int) -> dict[str, str]:
        """The person in frame `index`, such as {'age_group': 'old', 'gender': 'female'}; {} where not known."""
        identity = self._records[index]["identity"]
        return {name: label.int2str(int(identity[name])) for name, label in self._groupings.items()}

    def __repr__(self) -> str:  # grain prints it in its errors
        return f"FrameSource({self._records!r}, images={self._images})"


def dataset_version(name: str, data_dir: str | None = None) -> dict[str, str]:
    """What tells a built data set from others: its `name`, its `version`, and a `fingerprint` of what the data set says
    of itself (fields, and examples and bytes of each split). No record is read.

    Raises:
      UserError: when it is not built.
    """
    builder = _find(name, data_dir)
    splits = {key: [split.num_examples, split.num_bytes] for key, split in builder.info.splits.items()}
    fields = json.loads((Path(builder.data_dir) / "features.json").read_text())
    described = json.dumps([fields, splits], sort_keys=True)
    return {
        "name": name,
        "version": str(builder.info.version),
        "fingerprint": hashlib.sha256(described.encode()).hexdigest()[:16],
    }


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


def _decode(encoded: bytes) -> np.ndarray:
    """uint8 [S, S, C] from JPEG (simplejpeg: twice as fast as Pillow and bit-identical) or PNG bytes."""
    if encoded[:2] == _JPEG_MAGIC:
        return simplejpeg.decode_jpeg(encoded)
    pixels = np.asarray(Image.open(io.BytesIO(encoded)))
    return pixels if pixels.ndim == 3 else pixels[..., None]
