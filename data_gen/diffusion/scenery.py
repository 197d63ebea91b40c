"""Scenery: paints backdrops around rendered faces, looks at each, and paints refused ones again."""

import collections
import dataclasses
import logging
from collections.abc import Sequence

from data_gen import record
from data_gen.diffusion import backdrop, conditions, pipelines, prompts
from data_gen.diffusion.album import Backdrop
from data_gen.diffusion.backdrop import Shot
from data_gen.diffusion.config import DiffusionConfig
from data_gen.scene import Identity

QUALITY = 96  # of the JPEG in the album; only what is not the face is seen of it, and encoded once more


@dataclasses.dataclass
class Report:
    """How many backdrops were `found` in albums, `painted`, and given up, now or before (`rendered`: the frame keeps
    its rendered background); how many paintings were refused now for which `faults`."""

    found: int = 0
    painted: int = 0
    rendered: int = 0
    faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def count(self, done: Backdrop) -> None:
        """Adds one that was painted now."""
        self.painted += done.painting is not None
        self.rendered += done.painting is None
        self.faults.update(done.faults)

    def __str__(self):
        faults = ", ".join(f"{fault} {count}" for fault, count in sorted(self.faults.items())) or "none"
        return (
            f"backdrops: {self.painted} painted, {self.found} found in the cache, {self.rendered} frames left with "
            f"their rendered background; paintings refused: {faults}"
        )


def paint(
    shots: Sequence[Shot], person: Identity, size: int, config: DiffusionConfig
) -> tuple[list[Backdrop], dict[str, str]]:
    """Backdrops of frames of one person, of `size` pixels a side, by pinned settings; and what painted them.

    Raises:
      ValueError: if the prompt is longer than the model reads.
    """
    settings, prompt = config.backdrop, prompts.backdrop(person, config.backdrop)
    painter = pipelines.load(config, settings)
    painter.check_lengths([prompt.text, prompt.negative])
    painted: list[bytes | None] = [None] * len(shots)
    faults: list[list[str]] = [[] for _ in shots]
    waiting = list(range(len(shots)))
    for attempt in range(settings.tries):
        paintings = painter.paint(
            [conditions.draw(config, shots[i].depth, shots[i].fov, shots[i].landmarks) for i in waiting],
            [prompt.text] * len(waiting),
            [prompt.negative] * len(waiting),
            [prompts.backdrop_seed(person, attempt)] * len(waiting),
            [shots[i].start() for i in waiting],
        )
        for i, painting in zip(waiting, paintings, strict=True):
            fault = painting.fault or _fault(painting, shots[i], config)
            if fault:
                faults[i].append(fault)
            else:
                painted[i] = record.jpeg(backdrop.fitted(painting.picture, size), QUALITY)
        waiting = [i for i in waiting if painted[i] is None]
        if not waiting:
            break
    if waiting:
        said = "; ".join(sorted({fault for i in waiting for fault in faults[i]}))
        logging.warning(
            "Identity %d: %d of %d frames keep their rendered background: %d paintings of each were refused (%s).",
            person.id, len(waiting), len(shots), settings.tries, said,
        )  # fmt: skip
    made = [
        Backdrop(done, prompts.backdrop_seed(person, len(told) - (done is None)), tuple(told))
        for done, told in zip(painted, faults, strict=True)
    ]
    return made, painter.about


def _fault(painting: pipelines.Painting, shot: Shot, config: DiffusionConfig) -> str:
    return "" if config.check == "none" else backdrop.fault(painting.picture, shot)
