"""What the three HDF5 files of UNBC-McMaster say about each frame, and who is in which split."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from painjax.pspi import AU_MAX, AU_NAMES, pspi

FRAMES = "frames_unbc_2020-09-21-05-42-04.hdf5"
ANNOTATIONS = "annotations_unbc_2020-10-13-22-55-04.hdf5"
FOLDS = "UNBC_CVFolds_2019-05-16-15-16-36.hdf5"
SPLITS = ("train", "validation", "test")
_INNER = 5  # every fifth training subject is for validation


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The coded frames in the order of their index; N of them.

    row: where the frame's picture is in the file of frames. index: the files' own number of the frame. subject: names
    like '042-ll042'. person: the number before the hyphen. aus [N, 6]: intensities in the order of `AU_NAMES`, AU43 0
    or 1. pspi: by the formula. pspi_label: as the files have it, NaN where they have none. counts: what was found on
    the way, by name.
    """

    row: np.ndarray
    index: np.ndarray
    subject: np.ndarray
    person: np.ndarray
    aus: np.ndarray
    pspi: np.ndarray
    pspi_label: np.ndarray
    counts: dict[str, int]

    def neutral(self) -> np.ndarray:
        """For each frame the position of its neutral reference: of the subject's other frames the one with the lowest
        PSPI, among those the one with the least intensity in all, among those the first.

        Raises:
          ValueError: if a subject has only one frame.
        """
        found = np.zeros(len(self.index), int)
        order = np.lexsort((self.index, self.aus.sum(axis=1), self.pspi))
        for person in np.unique(self.person):
            calmest = order[self.person[order] == person][:2]
            if len(calmest) < 2:
                raise ValueError(f"Subject {person} has a single frame, which leaves no other as neutral reference.")
            found[self.person == person] = calmest[0]
            found[calmest[0]] = calmest[1]
        return found

    def at_rest(self) -> np.ndarray:
        """Whether each frame shows none of the six units."""
        return (self.aus == 0).all(axis=1)


def read_annotations(folder: Path) -> Annotations:
    """Reads the labels of `folder`, matched with the pictures by index.

    A unit that a frame has no number for (NaN) is taken as absent, as FACS coders list the units that they see; a frame
    without any number is left out. AU43 is 1 where its label is above 0.

    Raises:
      ValueError: if an index stands twice, or an intensity is out of range.
    """
    h5py = hdf5()
    with h5py.File(folder / FRAMES) as file:
        pictures, index_of_pictures = len(file["image"]), np.asarray(file["index"])
    with h5py.File(folder / ANNOTATIONS) as file:
        index = np.asarray(file["index"])
        subject = np.array([_text(name) for name in file["subject_name"]])
        labels = np.stack([_largest(file[f"label_AU_{name.removeprefix('AU')}"]) for name in AU_NAMES], axis=1)
        pspi_label = _largest(file["label_pspi"])
    if len(index_of_pictures) != pictures:
        raise ValueError(f"{FRAMES} has {pictures} pictures and {len(index_of_pictures)} indices; expected one each.")
    for name, values in ((FRAMES, index_of_pictures), (ANNOTATIONS, index)):
        numbers, times = np.unique(values, return_counts=True)
        if (times > 1).any():
            raise ValueError(f"{name} has index {numbers[times > 1][0]} twice; expected one frame per index.")
    row_of = {int(value): row for row, value in enumerate(index_of_pictures)}
    has_picture = np.isin(index, index_of_pictures)
    coded = ~(np.isnan(labels).all(axis=1) & np.isnan(pspi_label))
    kept = np.flatnonzero(has_picture & coded)
    kept = kept[np.argsort(index[kept])]
    aus = np.nan_to_num(labels[kept], nan=0.0).astype(np.float32)
    aus[:, -1] = aus[:, -1] > 0
    if ((aus < 0) | (aus > np.asarray(AU_MAX))).any():
        raise ValueError(f"{ANNOTATIONS} has action units from {aus.min():g} to {aus.max():g}; expected 0 to 5.")
    score = pspi(aus).astype(np.float32)
    pspi_label = pspi_label[kept].astype(np.float32)
    counts = {
        "frames": len(kept),
        "labels without a picture, left out": int((~has_picture).sum()),
        "frames without any label, left out": int((has_picture & ~coded).sum()),
        "missing intensities, taken as 0": int(np.isnan(labels[kept]).sum()),
        "frames without a PSPI label": int(np.isnan(pspi_label).sum()),
        "PSPI labels that are not the formula's value": int((np.abs(pspi_label - score) > 1e-3).sum()),
    }
    return Annotations(
        row=np.array([row_of[int(value)] for value in index[kept]], int),
        index=index[kept],
        subject=subject[kept],
        person=np.array([_number(name) for name in subject[kept]], int),
        aus=aus,
        pspi=score,
        pspi_label=pspi_label,
        counts=counts,
    )


def read_splits(folder: Path, fold: int) -> dict[str, list[int]]:
    """The subjects of each split: 'test' are those that the fold validates with; every fifth of the others, beginning
    with the second by number, is in 'validation'.

    Raises:
      ValueError: if there is no such fold, somebody is on both sides of it, or a split would be empty.
    """
    with hdf5().File(folder / FOLDS) as file:
        name = f"fold-{fold}"
        if name not in file:
            raise ValueError(f"{FOLDS} has no {name}; it has {', '.join(sorted(file))}.")
        train, test = (
            sorted({_number(subject) for subject in np.asarray(file[name][f"{side}_subjects"]).ravel()})
            for side in ("train", "validation")
        )
    both = set(train) & set(test)
    if both:
        raise ValueError(f"{FOLDS}, {name}: subjects {_list(both)} are to train and to validate; expected one of them.")
    if not test or len(train) < 2:
        raise ValueError(
            f"{FOLDS}, {name}: subjects {_list(train)} to train, {_list(test)} to validate; expected at least two and "
            "one."
        )
    inner = train[1::_INNER]
    return {"train": sorted(set(train) - set(inner)), "validation": inner, "test": test}


def hdf5() -> ModuleType:
    """The library that reads HDF5.

    Raises:
      ImportError: if it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"UNBC-McMaster is read with h5py ({error}): pip install 'painjax[unbc]'.") from error
    return h5py


def _largest(labels: Any) -> np.ndarray:
    """[N] or [N, several] -> [N]; NaN only where nothing else is."""
    values = np.asarray(labels, np.float64)
    return np.fmax.reduce(values.reshape(len(values), -1), axis=1)


def _number(subject: Any) -> int:
    return int(_text(subject).split("-")[0])


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
