"""In which order a training sees its frames."""

import grain
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from painjax.data.sources import FrameSource

SAMPLING = ("uniform", "balanced")
# The last score of each class of PSPI: none, 1-2, 3-4, 5-8, 9-16, as in studies of shoulder pain, where high scores
# are rare.
CLASS_ENDS = (0.0, 2.0, 4.0, 8.0, 16.0)


def order(config: ConfigDict, source: FrameSource) -> grain.MapDataset:
    """The frame that each example of an endless training is of: `order[i]`, from nothing but `config.seed` and i.

    'uniform': every epoch holds each frame once. 'balanced': the classes of PSPI take turns, so that each is seen
    equally often, those that no frame of the split belongs to left out; within a class every round holds each of its
    frames once, so that no batch holds a frame twice unless its class has fewer frames than places in it.
    """
    if config.data.get("sampling", "uniform") == "uniform":
        return grain.MapDataset.range(len(source)).seed(config.seed).shuffle().repeat()
    (scores,) = source.columns("pspi")
    classes = pspi_classes(scores)
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    return grain.MapDataset.mix(
        [
            grain.MapDataset.source(frames).seed(config.seed + number).shuffle().repeat()
            for number, frames in enumerate(members)
        ]
    )


def pspi_classes(scores: Float[np.ndarray, "N"]) -> np.ndarray:
    """The class 0..4 of each PSPI; fractions, as of clips, belong to the class that ends next."""
    return np.digitize(scores, CLASS_ENDS[:-1], right=True)
