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

# Share of an action unit's full excursion that each FACS intensity shows: 0 and A..E. The letters are no equal steps:
# A (trace) and B (slight) are narrow bands, C (marked) and D (severe) wide ones, E (maximum) the last bit of the range
# (FACS manual 2002, chapter 2, on intensity scoring). Each letter stands in its band; from letter to letter the face
# moves in proportion, so that more is always more.
EXCURSION = (0.0, 0.12, 0.28, 0.54, 0.82, 1.0)

FACS = "FACS manual (Ekman, Friesen & Hager 2002)"
ICT = "ICT-FaceKit's table of action units"
PAIN = "Prkachin & Solomon, Pain 139 (2008)"


@dataclasses.dataclass(frozen=True)
class Row:
    """How an action unit moves the face.

    Attributes:
      au: its name.
      shapes: (shape without its side, weight at full intensity).
      lean: share of a scene's asymmetry that it takes. The upper face is innervated from both hemispheres and moves
        nearly alike on both sides, the lower face is not; the jaw and lids that stay closed are alike.
      reason: the muscle, what a coder sees of it, and why these shapes and weights.
      source: who says so.
      joins: (unit that pulls the same tissue, share): together they do not add up; the stronger acts in full and the
        weaker adds this share of itself, both scaled alike.
      yields: (unit that overrules it, share it keeps when that one is at its maximum).
    """

    au: str
    shapes: tuple[tuple[str, float], ...]
    lean: float
    reason: str
    source: str
    joins: tuple[str, float] | None = None
    yields: tuple[str, float] | None = None


TABLE = (
    Row(
        "AU4",
        (("browDown", 1.0),),
        0.6,
        "corrugator, depressor supercilii, procerus: brows come down and together, the skin between them bunches",
        f"{FACS}; {ICT}",
    ),
    Row(
        "AU6",
        (("cheekSquint", 1.0),),
        0.8,
        "orbicularis oculi, orbital part: lifts the cheek, gathers skin below and beside the eye, narrows it a little; "
        "with AU7 at full sum the eye looks shut, which is AU43's to say",
        f"{FACS}; {ICT}",
        joins=("AU7", 0.6),
    ),
    Row(
        "AU7",
        (("eyeSquint", 1.0),),
        0.8,
        "orbicularis oculi, palpebral part: tightens, straightens and raises the lower lid, halves the opening; under "
        "closed lids it tightens what is already shut; PSPI takes the stronger of AU6 and AU7 for one action",
        f"{FACS}; {ICT}; {PAIN}",
        joins=("AU6", 0.6),
        yields=("AU43", 0.5),
    ),
    Row(
        "AU9",
        (("noseSneer", 1.0),),
        1.0,
        "levator labii superioris alaeque nasi: lifts the wings of the nose and wrinkles its root, draws the lip up "
        "less than AU10 does; with AU10 at full sum the gums show",
        f"{FACS}; {ICT}",
        joins=("AU10", 0.5),
    ),
    Row(
        "AU10",
        (("mouthUpperUp", 1.0),),
        1.0,
        "levator labii superioris: lifts the lip's middle straight up, its corners hardly; ICT's table names "
        "mouthShrugUpper, which is what AU17 does to the upper lip, so this is ARKit's mouthUpperUp; PSPI takes the "
        "stronger of AU9 and AU10 for one action",
        f"{FACS}; ARKit blend-shape names; {PAIN}",
        joins=("AU9", 0.5),
    ),
    Row(
        "AU43",
        (("eyeBlink", 1.0),),
        0.0,
        "levator palpebrae relaxed: closed or not, on both sides; ICT's AU45, held",
        f"{PAIN}; {ICT}",
    ),
)

# Action units that are no part of PSPI: what else faces do.
OTHERS = (
    Row("AU1", (("browInnerUp", 1.0),), 0.6, "frontalis, inner part: raises the brows' heads", f"{FACS}; {ICT}"),
    Row("AU2", (("browOuterUp", 1.0),), 1.0, "frontalis, outer part: arches the brows' tails", f"{FACS}; {ICT}"),
    Row(
        "AU5",
        (("eyeWide", 1.0),),
        0.6,
        "levator palpebrae: raises the upper lid; closed lids overrule it",
        f"{FACS}; {ICT}",
        yields=("AU43", 0.0),
    ),
    Row("AU12", (("mouthSmile", 1.0),), 1.0, "zygomaticus major: the corners go up and out", f"{FACS}; {ICT}"),
    Row("AU15", (("mouthFrown", 1.0),), 1.0, "depressor anguli oris: the corners go down", f"{FACS}; {ICT}"),
    Row("AU17", (("mouthShrugLower", 1.0),), 0.0, "mentalis: pushes chin boss and lower lip up", f"{FACS}; {ICT}"),
    Row("AU20", (("mouthStretch", 1.0),), 1.0, "risorius: the corners go sideways and back", f"{FACS}; {ICT}"),
    Row(
        "AU25",
        (("mouthLowerDown", 0.45), ("mouthUpperUp", 0.12), ("jawOpen", 0.06)),
        0.0,
        "depressor labii, mentalis or orbicularis oris relaxed: the lips part, teeth may show, the jaw stays up",
        FACS,
    ),
    Row("AU26", (("jawOpen", 0.4),), 0.0, "masseter relaxed: the jaw drops as far as it falls by itself", FACS),
    Row("AU27", (("jawOpen", 1.0),), 0.0, "pterygoids, digastric: the mouth is stretched open", f"{FACS}; {ICT}"),
)
OTHER_AUS = tuple(row.au for row in OTHERS)
ROWS = {row.au: row for row in (*TABLE, *OTHERS)}


