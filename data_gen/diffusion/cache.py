"""Portraits on disk: one file per identity, whose name says what shaped it.

A file is written under a temporary name and renamed, so that processes may share the folder and be killed at any time.
The files hold plain arrays and JSON; reading them executes nothing.
"""

import dataclasses
import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_gen import array_file
from data_gen.diffusion import prompts
from data_gen.diffusion.config import DiffusionConfig
from data_gen.diffusion.prompts import Prompt
from data_gen.diffusion.sitting import Sitting
from data_gen.record import GENERATOR_VERSION
from data_gen.scene import Identity

PORTRAIT_VERSION = 4  # raise it whenever the same settings would give another portrait or another file
SHAPING = (  # the fields of `record`
    "identity", "face_model", "prompt", "negative_prompt", "settings", "generator_version", "portrait_version",
)  # fmt: skip
DEPTH_STEPS = 32  # per mm: 16 bits hold 2 m
TOLD = ("painted", "tries", "faults", "seed")  # what every record says of how it went
SAME_MM = 0.1  # two machines round; heads that differ by more are not the same


class OfAHead(Protocol):
    """What was painted for one head, by whose landmarks (68, 3) mm it is told from that of another."""

    marks: np.ndarray


T = TypeVar("T", bound=OfAHead)


class OtherVersion(Exception):
    """A file that another version of this code wrote; nothing uses it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One portrait, or the word that there is none.

    Attributes:
      portrait: (S, S, 3) uint8; None: every try was refused, and the identity stays procedural.
      sitting: what it was painted over.
      marks: (68, 3) float32 mm, the landmarks of the head, by which another head is told from it.
      record: what shaped it and how it went, fit for JSON: see `record`.
      sides: pictures of the sides that were accepted, of their own size, and what they were painted over.
    """

    portrait: np.ndarray | None
    sitting: Sitting
    marks: np.ndarray
    record: dict[str, Any]
    sides: tuple[tuple[np.ndarray, Sitting], ...] = ()


def record(person: Identity, face_model: str, prompt: Prompt, config: DiffusionConfig) -> dict[str, Any]:
    """All that shapes a portrait; its hash is its key.

    The geometry stands in it by its coefficients: vertices differ in their last bits from machine to machine.
    """
    shaping = dataclasses.asdict(config)
    # the first two shape nothing of it, the others are in the prompt
    del shaping["batch"], shaping["backdrop"], shaping["style"], shaping["avoid"]
    if config.side_views is not None:
        del shaping["side_views"]["batch"]
        shaping["side_views"]["prompt"] = prompts.side_view(person, config.side_views).text
    return {
        "identity": dataclasses.asdict(person),
        "face_model": face_model,
        "prompt": prompt.text,
        "negative_prompt": prompt.negative,
        "settings": shaping,
        **versions(),
    }


def versions() -> dict[str, Any]:
    """Those of the code, as they stand in what shapes a portrait."""
    return {"generator_version": GENERATOR_VERSION, "portrait_version": PORTRAIT_VERSION}


