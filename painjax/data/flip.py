"""Which frames of a training are mirrored: decided where batches are read, because it says what to read.

What the teacher has said of a frame before (`painjax precompute`) depends on it. All else that is random is drawn on
the device.
"""

import numpy as np
from ml_collections import ConfigDict


def is_flipped(config: ConfigDict, position: int) -> np.bool_:
    """Whether the example at `position` of the whole training, counted over batches and epochs, is mirrored.

    True with chance `config.data.augment.flip`, by `config.seed` and the position alone: the same in every process, and
    in a training that was interrupted.
    """
    word = np.random.Philox(key=config.seed, counter=position).random_raw()  # of 64 bits
    return np.bool_(word < config.data.augment.flip * 2.0**64)
