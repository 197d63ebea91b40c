"""Batches: shuffled without end for training, one masked pass for evaluation; each process reads only its rows."""

import functools
from collections.abc import Callable
from typing import Any

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from painjax.data.batches import Batches
from painjax.data.flip import is_flipped
from painjax.data.sources import FrameSource
from painjax.errors import UserError

_ENDLESS = 2**40  # batches


def train_batches(config: ConfigDict) -> Batches:
    """Endless batches of the training split, reshuffled every epoch from `config.seed`.

    Returns:
      This process's rows of each global batch of `config.batch_size`: a dict of uint8 images
      [b, S, S, C] (`image`, `neutral_image`, `heatmap`: those of `image_fields`), `aus` [b, 6], `pspi` [b],
      `identity` [b], `index` [b], `flip` [b] bool, and `valid` [b], all True. Batch k depends on nothing but the seed
      and k.

    Raises:
      UserError: see `FrameSource`; or if the batch does not divide over the processes.
    """
    source = FrameSource(config.data.name, config.data.train_split, image_fields(config), config.data.data_dir)
    order = grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
    return _batches(config, _ENDLESS, functools.partial(_training_example, config, source, order))


def eval_batches(config: ConfigDict, split: str) -> Batches:
    """One pass over `split` in order, in batches as of `train_batches`.

    The last batch is filled up by repeating the last example with `valid` False: nothing is dropped, and every process
    makes the same number of equal batches. Pain heatmaps come along wherever the data set has them, to be measured by.
    """
    source = FrameSource(config.data.name, split, _seen(config), config.data.data_dir, if_there=("heatmap",))
    count = -(-len(source) // config.batch_size)
    return _batches(config, count, functools.partial(_evaluation_example, source))


def image_fields(config: ConfigDict) -> tuple[str, ...]:
    """The images that training needs, so that no others are decoded, and data sets without heatmaps will do."""
    images = _seen(config)
    guided = config.get("teacher") or config.loss.get("heatmap") or config.loss.get("attention")
    return (*images, "heatmap") if guided and "heatmap" not in images else images


def _seen(config: ConfigDict) -> tuple[str, ...]:
    """The images that the model itself takes."""
    if config.data.input == "heatmap":
        return ("heatmap",)
    return ("image",) if config.model.neutral == "none" else ("image", "neutral_image")


def _batches(config: ConfigDict, count: int, load: Callable[[int], dict[str, Any]]) -> Batches:
    """This process's rows of `count` global batches, of examples `load(0)`, `load(1)`, ...

    Global batch k is examples k * batch_size onwards, whatever the number of processes, and a process takes a block of
    it: row r is the same example everywhere, and so are the random numbers that the model draws for row r.
    """
    rows, rest = divmod(config.batch_size, jax.process_count())
    if rest:
        raise UserError(
            f"config.batch_size = {config.batch_size} does not divide over {jax.process_count()} processes."
        )
    own = functools.partial(_own_example, load, rows, config.batch_size, jax.process_index() * rows)
    return Batches(own, rows, count, threads=config.data.get("threads", 2), workers=config.data.get("workers", 0))


# Functions of the module rather than closures: worker processes are sent them by name.
def _own_example(load: Callable[[int], dict[str, Any]], rows: int, batch_size: int, first: int, i: int) -> dict:
    """The i-th example of a process whose block of `rows` rows begins at row `first` of every batch."""
    batch, row = divmod(i, rows)
    return load(batch * batch_size + first + row)


def _training_example(config: ConfigDict, source: FrameSource, order: grain.MapDataset, i: int) -> dict[str, Any]:
    return source[int(order[i])] | {"flip": is_flipped(config, i), "valid": np.True_}


def _evaluation_example(source: FrameSource, i: int) -> dict[str, Any]:
    last = len(source) - 1
    return source[min(i, last)] | {"valid": np.bool_(i <= last)}