def activations(
    aus: Sequence[float], asymmetry: float = 0.0, others: Mapping[str, float] = {}
) -> dict[str, tuple[float, float]]:
    """How far each action unit pulls each side of the face: its intensity by the rules of its row. Shapes and wrinkles
    both follow from this.

    Args:
      aus: (6,) intensities in the order of `AU_NAMES`.
      asymmetry: -1..1; above 0 the right side is weaker, below 0 the left, so that the stronger side is to the weaker
        as 1 + |asymmetry| to 1 - |asymmetry|, each unit by its `Row.lean`. The intensity is that of the stronger side.
      others: intensities 0..5 of `OTHER_AUS`; those not named are at rest.

    Returns:
      unit of `AU_NAMES` or `others` -> shares of its full excursion on the subject's left and right, 0..1.

    Raises:
      ValueError: if an intensity is out of its range (of AU43: neither 0 nor 1), `aus` has not six values or an action
        unit is unknown.
    """
    aus = np.asarray(aus, np.float64)
    if aus.shape != (len(AU_NAMES),):
        raise ValueError(f"aus has shape {aus.shape}; expected ({len(AU_NAMES)},) in the order {', '.join(AU_NAMES)}.")
    unknown = sorted(set(others) - set(OTHER_AUS))
    if unknown:
        raise ValueError(f"action unit {unknown[0]!r} is unknown; expected one of {', '.join(OTHER_AUS)}.")
    closed = float(aus[AU_NAMES.index("AU43")])
    if closed not in (0, 1):
        raise ValueError(f"AU43 is {closed}; expected 0 (lids open) or 1 (closed), nothing between.")
    for name, value, top in (*zip(AU_NAMES, aus, AU_MAX, strict=True), *((n, v, 5) for n, v in others.items())):
        if not 0 <= value <= top:
            raise ValueError(f"{name} is {value}; expected 0..{top:g}.")
    if not -1 <= asymmetry <= 1:
        raise ValueError(f"asymmetry is {asymmetry}; expected -1..1.")
    level = {name: _excursion(value) for name, value in (*zip(AU_NAMES, aus, strict=True), *others.items())}
    level["AU43"] = closed  # no letters
    return {row.au: _sides(_acting(row, level), row.lean * asymmetry) for row in ROWS.values() if row.au in level}


def shape_weights(aus: Sequence[float], asymmetry: float = 0.0, others: Mapping[str, float] = {}) -> dict[str, float]:
    """Expression-shape weights of action units.

    Args:
      aus, asymmetry, others: as `activations` takes them.

    Returns:
      shape name -> weight in 0..1; all zero for a neutral face.

    Raises:
      ValueError: as `activations` does.
    """
    weights: dict[str, float] = {}
    for au, (left, right) in activations(aus, asymmetry, others).items():
        for shape, weight in ROWS[au].shapes:
            sides = {f"{shape}_L": left, f"{shape}_R": right}
            for name, share in ({shape: left} if shape in SHAPES else sides).items():  # jaw and chin are of both sides
                already = weights.get(name, 0.0)
                weights[name] = already + (1 - already) * weight * share  # never beyond 1
    return weights


def check_shapes(shapes: Mapping[str, float]) -> None:
    """Raises ValueError if a shape is not one of `SHAPES`, or its weight lies outside 0..1."""
    for name, weight in shapes.items():
        if name not in SHAPES:
            raise ValueError(f"expression shape {name!r} is unknown; expected one of {', '.join(SHAPES)}.")
        if not 0 <= weight <= 1:
            raise ValueError(f"expression shape {name} has weight {weight}; expected 0..1.")


def _excursion(intensity: float) -> float:
    return float(np.interp(intensity, range(len(EXCURSION)), EXCURSION))


def _acting(row: Row, level: Mapping[str, float]) -> float:
    """Level of a row's unit among the others, by the rules of the row."""
    acting = level[row.au]
    if row.joins:
        other, share = level[row.joins[0]], row.joins[1]
        if acting + other:
            acting *= (max(acting, other) + share * min(acting, other)) / (acting + other)
    if row.yields:
        acting *= 1 - (1 - row.yields[1]) * level[row.yields[0]]
    return acting


def _sides(acting: float, lean: float) -> tuple[float, float]:
    """Left and right: the stronger side in full."""
    stronger = 1 + abs(lean)
    return acting * (1 + lean) / stronger, acting * (1 - lean) / stronger
