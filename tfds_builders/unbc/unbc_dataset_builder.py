"""UNBC-McMaster as a TFDS data set: `tfds build tfds_builders/unbc --config=fold_0 --manual_dir=DIR`."""

import dataclasses
import io
import logging
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from painjax.pspi import AU_NAMES
from tfds_builders.unbc.annotations import ANNOTATIONS, FOLDS, FRAMES, SPLITS, hdf5, read_annotations, read_splits

_GREY = 128  # beside a picture that is not square


@dataclasses.dataclass(kw_only=True)
class UnbcConfig(tfds.core.BuilderConfig):
    """One fold of the cross-validation that the files define."""

    fold: int


def _config(fold: int) -> UnbcConfig:
    return UnbcConfig(name=f"fold_{fold}", description=f"Tested on the subjects of fold {fold}.", fold=fold)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Faces of people with shoulder pain, coded frame by frame. The README beside this file is the specification."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [_config(fold) for fold in range(5)]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "UNBC-McMaster is licensed to researchers, who ask its authors for it: "
        "https://sites.pitt.edu/~emotion/um-spread.htm. Name the folder that holds the three files "
        f"{FRAMES}, {ANNOTATIONS} and {FOLDS} with --manual_dir. Reading them needs h5py: pip install 'painjax[unbc]'."
    )

    def __init__(self, *, file_format=None, **kwargs):
        """array_record unless asked otherwise: it is the format that reads at random without TensorFlow."""
        super().__init__(file_format=file_format or "array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        features = {
            "image": picture,
            "neutral_image": picture,
            "neutral_at_rest": np.bool_,
            "aus": tfds.features.Tensor(shape=(len(AU_NAMES),), dtype=np.float32),
            "pspi": np.float32,
            "pspi_label": np.float32,
            "identity": {"id": np.int32},
            "subject": tfds.features.Text(),
            "frame_index": np.int64,
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "pspi"),
            homepage="https://sites.pitt.edu/~emotion/um-spread.htm",
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        hdf5()  # says how to install it, before anything is looked for
        folder = Path(dl_manager.manual_dir)
        missing = [name for name in (FRAMES, ANNOTATIONS, FOLDS) if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        annotations = read_annotations(folder)
        subjects = read_splits(folder, self.builder_config.fold)
        counts = annotations.counts | _unsplit(annotations.person, subjects)
        for what, count in counts.items():
            if count and what != "frames":
                logging.warning("UNBC-McMaster: %d %s.", count, what)
        self.info.metadata.update({"counts": counts, "subjects": subjects})
        return {split: self._generate_examples(folder, annotations, subjects[split]) for split in SPLITS}

    def _generate_examples(self, folder: Path, annotations, subjects: list[int]):
        neutral, at_rest = annotations.neutral(), annotations.at_rest()
        wanted = np.flatnonzero(np.isin(annotations.person, subjects))
        encoded = {}  # neutral pictures: two of each subject serve all its frames
        with hdf5().File(folder / FRAMES) as file:
            pictures = file["image"]
            for i in wanted[np.argsort(annotations.row[wanted])]:  # in the order of the file
                reference = int(neutral[i])
                if reference not in encoded:
                    encoded[reference] = png(pictures[annotations.row[reference]])
                yield (
                    int(annotations.index[i]),
                    {
                        "image": png(pictures[annotations.row[i]]),
                        "neutral_image": encoded[reference],
                        "neutral_at_rest": bool(at_rest[reference]),
                        "aus": annotations.aus[i],
                        "pspi": annotations.pspi[i],
                        "pspi_label": annotations.pspi_label[i],
                        "identity": {"id": int(annotations.person[i])},
                        "subject": str(annotations.subject[i]),
                        "frame_index": int(annotations.index[i]),
                    },
                )


def png(pixels: np.ndarray) -> bytes:
    """A picture [H, W, 3] of whole numbers 0..255, filled up with grey to a square, so that no face is squeezed."""
    whole = np.asarray(pixels).astype(np.uint8)
    if not np.array_equal(whole, pixels):
        found = f"{pixels.dtype}, {pixels.min():g} to {pixels.max():g}"
        raise ValueError(f"{FRAMES} has pixels of {found}; expected whole numbers, 0 to 255.")
    height, width = whole.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), _GREY, np.uint8)
    square[top : top + height, left : left + width] = whole
    buffer = io.BytesIO()
    Image.fromarray(square).save(buffer, "PNG")
    return buffer.getvalue()


def _unsplit(person: np.ndarray, subjects: dict[str, list[int]]) -> dict[str, int]:
    named = sorted({subject for split in subjects.values() for subject in split})
    return {
        "frames of subjects that the fold does not name, left out": int((~np.isin(person, named)).sum()),
        "subjects of the fold that have no frame": int((~np.isin(named, person)).sum()),
    }
