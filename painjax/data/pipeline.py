"""Batches: shuffled without end for training, one masked pass for evaluation; a process reads only its own rows."""

import functools
from collections.abc import Callable
from typing import Any

import grain
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from painjax.data.batches import Batches
from painjax.data.flip import is_flipped
from painjax.data.precomputed import PrecomputedOutputs
from painjax.data.references import References
from painjax.data.sampling import order
from painjax.data.sources import FrameSource

_ENDLESS = 2**40  # batches


def train_batches(config: ConfigDict, rows: Int[np.ndarray, "b"] | None = None) -> Batches:
    """Endless batches of the training split, in the order that `config.data.sampling` and `config.seed` make.

    Args:
      config: the experiment.
      rows: of each global batch, of `config.batch_size`, those to make (`painjax.sharding.process_rows`); None: all.

    Returns:
      These rows of each global batch: a dict of uint8 images [b, S, S, C] (`image`, `neutral_image`, `heatmap`: those
      of `image_fields`; [b, K, S, S, 3] the neutral images where `config.data.neutral` is 'several'), `aus` [b, 6],
      `pspi` [b], `identity` [b], `index` [b], `row` [b] (in the global batch), `flip` [b] bool, and `valid` [b], all
      True; with `config.data.landmarks` also `landmarks` [b, 68, 2], in pixels of the stored
      picture, and `landmarks_visible` [b, 68]; with `config.teacher_outputs` also the fields of
      `Manifest.unpack`, [b, ...], of each frame as it is or mirrored. Batch k depends on nothing but the seed and k.

    Raises:
      UserError: see `FrameSource`, `References` and `PrecomputedOutputs`.
    """
    frames = _Frames(config, config.data.train_split, image_fields(config))
    outputs = PrecomputedOutputs(config.teacher_outputs) if config.get("teacher_outputs") else None
    examples = functools.partial(_training_example, config, frames, outputs, order(config, frames.source))
    return _batches(config, _ENDLESS, examples, rows)


def eval_batches(config: ConfigDict, split: str, rows: Int[np.ndarray, "b"] | None = None) -> Batches:
    """One pass over `split` in order, in batches as of `train_batches`.

    The last batch is filled up by repeating the last example with `valid` False: nothing is dropped, and every process
    makes the same number of equal batches. Pain heatmaps come along wherever the data set has them, to be measured by.
    """
    frames = _Frames(config, split, _seen(config), if_there=("heatmap",))
    count = -(-len(frames.source) // config.batch_size)
    return _batches(config, count, functools.partial(_evaluation_example, frames), rows)


def evaluation_frames(
    config: ConfigDict, split: str, index: Int[np.ndarray, "K"], images: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Frames `index` of `split`, each with the neutral references that it has in `eval_batches`."""
    frames = _Frames(config, split, images, if_there=("heatmap",))
    return [frames.read(int(i), int(i)) for i in index]


def image_fields(config: ConfigDict) -> tuple[str, ...]:
    """The images that training needs, so that no others are decoded, and data sets without heatmaps will do."""
    images = _seen(config)
    teacher = config.get("teacher") and not config.get("teacher_outputs")  # that sees them in the step
    guided = teacher or config.loss.get("heatmap") or config.loss.get("attention")
    return (*images, "heatmap") if guided and "heatmap" not in images else images


def _seen(config: ConfigDict) -> tuple[str, ...]:
    """The images that the model itself takes."""
    if config.data.input == "heatmap":
        return ("heatmap",)
    return ("image",) if config.model.neutral == "none" else ("image", "neutral_image")


class _Frames:
    """The frames of a split, each with the neutral references that the experiment gives it."""

    def __init__(self, config: ConfigDict, split: str, images: tuple[str, ...], if_there: tuple[str, ...] = ()):
        chosen = "neutral_image" in images and config.data.get("neutral", "same_view") != "same_view"
        fields = tuple(name for name in images if not (chosen and name == "neutral_image"))
        if config.data.get("landmarks", False):
            fields += ("landmarks", "landmarks_visible")
        self.source = FrameSource(config.data.name, split, fields, config.data.data_dir, if_there=if_there)
        self._references = References(config, self.source) if chosen else None
        self._several = chosen and config.data.neutral == "several"

    def read(self, index: int, *draw: int) -> dict[str, Any]:
        """Frame `index`; which references it gets follows from the numbers `draw`."""
        frame = self.source[index]
        if self._references is None:
            return frame
        chosen = self._references.draw(index, np.random.default_rng(draw))
        pictures = np.stack([self.source.picture(int(i), "neutral_image") for i in chosen])  # [K, S, S, 3]
        return frame | {"neutral_image": pictures if self._several else pictures[0]}


def _batches(
    config: ConfigDict, count: int, load: Callable[[int], dict[str, Any]], rows: Int[np.ndarray, "b"] | None
) -> Batches:
    """`rows` of `count` global batches, of examples `load(0)`, `load(1)`, ...

    Global batch k is examples k * batch_size onwards, whatever the number of processes and the mesh: row r is the same
    example everywhere, and so are the random numbers that the model draws for row r.
    """
    rows = np.arange(config.batch_size) if rows is None else rows
    own = functools.partial(_own_example, load, rows.tolist(), config.batch_size)
    threads, workers = config.data.get("threads", 2), config.data.get("workers", 0)
    return Batches(own, len(rows), count, threads=threads, workers=workers)


# Functions of the module rather than closures: worker processes are sent them by name.
def _own_example(load: Callable[[int], dict[str, Any]], rows: list[int], batch_size: int, i: int) -> dict:
    """The i-th example of a process that makes these rows of every batch."""
    batch, place = divmod(i, len(rows))
    return load(batch * batch_size + rows[place])


def _training_example(
    config: ConfigDict, frames: _Frames, outputs: PrecomputedOutputs | None, order: grain.MapDataset, i: int
) -> dict[str, Any]:
    index, flip = int(order[i]), is_flipped(config, i)
    taught = {} if outputs is None else outputs.read(index, bool(flip))
    row = np.int32(i % config.batch_size)
    return frames.read(index, config.seed, i) | taught | {"row": row, "flip": flip, "valid": np.True_}


def _evaluation_example(frames: _Frames, i: int) -> dict[str, Any]:
    index = min(i, len(frames.source) - 1)
    return frames.read(index, index) | {"valid": np.bool_(i == index)}
