"""Expressions that are no pain but look like some of it: what a pain system must not fall for.

Each is drawn in FACS units (EMFACS and the FACS manual's prototypes), the six of PSPI among them where they belong:
a smile that reaches the eyes has AU6 and so a PSPI above 0, by the formula. That score is what the label says; that it
is no pain, is what `kind` says.
"""

import numpy as np

from data_gen.scene import stream
from painjax.pspi import AU_NAMES

DISTRACTORS = (
    "smile",
    "laugh",
    "surprise",
    "fear",
    "disgust",
    "sadness",
    "concentration",
    "speech",
    "yawn",
    "blink",
)

# Lowest and highest intensity of each unit, drawn evenly between; a low of 0 leaves it out at times.
PROTOTYPES: dict[str, dict[str, tuple[int, int]]] = {
    "smile": {"AU6": (1, 4), "AU12": (2, 5), "AU25": (0, 2)},
    "laugh": {"AU6": (3, 5), "AU7": (0, 3), "AU12": (4, 5), "AU25": (2, 4), "AU26": (2, 4)},
    "surprise": {"AU1": (2, 5), "AU2": (2, 5), "AU5": (1, 4), "AU25": (1, 3), "AU26": (1, 4)},
    "fear": {"AU1": (2, 5), "AU2": (1, 4), "AU4": (1, 4), "AU5": (2, 5), "AU20": (1, 4), "AU25": (1, 3)},
    "disgust": {"AU9": (1, 4), "AU10": (0, 4), "AU17": (1, 4), "AU15": (0, 2)},
    "sadness": {"AU1": (2, 5), "AU4": (1, 3), "AU15": (1, 4), "AU17": (0, 3)},
    "concentration": {"AU4": (1, 4), "AU7": (0, 3), "AU17": (0, 2)},
    "speech": {"AU25": (1, 4), "AU26": (0, 3), "AU12": (0, 2), "AU17": (0, 2), "AU20": (0, 2), "AU10": (0, 1)},
    "yawn": {"AU27": (3, 5), "AU25": (3, 5), "AU4": (0, 2), "AU7": (0, 3), "AU43": (0, 1)},
    "blink": {"AU43": (1, 1)},
}


def distractor(seed: int, name: str) -> tuple[tuple[float, ...], tuple[tuple[str, float], ...]]:
    """Action units of a distractor.

    Args:
      seed: of the expression.
      name: one of `DISTRACTORS`.

    Returns:
      the six intensities of `AU_NAMES`, and (unit, intensity) pairs of the units outside PSPI: integers, as FACS codes.

    Raises:
      ValueError: if there is no such distractor.
    """
    if name not in PROTOTYPES:
        raise ValueError(f"distractor is {name!r}; expected one of {', '.join(DISTRACTORS)}.")
    rng: np.random.Generator = stream(seed, "distractor")
    levels = {unit: float(rng.integers(low, high + 1)) for unit, (low, high) in PROTOTYPES[name].items()}
    aus = tuple(levels.get(unit, 0.0) for unit in AU_NAMES)
    return aus, tuple((unit, level) for unit, level in levels.items() if unit not in AU_NAMES and level > 0)
