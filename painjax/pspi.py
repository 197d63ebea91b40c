"""Action units of pain and the PSPI score: names, order, ranges and the one formula.

Everything in the project that orders action units orders them as `AU_NAMES`; nothing else spells the formula out.

Source: Prkachin & Solomon, "The structure, reliability and validity of pain expression", Pain 139 (2008) 267-274.
"""

import numpy as np

AU_NAMES = ("AU4", "AU6", "AU7", "AU9", "AU10", "AU43")
AU_MUSCLES = (
    "brow lowerer",
    "cheek raiser",
    "lid tightener",
    "nose wrinkler",
    "upper-lip raiser",
    "eyes closed",
)
# FACS intensities A-E are 1..5. Closing the eyes is an event in PSPI, not an intensity: 0 or 1, never 0..5.
AU_MAX = (5.0, 5.0, 5.0, 5.0, 5.0, 1.0)
PSPI_MAX = 16.0
PSPI_THRESHOLDS = (1, 2, 3)


def pspi(aus):
    """PSPI = AU4 + max(AU6, AU7) + max(AU9, AU10) + AU43.

    Args:
      aus: (..., 6) array, NumPy or JAX, intensities in the order of `AU_NAMES`; AU43 is 0 or 1.

    Returns:
      (...) array of the same library, 0..16.

    Raises:
      ValueError: if the last axis does not hold the six action units.
    """
    if aus.ndim < 1 or aus.shape[-1] != len(AU_NAMES):
        raise ValueError(
            f"aus has shape {tuple(aus.shape)}; expected (..., {len(AU_NAMES)}) in the order {', '.join(AU_NAMES)}."
        )
    au4, au6, au7, au9, au10, au43 = (aus[..., i] for i in range(len(AU_NAMES)))
    return au4 + _larger(au6, au7) + _larger(au9, au10) + au43


def au_shares(aus):
    """Each unit's part in an expression: its fraction of its maximum, over the sum of them; 0 for a face at rest.

    Args:
      aus: (..., 6) array, NumPy or JAX, intensities in the order of `AU_NAMES`.

    Returns:
      (..., 6) array of the same library, which sums to 1 or 0.
    """
    fractions = aus / np.reshape(np.asarray(AU_MAX, aus.dtype), (1,) * (aus.ndim - 1) + (-1,))
    total = fractions.sum(axis=-1, keepdims=True)
    return fractions / (total + (total == 0))


def _larger(a, b):
    return a * (a >= b) + b * (a < b)  # arithmetic, so that NumPy and JAX arrays both pass through unchanged
