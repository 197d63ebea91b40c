"""Our expression shapes out of ICT-FaceKit's: which source shapes make one up, how strongly, and where on the face.

The source's shapes come from scans of whole faces, so an action unit drags distant skin along (the cheek raiser moves
the neck). A window around its muscle keeps each pain action unit where a FACS coder looks for it.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

MM = 10.0  # the source is in centimetres


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
    """Source shapes and their weights, a window or None for the whole head, and the reason."""

    sources: tuple[tuple[str, float], ...]
    window: Window | None
    reason: str


# Eyes lie at (32, 35) mm, brows at y = 60, the tip of the nose at y = 4, the lips at y = -34. Shapes that are not here
# are the source's own.
RECIPES = {
    "browDown": Recipe(
        (("browDown", 1.25),),
        Window(20, 68, 62, 38, 0.7),
        "at 1 it is faint on faces with a strong ridge; it drags the scalp",
    ),
    "cheekSquint": Recipe(
        (("cheekSquint", 0.8), ("cheekRaiser", 0.8)),
        Window(42, 17, 29, 27, 0.9),
        "the source splits the cheek raiser in two, each of which alone hardly reads as AU6",
    ),
    "eyeSquint": Recipe(
        (("eyeSquint", 1.5),), Window(32, 31, 23, 16, 1.0), "at 1 it hardly reads as AU7; it drags the cheek along"
    ),
    "noseSneer": Recipe((("noseSneer", 1.0),), Window(0, 15, 31, 45, 0.8), "it drags cheeks, jaw and forehead along"),
    "mouthUpperUp": Recipe((("mouthUpperUp", 1.0),), Window(0, -18, 35, 26, 0.8), "it drags the cheeks along"),
}


def expression(name: str, deltas: Mapping[str, np.ndarray], template: np.ndarray) -> np.ndarray:
    """One of `rig.SHAPES` as displacements.

    Args:
      name: ARKit name with its side, such as `browDown_L`.
      deltas: source shape name -> (V, 3) cm.
      template: (V, 3) mm, the neutral head.

    Returns:
      (V, 3) float64 mm at full weight.
    """
    stem, _, side = name.partition("_")
    recipe = RECIPES.get(stem, Recipe(((stem, 1.0),), None, ""))
    moved = MM * sum(weight * deltas[f"{source}_{side}" if side else source] for source, weight in recipe.sources)
    return moved if recipe.window is None else moved * recipe.window.weights(template)[:, None]
