"""The generator on Apache Beam: the same examples, drawn wherever the runner has its workers.

Workers with a GPU paint portraits, many at a time, and send them on; those that draw need neither a GPU nor torch.
"""

import contextlib
import fcntl
import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from data_gen import array_file, finished, generate
from data_gen.diffusion import album, cache, studio
from data_gen.generator_config import GeneratorConfig
from data_gen.scene import identity

# People of an element of painting, without and with backdrops, of which each has dozens: minutes, so that loading the
# models is little beside them, and little is lost with a worker.
SITTING, SITTING_WITH_BACKDROPS = 64, 4
# What painting needs, as Dataflow names it; runners that do not choose machines take no notice.
ACCELERATOR = os.environ.get("PAINJAX_ACCELERATOR") or (
    "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
)


def examples(config: GeneratorConfig, identities: Sequence[int], keep: Path | None = None) -> beam.PTransform:
    """(key, example) of all frames of the identities, models pinned; an identity is an element of drawing.

    A worker that dies loses the identities of its bundle, and of those not what is finished, where `keep` is a folder
    that all workers see: identities are kept there, and taken from there if an earlier build has left them.
    """
    people = list(identities)
    if config.diffusion is None:
        portraits = "People" >> beam.Create([(index, None) for index in people])
    else:
        size = SITTING_WITH_BACKDROPS if config.diffusion.backdrop else SITTING
        sittings = [people[start : start + size] for start in range(0, len(people), size)]
        portraits = (
            "People" >> beam.Create(sittings)
            | "Distribute to painters" >> beam.Reshuffle()
            | "Paint"
            >> beam.FlatMap(functools.partial(_painted, config, keep)).with_resource_hints(accelerator=ACCELERATOR)
        )
    return (
        portraits
        | "Distribute" >> beam.Reshuffle()
        | "Draw" >> beam.FlatMap(functools.partial(_drawn, config, keep))
        | "Keep" >> beam.Reshuffle()  # TFDS reads them several times: what is drawn is not to be drawn again
    )


def _painted(
    config: GeneratorConfig, keep: Path | None, people: Sequence[int]
) -> Iterator[tuple[int, list[bytes] | None]]:
    """Identities with what was painted of them, as files of the cache; with None if they are finished. What this
    machine's cache holds is not painted again."""
    unfinished = [index for index in people if keep is None or finished.load(keep, index) is None]
    if unfinished:
        with _the_gpu():
            generate.with_portraits(config, unfinished)
    for index in people:
        yield index, [path.read_bytes() for path in _files(config, index)] if index in unfinished else None


def _drawn(config: GeneratorConfig, keep: Path | None, element: tuple[int, list[bytes] | None]) -> finished.Frames:
    index, painted = element
    if painted is not None:
        portrait, *book = _files(config, index)
        array_file.copy(portrait, painted[0])
        for path, content in zip(book, painted[1:], strict=True):
            album.keep(path.name, content)
    return generate.generate_apart(config, index, keep)


def _files(config: GeneratorConfig, index: int) -> list[Path]:
    """Where the portrait of an identity, and its backdrops where there are any, are in this machine's cache."""
    person, diffusion = identity(config.dataset_seed, index), config.diffusion
    files = [cache.path(studio.shaping(person, config.face_model, diffusion))]
    if diffusion.backdrop is not None:
        shaping = album.shaping(person, config.face_model, config.image_size, config.texture_size, diffusion)
        files.append(album.path(shaping))
    return files


@contextlib.contextmanager
def _the_gpu() -> Iterator[None]:
    """One process of a machine paints at a time: each would load the models."""
    with (Path(tempfile.gettempdir()) / f"painjax-{os.getuid()}-painting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, by whatever end
        yield
