"""What skin is painted on: layers that painters add to, and what the skins of all people share."""

import dataclasses

import numpy as np
import scipy.spatial

from data_gen.scene import stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import Fields, noise, smoothstep
from data_gen.textures.skin_regions import Region, regions
from data_gen.textures.tone import reflectance


@dataclasses.dataclass
class Layers:
    """What skin painters add up, per point: melanin level, blood absorbance, height in mm and roughness 0..1."""

    melanin: np.ndarray
    blood: np.ndarray
    height: np.ndarray
    roughness: np.ndarray
    carotene: float

    def color(self) -> np.ndarray:
        """(N, 3) linear RGB."""
        return reflectance(self.melanin, self.blood, self.carotene)


class SkinGround:
    """What the skins of all people on the same P points share: `regions`, noise `fields` and white `grain`."""

    def __init__(self, face: Anatomy):
        self.face = face
        self._tree = scipy.spatial.cKDTree(face.points)
        self.regions: dict[str, Region] = regions(face)
        self.fields = Fields(face.points)
        self.grain = stream(0, "grain").standard_normal((2, len(face.points)), dtype=np.float32)
        pits = noise(stream(0, "pores"), face.points[self.regions["pores"].index], 1.15)
        self.pores = smoothstep(0.6, 2.6, pits).astype(np.float32) * self.regions["pores"].weight

    def near(self, centers: np.ndarray, radii: np.ndarray) -> list[np.ndarray]:
        """For each center (M, 3): indices of the points within its radius (M,) mm."""
        found = self._tree.query_ball_point(centers, radii, return_sorted=True)
        return [np.asarray(indices, np.int64) for indices in found]
