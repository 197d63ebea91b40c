"""Face models behind one protocol. `load(name)` gives one; nothing else in the generator knows which it is.

Coordinates are millimetres, right-handed: +x to the subject's left (right in a frontal picture), +y up, +z out of the
face. The origin is the model's own; cameras aim by landmarks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from data_gen.scene import Identity

MATERIALS = ("skin", "mouth", "gums", "tongue", "teeth", "eye", "lash")
FACE_MODELS = ("procedural", "ict", "flame")


@dataclasses.dataclass(frozen=True)
class Topology:
    """What all faces of a model share.

    Attributes:
      faces: (F, 3) int32, triangles over the V vertices, counter-clockwise seen from outside.
      uvs: (U, 2) float32 in [0, 1], u right and v up; all materials share one atlas in which no two islands overlap.
      uv_faces: (F, 3) int32, triangles over the U texture coordinates, corner by corner with `faces`.
      materials: (F,) int8, index into `MATERIALS`.
      landmarks: (68,) int32, vertex of each point of the 68-point markup (Multi-PIE order; 0 is the subject's right).
      template: (V, 3) float32, the average neutral face in mm, on which textures are laid out.
    """

    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    materials: np.ndarray
    landmarks: np.ndarray
    template: np.ndarray


class FaceModel(Protocol):
    """A head with identities and named expression shapes (ARKit names, `rig.SHAPES` lists those a model must have)."""

    name: str
    topology: Topology

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the same face with expression shapes at the given weights (0 rest, 1 full)."""


def load(name: str) -> FaceModel:
    """The face model called `name`.

    Raises:
      ValueError: if there is no such model.
      FileNotFoundError: if its files are not on this machine; the message says how to get them.
    """
    if name == "procedural":
        from data_gen.face_models.procedural import ProceduralFace

        return ProceduralFace()
    if name == "ict":
        from data_gen.face_models.ict import IctFace

        return IctFace.load()
    if name == "flame":
        from data_gen.face_models.flame import FlameFace

        return FlameFace.load()
    raise ValueError(f"face model is {name!r}; expected one of {', '.join(FACE_MODELS)}.")