def check_version(shaping: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses what was not shaped by the versions `now`.

    Raises:
      OtherVersion: naming those that differ.
    """
    differ = [f"{name} {shaping.get(name)}, now {value}" for name, value in now.items() if shaping.get(name) != value]
    if differ:
        raise OtherVersion("; ".join(differ))


def key(shaping: Mapping[str, Any]) -> str:
    """Hash of what `record` returned."""
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:24]


def folder() -> Path:
    """Where portraits are kept: `portraits` in PAINJAX_CACHE, else in ~/.cache/painjax."""
    return Path(os.environ.get("PAINJAX_CACHE") or Path.home() / ".cache" / "painjax") / "portraits"


def path(shaping: Mapping[str, Any]) -> Path:
    """The file of a portrait."""
    return folder() / f"{shaping['identity']['id']:08d}-{key(shaping)}.npz"


def save(shaping: Mapping[str, Any], entry: Entry) -> None:
    """Keeps a portrait under the key of what shaped it; a file that is there already is replaced by the new one."""
    told = {**entry.record, "shaping": shaping, "yaws": [sitting.yaw for _, sitting in entry.sides]}
    arrays = {
        "record": np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8),
        "marks": entry.marks,
        **_of_sitting(entry.sitting),
    }
    if entry.portrait is not None:
        arrays["portrait"] = _png(entry.portrait)
    for i, (picture, sitting) in enumerate(entry.sides):
        arrays |= {f"side{i}": _png(picture)} | _of_sitting(sitting, f"side{i}_")
    array_file.write(path(shaping), arrays)


def load(shaping: Mapping[str, Any], marks: np.ndarray) -> Entry | None:
    """The portrait of a head whose landmarks are `marks` (68, 3) mm; None if `usable` says that there is none."""
    return usable(path(shaping), read, marks)


def usable(file: Path, read: Callable[[Path], T], marks: np.ndarray) -> T | None:
    """What `read` makes of a file, if it is of the head whose landmarks are `marks` (68, 3) mm; None if there is none.

    One that is damaged, of another version or of another head counts as none, and a warning says so.
    """
    try:
        found = read(file)
    except FileNotFoundError:
        return None
    except array_file.Damaged as error:
        logging.warning("%s is damaged (%s) and is painted again.", file, error)
        return None
    except OtherVersion as error:
        logging.warning("%s is of another version (%s) and is painted again.", file, error)
        return None
    if np.abs(found.marks - marks).max() > SAME_MM:
        logging.warning("%s is of another head than this generator's, and is painted again.", file)
        return None
    return found


def read(file: Path) -> Entry:
    """A portrait by its file.

    Raises:
      array_file.Damaged: if it is no whole portrait, or lies under another portrait's name.
      OtherVersion: if another version of the code painted it.
      OSError: if it cannot be opened.
    """
    arrays = array_file.read(file)
    try:
        told = json.loads(arrays["record"].tobytes())
        shaping = told.pop("shaping")
        check_version(shaping, versions())
        portrait = _array(arrays["portrait"]) if "portrait" in arrays else None
        sides = tuple(
            (_array(arrays[f"side{i}"]), _sitting(arrays, yaw, f"side{i}_")) for i, yaw in enumerate(told.pop("yaws"))
        )
        if missing := ({*TOLD} - told.keys()) | ({*SHAPING} - shaping.keys()):
            raise ValueError(f"it does not say {', '.join(sorted(missing))}")
        entry = Entry(portrait, _sitting(arrays), arrays["marks"], told | shaping, sides)
    except (KeyError, ValueError, TypeError, AttributeError, UnidentifiedImageError, OSError) as error:
        raise array_file.Damaged(f"{type(error).__name__}: {error}") from error
    if path(shaping).name != file.name:
        raise array_file.Damaged("its contents belong to another name")
    return entry


def entries(where: Path | None = None) -> Iterator[Path]:
    """All files of portraits of a folder, sorted."""
    return iter(sorted((where or folder()).glob("[0-9]*-*.npz")))


def leftovers(where: Path | None = None) -> list[Path]:
    """Temporary files of processes that were killed, or that are writing at this moment."""
    return sorted((where or folder()).glob(".*.npz"))


def _of_sitting(sitting: Sitting, prefix: str = "") -> dict[str, np.ndarray]:
    depth = np.where(np.isfinite(sitting.depth), np.round(sitting.depth * DEPTH_STEPS), 0)
    return {
        f"{prefix}depth": _png(np.clip(depth, 0, 65535).astype(np.uint16)),
        f"{prefix}skin": _png(np.where(sitting.skin, np.uint8(255), np.uint8(0))),
        f"{prefix}landmarks": sitting.landmarks,
    }


def _sitting(arrays: Mapping[str, np.ndarray], yaw: float = 0.0, prefix: str = "") -> Sitting:
    depth = _array(arrays[f"{prefix}depth"]).astype(np.float32) / DEPTH_STEPS
    skin = _array(arrays[f"{prefix}skin"]) > 127
    return Sitting(np.where(depth > 0, depth, np.inf), skin, arrays[f"{prefix}landmarks"], yaw)


def _png(picture: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=3)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _array(png: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png.tobytes())))
