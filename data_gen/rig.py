"""Action units -> expression shapes: one table, with the reason for every row.

Intensities follow FACS (0..5, AU43 0 or 1); weights are those of the expression shapes, 0 at rest and 1 at full.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from painjax.pspi import AU_MAX, AU_NAMES

# Expression shapes that every face model must offer, by their ARKit names.
SHAPES = (
    "browDown_L", "browDown_R", "cheekSquint_L", "cheekSquint_R", "eyeSquint_L", "eyeSquint_R", "noseSneer_L",
    "noseSneer_R", "mouthUpperUp_L", "mouthUpperUp_R", "eyeBlink_L", "eyeBlink_R", "jawOpen", "mouthSmile_L",
    "mouthSmile_R",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """How an action unit moves the face: `shape` (both sides) reaches `weight` at full intensity; `reason` says why."""

    au: str
    shape: str
    weight: float
    reason: str


TABLE = (
    Row("AU4", "browDown", 1.0, "ICT-FaceKit's published AU table"),
    Row("AU6", "cheekSquint", 1.0, "ICT-FaceKit's published AU table; orbicularis oculi, pars orbitalis"),
    Row("AU7", "eyeSquint", 1.0, "ICT-FaceKit's published AU table; orbicularis oculi, pars palpebralis"),
    Row("AU9", "noseSneer", 0.8, "ICT-FaceKit's published AU table; at 1.0 it bares the gums"),
    Row(
        "AU10",
        "mouthUpperUp",
        0.7,
        "ARKit convention (levator labii superioris); ICT names mouthShrugUpper, which is AU17's lip",
    ),
    Row("AU43", "eyeBlink", 1.0, "ICT-FaceKit's AU45, held"),
)

# Two units that pull the same tissue do not add up: to the stronger one the weaker adds only this share of itself.
ORBICULARIS_SHARE = 0.6  # AU6 + AU7 both narrow the eye; at full sum it looks shut, which is AU43's to say
LEVATOR_SHARE = 0.2  # AU9 + AU10 both raise the upper lip; at full sum the gums show
LID_SHARE = 0.5  # AU7 under closed lids tightens what is already shut


def shape_weights(aus: Sequence[float], asymmetry: float = 0.0) -> dict[str, float]:
    """Expression-shape weights of six action units.

    Args:
      aus: (6,) intensities in the order of `AU_NAMES`.
      asymmetry: fraction by which the left side is stronger and the right side weaker, -1..1.

    Returns:
      shape name -> weight in 0..1; all zero for a neutral face.

    Raises:
      ValueError: if an intensity is out of its range or `aus` has not six values.
    """
    aus = np.asarray(aus, np.float64)
    if aus.shape != (len(AU_NAMES),):
        raise ValueError(f"aus has shape {aus.shape}; expected ({len(AU_NAMES)},) in the order {', '.join(AU_NAMES)}.")
    for name, value, top in zip(AU_NAMES, aus, AU_MAX, strict=True):
        if not 0 <= value <= top:
            raise ValueError(f"{name} is {value}; expected 0..{top:g}.")
    level = dict(zip(AU_NAMES, aus / np.asarray(AU_MAX), strict=True))
    level["AU6"], level["AU7"] = _share(level["AU6"], level["AU7"], ORBICULARIS_SHARE)
    level["AU9"], level["AU10"] = _share(level["AU9"], level["AU10"], LEVATOR_SHARE)
    level["AU7"] *= 1 - (1 - LID_SHARE) * level["AU43"]
    weights = {}
    for row in TABLE:
        lean = 0.0 if row.au == "AU43" else asymmetry  # sustained closure is closure on both sides
        weights[f"{row.shape}_L"] = float(np.clip(level[row.au] * row.weight * (1 + lean), 0, 1))
        weights[f"{row.shape}_R"] = float(np.clip(level[row.au] * row.weight * (1 - lean), 0, 1))
    return weights


def _share(a: float, b: float, share: float) -> tuple[float, float]:
    """Scales two levels alike: their sum becomes the larger plus `share` of the smaller and never falls."""
    total = a + b
    factor = (max(a, b) + share * min(a, b)) / total if total else 1.0
    return a * factor, b * factor
