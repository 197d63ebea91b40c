"""Backdrops: hair, clothes and room that a model painted around a rendered face.

The face is what no hair, cloth or room shares a pixel with: bare skin below the hairline, ears, eyes, lashes, mouth and
neck. It stays as it was rendered, bit for bit, up to the picture that is encoded. A model paints all the rest, the
outermost pixel of the head's outline among it.
"""

import dataclasses

import numpy as np
import scipy.ndimage
from PIL import Image

from data_gen import lens as lenses
from data_gen.diffusion.pipelines import Start
from data_gen.diffusion.sitting import BARE, CLOTH_MM
from data_gen.render import Field
from data_gen.scene import Lens, stream
from data_gen.textures import Texture

WISP = 0.012  # share of the side: half the width of hair that lies amid the face, if there is face on both sides
SEAM = 0.012  # share of the side: how far from the face a painting takes on the face's own colours
SEAM_LEVELS = 40.0  # at most so much, of 255
# By how much what a model gives back for the face may differ from it: in levels, and in what of its contrast is lost.
STRAY, LOST = 48.0, 0.7
FLAT = 2.0  # standard deviation in levels of what was painted: less is a blank


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """A frame as it was rendered, for a model to paint around its face.

    Attributes:
      picture: (W, W, 3) uint8, before the lens.
      kept: (W, W) bool, the face: see `kept`.
      depth: (W, W) float32 mm, +inf where there is only room; fov: of the camera, degrees.
      landmarks: (n, 2) pixel xy of those in sight.
    """

    picture: np.ndarray
    kept: np.ndarray
    depth: np.ndarray
    fov: float
    landmarks: np.ndarray

    def start(self) -> Start:
        return Start(self.picture, ~self.kept)


def face_vertices(texture: Texture, vertices: int) -> np.ndarray:
    """(V,) float32, 1 where one of that many vertices is not clothed. Where hair grows, fields are not drawn anyway."""
    if texture.displacement is None:
        return np.ones(vertices, np.float32)
    return (np.linalg.norm(texture.displacement, axis=1) < CLOTH_MM).astype(np.float32)


def kept(field: Field, coverage: np.ndarray) -> np.ndarray:
    """(S, S) bool: the pixels of the face, by the field of `face_vertices`, and in which of them there is nothing of
    the room by their `coverage` (S, S) uint8.

    Hair amid the face, such as single wisps of a fringe, is kept with it, for a model could only blur the skin between;
    the labels say of its pixels that they are hair. A beard is face.
    """
    face = field.mask & (field.values > BARE)
    along = np.arange(-(reach := max(round(WISP * len(face)), 1)), reach + 1)
    closed = scipy.ndimage.binary_closing(face, along[:, None] ** 2 + along**2 <= reach**2)
    amid = scipy.ndimage.binary_fill_holes(closed) & np.isfinite(field.depth) & ~field.mask
    return (face | amid) & (coverage == 255)


def fault(painting: np.ndarray, shot: Shot) -> str:
    """What is wrong with a painting (W, W, 3) uint8 of a shot, in a few words; '' if nothing is found."""
    missing = ~shot.kept
    if missing.any() and painting[missing].std(0).max() < FLAT:
        return "blank"
    face = shot.picture[shot.kept].astype(np.float32)
    off = painting[shot.kept] - face
    if face.size and (np.abs(off).mean() > STRAY or off.std() > LOST * face.std()):
        return "face is lost"
    return ""


def fitted(painting: np.ndarray, size: int) -> np.ndarray:
    """A painting at the size of the frame, (size, size, 3) uint8."""
    if len(painting) == size:
        return painting
    return np.asarray(Image.fromarray(painting).resize((size, size), Image.Resampling.LANCZOS))


def develop(picture: np.ndarray, painting: np.ndarray, face: np.ndarray, lens: Lens, seed: int) -> np.ndarray:
    """The frame through the lens, with a painting around its face.

    Args:
      picture: (S, S, 3) uint8 as rendered.
      painting: (S, S, 3) uint8.
      face: (S, S) bool, see `kept`.
      lens: of the scene, and its `seed`, for the noise.

    Returns:
      (S, S, 3) uint8; on the face what `lens.develop` makes of the render, whatever was painted.
    """
    plain = lenses.develop(picture, lens, stream(seed, "noise"))
    painted = np.where(face[..., None], picture, _matched(picture, painting, face))
    # the same noise on both; the lens blurs across the outline of the face, and only outside may that show
    return np.where(face[..., None], plain, lenses.develop(painted, lens, stream(seed, "noise")))


def _matched(picture: np.ndarray, painting: np.ndarray, face: np.ndarray) -> np.ndarray:
    """A painting whose colours run into those of the face: a model's picture of the face itself, which the render
    replaces, tells by how much its colours are off."""
    sigma, share = SEAM * len(picture), face.astype(np.float32)
    near = scipy.ndimage.gaussian_filter(share, sigma)  # half at the outline, 0 far away
    off = share[..., None] * (picture.astype(np.float32) - painting)
    off = np.stack([scipy.ndimage.gaussian_filter(off[..., i], sigma) for i in range(3)], -1)
    off /= np.maximum(near, 1e-3)[..., None]
    shift = np.clip(off, -SEAM_LEVELS, SEAM_LEVELS) * np.minimum(2 * near, 1)[..., None]
    return np.clip(np.round(painting + shift), 0, 255).astype(np.uint8)
