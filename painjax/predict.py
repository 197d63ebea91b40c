"""The command `predict`: pictures, videos and folders of both, as JSON, a table and overlay pictures.

`painjax predict --workdir=W --image=face.jpg [--neutral=calm.jpg] [--output=DIR] [--table=FILE.csv]`; in Python, use
`Predictor` and `painjax.pictures`.
"""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from painjax import pictures, video
from painjax.errors import UserError
from painjax.files import write_atomically
from painjax.overlay import lay_over, spread
from painjax.pictures import NoFaceError, PathLike, Picture, find_files, load_crop
from painjax.prediction_table import PredictionTable
from painjax.predictor import Prediction, Predictions, Predictor, VideoPlace, video_frames
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

__all__ = ["Prediction", "Predictions", "Predictor", "main"]


def main(
    workdir: PathLike,
    image: PathLike,
    neutral: PathLike | Sequence[PathLike] | None = None,
    output: PathLike | None = None,
    table: PathLike | None = None,
    *,
    crop: str = "centre",
    every: int = 1,
    fps: float | int | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Predicts PSPI and action units of `image`: a picture, a video, or a folder of both.

    Args:
      workdir: a training run or a model folder.
      image: file, or folder (not searched below its first level).
      neutral: pictures of the same person at rest, or folders of them, for all images; only for a model that can use
        them.
      output: folder for one overlay picture per image or frame: the face, the predicted pain heatmap, the AU queries'
        attention.
      table: .csv or .parquet file for one row per image or frame (see `painjax.prediction_table`).
      crop: 'centre', 'none' or 'module:function' (see `PictureReader`).
      every: of a video, look at each `every`-th frame.
      fps: of a video, look at no more than this many frames per second.
      batch_size: pictures per batch; as in training by default.

    Returns:
      `predictions`: one dict per image or frame with `image` (path), for frames `frame` and `time_s`, `pspi`,
      `pspi_std`, `pspi_from_aus`, `aus` by name, `thresholds` (probability of PSPI >= 1, 2, 3) and `warnings`; with a
      table, the frames of videos are in the table only. In a frame without a face every number is None. `videos`: one
      dict per video with `video`, `frames`, `frames_without_face`, `mean_pspi`, `max_pspi`, `max_pspi_time_s` and
      `warnings`; what holds for many frames is warned about with the first of them only.
      `errors`: {image, error} for every file of a folder that could not be used, and for a video that breaks off.

    Raises:
      UserError: if the image, or a neutral reference, cannot be used, a folder holds none, or an option is wrong.
      FileNotFoundError: if `workdir` has no trained model.
    """
    files = find_files(image, (*pictures.SUFFIXES, *video.SUFFIXES))
    neutral = [neutral] if isinstance(neutral, str | os.PathLike) else neutral or []
    neutral = [file for path in neutral for file in find_files(path)]
    if videos := [str(file) for file in neutral if video.is_video(file)]:
        raise UserError(
            f"--neutral={videos[0]} is a video; expected pictures. Save one or several of its frames in which the face "
            "is at rest, as jpg or png."
        )
    crop_function = load_crop(crop)
    video.check_sampling(every, fps)
    with PredictionTable(table) if table else contextlib.nullcontext() as rows:
        predictor = Predictor(workdir, batch_size=batch_size, crop=crop_function)
        calm = [predictor.read(file) for file in neutral]
        told = [warning for file, picture in zip(neutral, calm, strict=True) for warning in _told(file, picture)]
        session = _Session(rows, Path(output) if output else None, told, is_folder=Path(image).is_dir())
        found = predictor.stream(
            session.sources(files, every, fps),
            predictor.enrol(calm) if calm else None,
            heatmap=output is not None and predictor.config.heads_layout != "official",
            attention=output is not None,
        )
        total = _expected(files, every, fps)
        for place, result in tqdm(found, "predict", total, unit="image", leave=False, disable=None):
            session.add(place, result)
    return session.result()


class _Session:
    """What one command has found so far."""

    def __init__(self, table: PredictionTable | None, output: Path | None, told: list[str], *, is_folder: bool):
        self._table = table
        self._output = output
        self._is_folder = is_folder
        self._reference_warnings = told
        self._predictions: list[dict[str, Any]] = []
        self._videos: dict[Path, dict[str, Any]] = {}
        self._errors: dict[Path, str] = {}

    def sources(
        self, files: list[Path], every: int, fps: float | int | None
    ) -> Iterator[tuple[Path | VideoPlace, Path | np.ndarray]]:
        """Everything to look at; a video that breaks off is noted, and keeps the frames before that."""
        for file in files:
            if not video.is_video(file):
                yield file, file
                continue
            read = False
            try:
                for place_and_pixels in video_frames(file, every, fps):
                    read = True
                    yield place_and_pixels
            except UserError as error:
                if not (read or self._is_folder):
                    raise
                self._errors[file] = str(error)

    def add(self, place: Path | VideoPlace, found: Prediction | UserError) -> None:
        in_video = isinstance(place, VideoPlace)
        path = place.path if in_video else place
        if isinstance(found, UserError) and not (in_video and isinstance(found, NoFaceError)):
            if not self._is_folder:
                raise found
            self._errors.setdefault(path, str(found))  # the first of a video's frames speaks for all
            return
        row = {"image": str(path)} | ({"frame": place.frame, "time_s": place.time_s} if in_video else {})
        row |= _without_face(found) if isinstance(found, UserError) else _record(found, path, self._reference_warnings)
        if in_video:
            self._summarise(place, found, row)
        if self._table is not None:
            self._table.append(_flat(row))
        if self._table is None or not in_video:
            self._predictions.append(row)
        if self._output is not None and isinstance(found, Prediction):
            name = f"{path.name}.{place.frame:06d}" if in_video else path.name
            _save_overlay(self._output / f"{name}.overlay.png", found)

    def result(self) -> dict[str, Any]:
        return {
            "predictions": self._predictions,
            "videos": [_finished(path, counts) for path, counts in self._videos.items()],
            "errors": [{"image": str(path), "error": error} for path, error in self._errors.items()],
        }

    def _summarise(self, place: VideoPlace, found: Prediction | UserError, row: dict[str, Any]) -> None:
        start = {"frames": 0, "faces": 0, "sum": 0.0, "max": (-1.0, None), "warnings": []}
        counts = self._videos.setdefault(place.path, start)
        counts["frames"] += 1
        if isinstance(found, Prediction):
            row["warnings"] = [warning for warning in row["warnings"] if warning not in counts["warnings"]]
            counts["warnings"] += row["warnings"]
            counts["faces"] += 1
            counts["sum"] += float(found.pspi)
            counts["max"] = max(counts["max"], (float(found.pspi), place.time_s), key=lambda pair: pair[0])


def _expected(files: list[Path], every: int, fps: float | int | None) -> int | None:
    """How many pictures and frames there will be, if every file says."""
    counts = []
    for file in files:
        try:
            counts.append(video.expected_frames(file, every=every, fps=fps) if video.is_video(file) else 1)
        except UserError:  # reported when it is read
            counts.append(0)
    return None if None in counts else sum(counts)


def _finished(path: Path, counts: dict[str, Any]) -> dict[str, Any]:
    faces = counts["faces"]
    return {
        "video": str(path),
        "frames": counts["frames"],
        "frames_without_face": counts["frames"] - faces,
        "mean_pspi": round(counts["sum"] / faces, 3) if faces else None,
        "max_pspi": round(counts["max"][0], 3) if faces else None,
        "max_pspi_time_s": counts["max"][1],
        "warnings": counts["warnings"],
    }


def _told(path: Path, picture: Picture) -> list[str]:
    """The warnings of a picture or video, with its name."""
    return [f"{path.name}: {warning}" for warning in picture.warnings]


def _record(found: Prediction, path: Path, more_warnings: list[str]) -> dict[str, Any]:
    return {
        "pspi": round(float(found.pspi), 3),
        "pspi_std": None if found.pspi_std is None else round(float(found.pspi_std), 3),
        "pspi_from_aus": round(float(found.pspi_from_aus), 3),
        "aus": {name: round(float(value), 3) for name, value in zip(AU_NAMES, found.aus, strict=True)},
        "thresholds": {
            f"pspi>={k}": round(float(p), 4)
            for k, p in zip(PSPI_THRESHOLDS, found.threshold_probability, strict=True)
        },
        "warnings": _told(path, found.picture) + more_warnings,
    }  # fmt: skip


def _without_face(error: UserError) -> dict[str, Any]:
    return {
        "pspi": None,
        "pspi_std": None,
        "pspi_from_aus": None,
        "aus": dict.fromkeys(AU_NAMES),
        "thresholds": {f"pspi>={k}": None for k in PSPI_THRESHOLDS},
        "warnings": [str(error)],
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A record as a row of the table."""
    nested = ("aus", "thresholds", "warnings")
    thresholds = {f"p_pspi_ge_{k}": row["thresholds"][f"pspi>={k}"] for k in PSPI_THRESHOLDS}
    plain = {name: value for name, value in row.items() if name not in nested}
    return plain | row["aus"] | thresholds | {"warnings": " | ".join(row["warnings"])}


def _save_overlay(path: Path, found: Prediction) -> None:
    """Side by side: the picture, the predicted heatmap over it (if any), the mean attention of the AU queries."""
    pixels = found.picture.pixels
    image = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    attention = spread(found.attention.mean(axis=0), image.shape[0])
    heat = [] if found.heatmap is None else [found.heatmap]
    strip = np.concatenate([image, *(lay_over(image, layer) for layer in (*heat, attention))], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
