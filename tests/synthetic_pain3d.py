"""A tiny data set with the fields of `pain3d` and pictures that a small model can learn from in seconds.

Each action unit draws a bright patch at its own place, its height growing with the intensity; the heatmap shows the
same patches without the face. Written as a real TFDS array_record data set, so that tests read what users read.
"""

import io
import os
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from painjax.pspi import AU_MAX, pspi

# (row, column) of each AU's patch, in fractions of the picture, in the order of AU_NAMES.
PLACES = ((0.25, 0.5), (0.5, 0.2), (0.4, 0.8), (0.55, 0.5), (0.75, 0.35), (0.3, 0.15))


def draw(identity: int, aus: np.ndarray, size: int, view: int = 0) -> dict[str, np.ndarray]:
    """One frame: image, neutral image, heatmap and mask of `size` pixels, uint8."""
    rng = np.random.default_rng(identity)
    tone = rng.integers(60, 140, 3)
    rows, columns = np.mgrid[:size, :size] / (size - 1)
    face = (rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.2
    neutral = np.where(face[..., None], tone, 30.0 + 40 * view)  # the background tells the view
    heat = np.zeros((size, size))
    for (row, column), intensity, top in zip(PLACES, aus, AU_MAX, strict=True):
        heat += intensity / top * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 0.008)
    heat = heat.clip(0, 1)
    return {
        "image": (neutral + 100 * heat[..., None]).clip(0, 255).astype(np.uint8),
        "neutral_image": neutral.astype(np.uint8),
        "heatmap": (255 * heat[..., None]).astype(np.uint8),
        "mask": np.uint8(255) * face[..., None],
    }


def encode(pixels: np.ndarray) -> bytes:
    """JPEG of a photograph, PNG of a plane; encoded here because TFDS would ask TensorFlow to."""
    buffer = io.BytesIO()
    if pixels.shape[-1] == 3:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    else:
        Image.fromarray(pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


with tfds.core.registered.skip_registration():  # the real builder has the name

    class Pain3d(tfds.core.GeneratorBasedBuilder):
        """The synthetic stand-in; one config, named as the real one."""

        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="quick", description="synthetic stand-in")]
        SIZE = 32
        COUNTS = {"train": 40, "validation": 12, "test": 10}

        def _info(self):
            image = tfds.features.Image(shape=(self.SIZE, self.SIZE, 3), encoding_format="jpeg")
            plane = tfds.features.Image(shape=(self.SIZE, self.SIZE, 1), encoding_format="png")
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "image": image,
                        "neutral_image": image,
                        "heatmap": plane,
                        "mask": plane,
                        "aus": tfds.features.Tensor(shape=(6,), dtype=np.float32),
                        "pspi": tfds.features.Scalar(dtype=np.float32),
                        "identity": {
                            "id": tfds.features.Scalar(dtype=np.int32),
                            "gender": tfds.features.ClassLabel(names=["female", "male"]),
                        },
                        "view": {"id": tfds.features.Scalar(dtype=np.int32)},
                        "landmarks": tfds.features.Tensor(shape=(68, 2), dtype=np.float32),
                        "landmarks_visible": tfds.features.Tensor(shape=(68,), dtype=np.bool_),
                    }
                ),
                description="Synthetic stand-in for pain3d, for tests.",
            )

        def _split_generators(self, dl_manager):
            del dl_manager
            return {split: self._generate_examples(split, count) for split, count in self.COUNTS.items()}

        def _generate_examples(self, split: str, count: int):
            rng = np.random.default_rng(list(self.COUNTS).index(split))
            for i in range(count):
                aus = np.append(rng.integers(0, 6, 5), rng.integers(0, 2)).astype(np.float32)
                identity = 1000 * list(self.COUNTS).index(split) + i // 4
                person = {"id": identity, "gender": identity % 2}
                labels = {"aus": aus, "pspi": np.float32(pspi(aus)), "identity": person, "view": {"id": i % 3}}
                labels["landmarks"] = (np.arange(136, dtype=np.float32).reshape(68, 2) + 0.5) % self.SIZE
                labels["landmarks_visible"] = np.arange(68) % 5 > 0
                pictures = {name: encode(pixels) for name, pixels in draw(identity, aus, self.SIZE, i % 3).items()}
                yield f"{split}_{i:04d}", pictures | labels


def build(data_dir: str | os.PathLike, size: int = 32, shards: int | None = None, **counts: int) -> Path:
    """Writes the data set under `data_dir` (which is returned), with other sizes than the defaults where given; each
    split in so many `shards`."""
    Pain3d.SIZE, Pain3d.COUNTS = size, {"train": 40, "validation": 12, "test": 10} | counts
    builder = Pain3d(data_dir=os.fspath(data_dir), config="quick", file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return Path(data_dir)
