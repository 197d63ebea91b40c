"""Our expression shapes out of ICT-FaceKit's: which source shapes make one up, how strongly, and where on the face.

The source's shapes come from scans of whole faces, so an action unit drags distant skin along (the cheek raiser moves
the neck), and they are mild where a FACS coder looks for strong evidence. A window around its muscle keeps each pain
action unit in its place, and pulls add what its muscle does at full strength. At the corners of eyes and mouth, where
the source folds its finest triangles, displacements are averaged over a few millimetres.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from data_gen.face_models.corners import Corners
from data_gen.face_models.ict_atlas import MOUTH_SOCKET
from data_gen.rig import SHAPES

MM = 10.0  # the source is in centimetres
# Inner and outer corner of the eye, corner of the mouth, mm on the template, the subject's left: there the source's
# displacements are averaged with a Gaussian of the given sigma, fully within twice that and not beyond four times.
CORNERS = ((20.5, 34.0, 91.5, 1.8), (45.5, 34.3, 86.5, 1.8), (23.0, -35.0, 101.5, 0.9))
FRONT = 40.0  # mm in z: pulls do not reach the skin behind it


@dataclasses.dataclass(frozen=True)
class Window:
    """An ellipse in the frontal view of the template, in mm: weight 1 inside, falling to 0 at 1 + `fade` radii.

    The centre is `x` from the midline on either side, `y` as in the source; the radii are `width` and `height`.
    """

    x: float
    y: float
    width: float
    height: float
    fade: float

    def weights(self, template: np.ndarray) -> np.ndarray:
        """(V, 3) mm -> (V,) 0..1."""
        away = np.hypot((np.abs(template[:, 0]) - self.x) / self.width, (template[:, 1] - self.y) / self.height)
        t = np.clip((1 + self.fade - away) / self.fade, 0, 1)
        return t * t * (3 - 2 * t)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one shape is made.

    Attributes:
      sources: source shapes and their weights.
      window: where they act; None: on the whole head.
      reason: why so.
      hold: where they do not act, within the window.
      pulls: (centre x, y, sigma x, y, move x, y, z) mm on the left side: Gaussian neighbourhoods in the frontal view
        that are moved besides.
    """

    sources: tuple[tuple[str, float], ...]
    window: Window | None
    reason: str
    hold: Window | None = None
    pulls: tuple[tuple[float, ...], ...] = ()


# Eyes lie at (32, 35) mm, brows at y = 60, the tip of the nose at y = 4, the lips at y = -34. Shapes that are not here
# are the source's own.
RECIPES = {
    "browDown": Recipe(
        (("browDown", 1.1),),
        Window(20, 68, 62, 38, 0.7),
        "at 1 it is faint on faces with a strong ridge; it drags the scalp; corrugator draws the brows' heads down and "
        "together, between them procerus bunches the glabella",
        pulls=(
            (15, 59, 9, 8, -1.8, -3.0, 1.4),
            (30, 60, 10, 8, -0.6, -1.0, 0.6),
            (0, 52, 7, 8, 0.0, -1.4, 2.4),
            (15, 74, 11, 9, -0.6, -1.4, 0.0),
        ),
    ),
    "cheekSquint": Recipe(
        (("cheekSquint", 0.7), ("cheekRaiser", 0.7)),
        Window(42, 17, 29, 27, 0.9),
        "the source splits the cheek raiser in two, each of which alone hardly reads as AU6; the lifted cheek bulges "
        "below the infraorbital furrow, the skin beside the eye is gathered, the brow's tail lowered",
        pulls=(
            (36, 13, 13, 7, -0.4, 2.2, 2.4),
            (33, 22, 12, 2.8, 0.0, 1.2, -1.2),
            (55, 33, 6, 8, -2.0, 0.4, 0.8),
            (50, 55, 9, 7, 0.0, -1.6, 0.2),
        ),
    ),
    "eyeSquint": Recipe(
        (("eyeSquint", 1.2),),
        Window(32, 31, 23, 14, 1.0),
        "at 1 it hardly reads as AU7; it drags the cheek along; the edges' travel is `ict_lids.NARROWING`'s; the "
        "tightened lower lid bulges",
        pulls=((32, 26.5, 10, 2.6, 0.0, 1.6, 1.1),),
    ),
    "noseSneer": Recipe(
        (("noseSneer", 1.0),),
        Window(0, 20, 30, 34, 0.8),
        "it drags cheeks, jaw and forehead along and lifts the lip as far as AU10; procerus and the nasal part of the "
        "levator bunch the root of the nose and draw the brows' heads down",
        pulls=(
            (0, 43, 6, 5, 0.0, -0.8, 2.2),
            (10, 35, 4.5, 6, 0.4, 1.2, 1.6),
            (12, 57, 8, 7, -1.2, -2.6, 0.8),
            (21, 14, 7, 8, 0.0, 1.6, 1.6),
        ),
    ),
    "mouthUpperUp": Recipe(
        (("mouthUpperUp", 0.9),),
        Window(0, -14, 30, 26, 0.8),
        "it drags the cheeks along, and the lips' corners, a snarl; the levator lifts the lip's middle most",
        hold=Window(29, -38, 4, 8, 2.4),
        pulls=((0, -26, 8, 7, 0.0, 0.9, 0.3), (27, -2, 7, 9, 0.4, 1.6, 1.8)),
    ),
    "mouthShrugLower": Recipe(
        (("mouthShrugLower", 0.6), ("mouthShrugUpper", 0.5)),
        None,
        "alone it drives the lower lip into the upper, which must give way",
    ),
}


def expressions(deltas: Mapping[str, np.ndarray], template: np.ndarray) -> dict[str, np.ndarray]:
    """All of `rig.SHAPES` as displacements.

    Args:
      deltas: source shape name -> (V, 3) cm.
      template: (V, 3) mm, the neutral head.

    Returns:
      name -> (V, 3) float64 mm at full weight.
    """
    places = np.concatenate([np.array(CORNERS) * [sign, 1, 1, 1] for sign in (1, -1)])
    corners = Corners(template, np.arange(MOUTH_SOCKET[1]), places)  # face, head and the mouth's lining, no eyeballs
    return {name: corners.even(_expression(name, deltas, template)) for name in SHAPES}


def _expression(name: str, deltas: Mapping[str, np.ndarray], template: np.ndarray) -> np.ndarray:
    stem, _, side = name.partition("_")
    recipe = RECIPES.get(stem, Recipe(((stem, 1.0),), None, ""))
    moved = MM * sum(
        weight * deltas[name if (name := f"{source}_{side}") in deltas else source].astype(np.float64)
        for source, weight in recipe.sources
    )
    if recipe.window is not None:
        moved *= recipe.window.weights(template)[:, None]
    if recipe.hold is not None:
        moved *= 1 - recipe.hold.weights(template)[:, None]
    return moved + _pulled(recipe.pulls, template, -1.0 if side == "R" else 1.0)


def _pulled(pulls: tuple[tuple[float, ...], ...], template: np.ndarray, sign: float) -> np.ndarray:
    """(V, 3) mm; the sides share the midline smoothly."""
    x, y = sign * template[:, 0], template[:, 1]
    reach = (template[:, 2] > FRONT) / (1 + np.exp(-x / 3.5))
    reach[MOUTH_SOCKET[1] :] = 0.0  # no eyeballs, no teeth
    out = np.zeros_like(template)
    for cx, cy, sx, sy, *move in pulls:
        out += (reach * np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2)))[:, None] * np.array(move)
    return out * [sign, 1, 1]
