"""The three HDF5 files of UNBC-McMaster's layout, small and made up, with their truth in plain arrays."""

from pathlib import Path

import h5py
import numpy as np

from painjax.pspi import pspi
from tests.synthetic_pain3d import draw
from tfds_builders.unbc.annotations import ANNOTATIONS, FOLDS, FRAMES

SUBJECTS = (42, 43, 47, 48, 49, 52, 59)  # of which fold 0 tests on the last two
FRAMES_EACH = 6


def write(folder: Path, size: int = 32) -> dict[str, np.ndarray]:
    """Writes the files to `folder`; each person has two frames at rest among frames in pain.

    Returns:
      By index: `image` [N, size, size, 3] uint8, `aus` [N, 6], `pspi` [N], `person` [N]; `index` itself is 0 to N - 1.
    """
    rng = np.random.default_rng(3)
    person = np.repeat(SUBJECTS, FRAMES_EACH)
    aus = np.append(rng.integers(0, 6, (len(person), 5)), rng.integers(0, 2, (len(person), 1)), axis=1)
    aus[np.arange(len(person)) % FRAMES_EACH == 2] = 0
    aus[np.arange(len(person)) % FRAMES_EACH == 4] = 0
    aus = aus.astype(np.float32)
    image = np.stack([draw(who, units, size)["image"] for who, units in zip(person, aus, strict=True)])
    truth = {"image": image, "aus": aus, "pspi": pspi(aus), "person": person}
    write_frames(folder, truth)
    write_annotations(folder, truth)
    write_folds(folder, list(SUBJECTS[:-2]), list(SUBJECTS[-2:]))
    return truth


def write_frames(folder: Path, truth: dict[str, np.ndarray]) -> None:
    """The pictures, backwards: their index is not their place."""
    with h5py.File(folder / FRAMES, "w") as file:
        file["image"] = truth["image"][::-1]
        file["index"] = np.arange(len(truth["image"]))[::-1]


def write_annotations(folder: Path, truth: dict[str, np.ndarray], **labels: np.ndarray) -> None:
    """The labels in another order than the pictures, by default those of `truth`; `labels` by their names in the file,
    in the order of the index."""
    order = np.random.default_rng(4).permutation(len(truth["aus"]))
    columns = {f"label_AU_{unit}": truth["aus"][:, i] for i, unit in enumerate((4, 6, 7, 9, 10, 43))}
    columns |= {"label_pspi": truth["pspi"], "index": np.arange(len(truth["aus"]))} | labels
    with h5py.File(folder / ANNOTATIONS, "w") as file:
        for name, values in columns.items():
            file[name] = values[order]
        file["subject_name"] = np.array([f"{who:03d}-ab{who:03d}".encode() for who in truth["person"]])[order]


def write_folds(folder: Path, train: list[int], validation: list[int], fold: int = 0) -> None:
    """One fold of the cross-validation."""
    with h5py.File(folder / FOLDS, "w") as file:
        file[f"fold-{fold}/train_subjects"] = np.array(train)
        file[f"fold-{fold}/validation_subjects"] = np.array(validation)
