"""Albums: what was painted around the faces of a person's frames, one file per person, kept as portraits are.

A frame is found by a hash of its whole scene, so that plans, single frames and scenes made by hand share an album.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_gen import array_file
from data_gen.diffusion import cache, prompts
from data_gen.diffusion.config import DiffusionConfig
from data_gen.scene import Identity, Scene

BACKDROP_VERSION = 1  # raise it whenever the same settings would give another painting or another file


@dataclasses.dataclass(frozen=True)
class Backdrop:
    """What came of painting around one face.

    Attributes:
      painting: the picture at the frame's size, encoded; None: every try was refused, and the frame stays as rendered.
      seed: of the last try.
      faults: of the tries that were refused.
    """

    painting: bytes | None
    seed: int
    faults: tuple[str, ...]

    @property
    def tries(self) -> int:
        """How many paintings were made."""
        return len(self.faults) + (self.painting is not None)


@dataclasses.dataclass(eq=False)
class Album:
    """The backdrops of one person under one set of settings, by `name` of the scene.

    `shaping` is what shaped them, `marks` (68, 3) mm the landmarks of the head at rest, `about` what painted last.
    """

    shaping: dict[str, Any]
    marks: np.ndarray
    frames: dict[str, Backdrop] = dataclasses.field(default_factory=dict)
    about: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self) -> None:
        """Keeps it; a file of other frames of this person that another process wrote meanwhile is joined, not lost."""
        with _one_at_a_time():
            there = load(self.shaping, self.marks).frames
            self.frames = dict(sorted((there | self.frames).items()))  # the same file, whoever painted first
            self._write()

    def _write(self) -> None:
        frames = {name: {"seed": each.seed, "faults": each.faults} for name, each in self.frames.items()}
        told = {"shaping": self.shaping, "about": self.about, "frames": frames}
        arrays = {"record": np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8), "marks": self.marks}
        for scene, each in self.frames.items():
            if each.painting is not None:
                arrays[scene] = np.frombuffer(each.painting, np.uint8)
        array_file.write(path(self.shaping), arrays)


def name(scene: Scene) -> str:
    """What a scene is called in an album."""
    return hashlib.sha256(json.dumps(dataclasses.asdict(scene), sort_keys=True).encode()).hexdigest()[:24]


def shaping(
    person: Identity, face_model: str, image_size: int, texture_size: int, config: DiffusionConfig
) -> dict[str, Any]:
    """All beside its scene that shapes what is painted around a face, by pinned settings."""
    prompt, settings = prompts.backdrop(person, config.backdrop), dataclasses.asdict(config)
    for painting in filter(None, (settings, settings["backdrop"], settings["side_views"])):
        del painting["batch"]
    return {
        "identity": dataclasses.asdict(person),
        "face_model": face_model,
        "image_size": image_size,
        "texture_size": texture_size,
        "prompt": prompt.text,
        "negative_prompt": prompt.negative,
        "settings": settings,
        **versions(),
    }


def versions() -> dict[str, Any]:
    """Those of the code, as they stand in what shapes an album; the portrait's, for the face wears it."""
    return {**cache.versions(), "backdrop_version": BACKDROP_VERSION}


def folder() -> Path:
    """Where albums are kept: `backdrops` in PAINJAX_CACHE, else in ~/.cache/painjax."""
    return cache.folder().with_name("backdrops")


def path(shaping: dict[str, Any]) -> Path:
    """The file of an album."""
    return folder() / f"{shaping['identity']['id']:08d}-{cache.key(shaping)}.npz"


def load(shaping: dict[str, Any], marks: np.ndarray) -> Album:
    """The album of a person whose head has the landmarks `marks` (68, 3) mm; empty if `cache.usable` finds none."""
    return cache.usable(path(shaping), read, marks) or Album(shaping, marks)


def read(file: Path) -> Album:
    """An album by its file.

    Raises:
      array_file.Damaged: if it is no whole album, or lies under another one's name.
      cache.OtherVersion: if another version of the code painted it.
      OSError: if it cannot be opened.
    """
    arrays = array_file.read(file)
    try:
        told = json.loads(arrays["record"].tobytes())
        cache.check_version(told["shaping"], versions())
        frames = {
            scene: Backdrop(arrays[scene].tobytes() if scene in arrays else None, each["seed"], tuple(each["faults"]))
            for scene, each in told["frames"].items()
        }
        album = Album(told["shaping"], arrays["marks"], frames, told["about"])
        named = path(album.shaping).name
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise array_file.Damaged(f"{type(error).__name__}: {error}") from error
    if named != file.name:
        raise array_file.Damaged("its contents belong to another name")
    return album


def keep(name: str, content: bytes) -> None:
    """Keeps an album by the name and bytes of its file on another machine; what is here of it is joined, not lost.

    Raises:
      array_file.Damaged: if it is no whole album.
      cache.OtherVersion: if another version of the code painted it.
    """
    here = folder() / name
    if here.exists() and here.read_bytes() == content:
        return
    with tempfile.TemporaryDirectory() as apart:
        file = Path(apart) / name
        file.write_bytes(content)
        read(file).save()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """One process joins what another has written, and not what it is about to; on all machines that share the folder,
    if its file system has such locks."""
    folder().mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as until:
        try:
            lock = until.enter_context((folder() / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, by whatever end
        except OSError as error:
            logging.warning("%s cannot be locked (%s): of two that save at once one may lose frames.", folder(), error)
        yield


def files() -> Iterator[Path]:
    """All files of albums, sorted."""
    return cache.entries(folder())
