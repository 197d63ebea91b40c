"""Action units -> expression shapes: one table, with the reason and the source of every row.

Intensities follow FACS (0..5 for A..E and what lies between, AU43 0 or 1); weights are those of the expression shapes,
0 at rest and 1 at full.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from painjax.pspi import AU_MAX, AU_NAMES

# Expression shapes that every face model must offer, by their ARKit names.
SHAPES = (
    "browDown_L", "browDown_R", "cheekSquint_L", "cheekSquint_R", "eyeSquint_L", "eyeSquint_R", "noseSneer_L",
    "noseSneer_R", "mouthUpperUp_L", "mouthUpperUp_R", "eyeBlink_L", "eyeBlink_R", "jawOpen", "mouthSmile_L",
    "mouthSmile_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R", "eyeWide_L", "eyeWide_R",
    "mouthFrown_L", "mouthFrown_R", "mouthStretch_L", "mouthStretch_R", "mouthLowerDown_L", "mouthLowerDown_R",
    "mouthShrugLower",
)  # fmt: skip

# Share of an action unit's full excursion that each FACS intensity shows, 0 and A..E. The scale's steps are not equal:
# trace and slight are narrow bands, marked and severe wide ones, and the maximum is the last bit (FACS Investigator's
# Guide, "Scoring intensity"). Each letter stands in its band; between letters the face moves in proportion.
EXCURSION = (0.0, 0.12, 0.28, 0.54, 0.82, 1.0)

FACS = "FACS manual (Ekman, Friesen & Hager 2002)"
ICT = "ICT-FaceKit's table of action units"
ARKIT = "ARKit blend-shape names"


@dataclasses.dataclass(frozen=True)
class Row:
    """How an action unit moves the face.

    Attributes:
      au: its name.
      shapes: (shape without its side, weight at full intensity).
      lean: share of a scene's asymmetry that it takes: the upper face is innervated from both hemispheres and moves
        nearly alike on both sides, the lower face is not; lids that stay closed and the jaw are alike.
      reason: the muscle, and why these shapes and weights.
      source: who says so.
    """

    au: str
    shapes: tuple[tuple[str, float], ...]
    lean: float
    reason: str
    source: str


TABLE = (
    Row("AU4", (("browDown", 1.0),), 0.6, "corrugator, depressor supercilii, procerus: brows down and together", ICT),
    Row("AU6", (("cheekSquint", 1.0),), 0.8, "orbicularis oculi, orbital part: lifts the cheek", ICT),
    Row("AU7", (("eyeSquint", 1.0),), 0.8, "orbicularis oculi, palpebral part: tightens and raises the lower lid", ICT),
    Row("AU9", (("noseSneer", 1.0),), 1.0, "levator labii superioris alaeque nasi: lifts the wings of the nose", ICT),
    Row(
        "AU10",
        (("mouthUpperUp", 1.0),),
        1.0,
        "levator labii superioris: ICT's table names mouthShrugUpper, which is what AU17 does to the upper lip",
        ARKIT,
    ),
    Row("AU43", (("eyeBlink", 1.0),), 0.0, "levator palpebrae relaxed: ICT's AU45, held", ICT),
)

# Action units that are no part of PSPI: what else faces do.
OTHERS = (
    Row("AU1", (("browInnerUp", 1.0),), 0.6, "frontalis, inner part", ICT),
    Row("AU2", (("browOuterUp", 1.0),), 1.0, "frontalis, outer part", ICT),
    Row("AU5", (("eyeWide", 1.0),), 0.6, "levator palpebrae: raises the upper lid", ICT),
    Row("AU12", (("mouthSmile", 1.0),), 1.0, "zygomaticus major: the corners go up and out", ICT),
    Row("AU15", (("mouthFrown", 1.0),), 1.0, "depressor anguli oris: the corners go down", ICT),
    Row("AU17", (("mouthShrugLower", 1.0),), 0.0, "mentalis: pushes chin boss and lower lip up", ICT),
    Row("AU20", (("mouthStretch", 1.0),), 1.0, "risorius: the corners go sideways and back", ICT),
    Row(
        "AU25",
        (("mouthLowerDown", 0.45), ("mouthUpperUp", 0.12), ("jawOpen", 0.06)),
        0.0,
        "relaxed mentalis or orbicularis oris: the lips part, teeth may show, the jaw stays up",
        FACS,
    ),
    Row("AU26", (("jawOpen", 0.4),), 0.0, "masseter relaxed: the jaw drops as far as it falls by itself", FACS),
    Row("AU27", (("jawOpen", 1.0),), 0.0, "pterygoids and digastric: the mouth is stretched open", FACS),
)
OTHER_AUS = tuple(row.au for row in OTHERS)

# Two units that pull the same tissue do not add up: to the stronger one the weaker adds only this share of itself.
ORBICULARIS_SHARE = 0.6  # AU6 + AU7 both narrow the eye; at full sum it looks shut, which is AU43's to say
LEVATOR_SHARE = 0.5  # AU9 + AU10 both raise the upper lip; at full sum the gums show
LID_SHARE = 0.5  # AU7 under closed lids tightens what is already shut


def shape_weights(aus: Sequence[float], asymmetry: float = 0.0, others: Mapping[str, float] = {}) -> dict[str, float]:
    """Expression-shape weights of action units.

    Args:
      aus: (6,) intensities in the order of `AU_NAMES`.
      asymmetry: -1..1; above 0 the right side is weaker, below 0 the left, so that the stronger side is to the weaker
        as 1 + |asymmetry| to 1 - |asymmetry|, each unit by its `Row.lean`. The intensity is that of the stronger side.
      others: intensities 0..5 of `OTHER_AUS`; those not named are at rest.

    Returns:
      shape name -> weight in 0..1; all zero for a neutral face.

    Raises:
      ValueError: if an intensity is out of its range, `aus` has not six values or an action unit is unknown.
    """
    aus = np.asarray(aus, np.float64)
    if aus.shape != (len(AU_NAMES),):
        raise ValueError(f"aus has shape {aus.shape}; expected ({len(AU_NAMES)},) in the order {', '.join(AU_NAMES)}.")
    unknown = sorted(set(others) - set(OTHER_AUS))
    if unknown:
        raise ValueError(f"action unit {unknown[0]!r} is unknown; expected one of {', '.join(OTHER_AUS)}.")
    for name, value, top in (*zip(AU_NAMES, aus, AU_MAX, strict=True), *((n, v, 5) for n, v in others.items())):
        if not 0 <= value <= top:
            raise ValueError(f"{name} is {value}; expected 0..{top:g}.")
    if not -1 <= asymmetry <= 1:
        raise ValueError(f"asymmetry is {asymmetry}; expected -1..1.")
    level = {name: _excursion(value) for name, value in (*zip(AU_NAMES, aus, strict=True), *others.items())}
    level["AU43"] = float(aus[AU_NAMES.index("AU43")])  # closed or not, no letters
    _saturate(level)
    weights: dict[str, float] = {}
    for row in (*TABLE, *(row for row in OTHERS if row.au in level)):
        for shape, weight in row.shapes:
            for name, share in _sides(shape, row.lean * asymmetry):
                already = weights.get(name, 0.0)
                weights[name] = already + (1 - already) * level[row.au] * weight * share  # never beyond 1
    return weights


def _excursion(intensity: float) -> float:
    return float(np.interp(intensity, range(len(EXCURSION)), EXCURSION))


def _saturate(level: dict[str, float]) -> None:
    """Applies the rules for units that act on the same tissue, in place."""
    level["AU6"], level["AU7"] = _share(level["AU6"], level["AU7"], ORBICULARIS_SHARE)
    level["AU9"], level["AU10"] = _share(level["AU9"], level["AU10"], LEVATOR_SHARE)
    level["AU7"] *= 1 - (1 - LID_SHARE) * level["AU43"]
    if "AU5" in level:
        level["AU5"] *= 1 - level["AU43"]  # closed is closed


def _share(a: float, b: float, share: float) -> tuple[float, float]:
    """Scales two levels alike: their sum becomes the larger plus `share` of the smaller and never falls."""
    total = a + b
    factor = (max(a, b) + share * min(a, b)) / total if total else 1.0
    return a * factor, b * factor


def _sides(shape: str, lean: float) -> tuple[tuple[str, float], ...]:
    """Names of the shape and the share of its weight on each side."""
    if shape in SHAPES:
        return ((shape, 1.0),)
    stronger = 1 + abs(lean)
    return ((f"{shape}_L", (1 + lean) / stronger), (f"{shape}_R", (1 - lean) / stronger))
