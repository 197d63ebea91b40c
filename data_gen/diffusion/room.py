"""Room for what is painted: the disk that portraits and backdrops take in the cache, asked for before any is."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_gen import plan, preflight
from data_gen.diffusion import album, cache, studio
from data_gen.generator_config import GeneratorConfig
from data_gen.scene import identity

# As PNG, with depth and skin beside it, and as JPEG of `scenery.QUALITY`; a rendered portrait and frame take less
# (tests/data_gen/diffusion/test_room.py), since photographs have more noise.
PORTRAIT_BYTES_PER_PIXEL, BACKDROP_BYTES_PER_PIXEL = 2.0, 0.8


def needed_bytes(config: GeneratorConfig, people: Sequence[int]) -> int:
    """Bytes that the cache will grow by, by files that are not there yet; one that is there counts as whole.

    `config` has pinned models.
    """
    seeds = plan.example_seeds(config.dataset_seed, 0, config.plan)
    frames = len(plan.needed(seeds, config.neutral_variation)[2])  # as many of everybody
    return sum(size for index in people for file, size in _files(config, index, frames) if not file.exists())


def check(config: GeneratorConfig, people: Sequence[int], beside: Path | None = None, beside_bytes: int = 0) -> None:
    """Refuses to paint what the cache's disk cannot hold.

    Args:
      config: settings whose models are pinned; without diffusion there is nothing to check.
      people: indices of identities.
      beside: where a data set of `beside_bytes` is to be built, which may be the same disk.

    Raises:
      OSError: if there is not enough room; the message has the estimate.
    """
    if config.diffusion is None:
        return
    folder, painted = _existing(cache.folder()), needed_bytes(config, people)
    same = beside is not None and _existing(beside).stat().st_dev == folder.stat().st_dev
    needed, free = painted + same * beside_bytes, shutil.disk_usage(folder).free
    if painted and free < needed:
        both = f", {preflight.readable(needed)} with the data set on the same disk" if same else ""
        raise OSError(
            f"Too little room in {cache.folder().parent} for the portraits and backdrops of {len(people):,} people: "
            f"they take about {preflight.readable(painted)}{both}, and {preflight.readable(free)} are free. Make room, "
            "or set PAINJAX_CACHE to a folder elsewhere."
        )


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _files(config: GeneratorConfig, index: int, frames: int) -> Iterator[tuple[Path, int]]:
    """The files of a person, and how large they become."""
    diffusion, person = config.diffusion, identity(config.dataset_seed, index)
    portrait = int(PORTRAIT_BYTES_PER_PIXEL * diffusion.size**2)
    if diffusion.side_views is not None:  # the portrait is kept alone, too
        frontal = dataclasses.replace(diffusion, side_views=None)
        yield cache.path(studio.shaping(person, config.face_model, frontal)), portrait
        views = diffusion.side_views
        portrait += int(len(views.yaws) * PORTRAIT_BYTES_PER_PIXEL * views.size**2)
    yield cache.path(studio.shaping(person, config.face_model, diffusion)), portrait
    if diffusion.backdrop is not None:
        shaping = album.shaping(person, config.face_model, config.image_size, config.texture_size, diffusion)
        yield album.path(shaping), int(frames * BACKDROP_BYTES_PER_PIXEL * config.image_size**2)
