"""Frames of a built data set, decoded."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import simplejpeg
import tensorflow_datasets as tfds
from PIL import Image

from painjax.data.records import Records

_JPEG_MAGIC = b"\xff\xd8"
_LABELS = ("aus", "pspi", "identity/id")


class FrameSource:
    """One split of a data set with the fields of the pain3d specification (`tfds_builders/pain3d/README.md`).

    `source[i]` is a dict of NumPy arrays: each of the requested fields, pictures as uint8 [S, S, C], and `aus` [6]
    float32 (0..5), `pspi` float32 (0..16), `identity` int32, `index` int32 (= i). Nothing else is decoded; fields of
    `if_there` only from a data set that has them (photographs have no pain heatmap).

    Raises:
      UserError: see `Records`.
    """

    def __init__(
        self,
        name: str,
        split: str,
        fields: Sequence[str],
        data_dir: str | None = None,
        *,
        if_there: Sequence[str] = (),
    ):
        self._records = Records(name, split, (*fields, *_LABELS), data_dir)
        features = self._records.features
        self._fields = (*fields, *(field for field in if_there if field in features and field not in fields))
        self._groupings = {
            path.removeprefix("identity/"): feature
            for path, feature in features.items()
            if path.startswith("identity/") and isinstance(feature, tfds.features.ClassLabel)
        }

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        *values, aus, pspi, identity = self._records.read(index, (*self._fields, *_LABELS))
        values = [decode(value) if isinstance(value, bytes) else value for value in values]
        return dict(zip(self._fields, values, strict=True)) | {
            "aus": np.asarray(aus, np.float32),
            "pspi": np.float32(pspi),
            "identity": np.int32(identity),
            "index": np.int32(index),
        }

    def picture(self, index: int, field: str) -> np.ndarray:
        """One picture of frame `index`, uint8 [S, S, C]."""
        return decode(self._records.read(index, (field,))[0])

    def has(self, field: str) -> bool:
        """Whether the data set has `field`, requested or not."""
        return field in self._records.features

    def columns(self, *fields: str) -> list[np.ndarray]:
        """The values of `fields`, which are no pictures, in all frames: [N, ...] each. Reads the whole split, which
        takes some 60 microseconds per frame where the files are in memory."""
        return self._records.columns(fields)

    def groups(self, index: int) -> dict[str, str]:
        """The person in frame `index`, such as {'age_group': 'old', 'gender': 'female'}; {} where not known."""
        values = self._records.read(index, [f"identity/{name}" for name in self._groupings])
        return {name: label.int2str(int(v)) for (name, label), v in zip(self._groupings.items(), values, strict=True)}

    def __repr__(self) -> str:  # grain prints it in its errors
        return f"FrameSource({self._records!r}, fields={self._fields})"


def decode(encoded: bytes) -> np.ndarray:
    """uint8 [S, S, C] from JPEG (simplejpeg: twice as fast as Pillow and bit-identical) or PNG bytes."""
    if encoded[:2] == _JPEG_MAGIC:
        return simplejpeg.decode_jpeg(encoded)
    pixels = np.asarray(Image.open(io.BytesIO(encoded)))
    return pixels if pixels.ndim == 3 else pixels[..., None]
