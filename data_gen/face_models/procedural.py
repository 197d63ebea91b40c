"""The procedural head: our own parametric human head, in code, with no files to download."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from scipy.interpolate import PchipInterpolator

from data_gen.face_models import (
    MATERIALS,
    Topology,
    procedural_mesh,
    procedural_mouth,
    procedural_parts,
    procedural_surface,
)
from data_gen.face_models.procedural_expression import Expressions
from data_gen.face_models.procedural_landmarks import landmarks
from data_gen.face_models.procedural_modes import Identities
from data_gen.rig import check_shapes
from data_gen.scene import Identity

SKIN_BOTTOM = 0.17  # v above which the atlas holds the head's skin; below it lie the islands of the parts
ISLANDS = {  # part -> (u, v, width, height)
    "eye_right": (0.01, 0.01, 0.14, 0.14),
    "eye_left": (0.16, 0.01, 0.14, 0.14),
    "lash_right": (0.01, 0.154, 0.14, 0.01),
    "lash_left": (0.16, 0.154, 0.14, 0.01),
    "ear_right": (0.31, 0.01, 0.14, 0.14),
    "ear_left": (0.46, 0.01, 0.14, 0.14),
    "mouth": (0.61, 0.01, 0.075, 0.075),
    "tongue": (0.695, 0.01, 0.055, 0.075),
    "gums_upper": (0.61, 0.09, 0.14, 0.033),
    "gums_lower": (0.61, 0.128, 0.14, 0.033),
    "teeth_upper": (0.76, 0.01, 0.23, 0.065),
    "teeth_lower": (0.76, 0.085, 0.23, 0.065),
}


class ProceduralFace:
    """Head with anthropometric identities and muscle-like expression shapes; implements `FaceModel`.

    One texture atlas: the skin is unrolled about the front midline over v > 0.17, texels densest on the face; the parts
    lie in `ISLANDS` below. An eyeball's island is a polar map: the optical axis (the iris' centre) is its middle, the
    distance from the middle is proportional to the angle from the axis and reaches half the island's side at 115
    degrees, so that an iris of 6 mm radius (27.7 degrees) has a radius of 0.12 of the side. Up is up in the face.
    """

    name = "procedural"

    def __init__(self):
        self.topology, self._identities, self._expressions = _head()

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""
        return self._identities.neutral(identity)[0].astype(np.float32)

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity with expression `shapes` (see `rig.SHAPES`), weights 0..1.

        Raises:
          ValueError: if a shape is not one of `rig.SHAPES`, or its weight lies outside 0..1.
        """
        check_shapes(shapes)
        neutral, eyes = self._identities.neutral(identity)
        return self._expressions.apply(neutral, eyes, shapes).astype(np.float32)


@functools.cache
def _head() -> tuple[Topology, Identities, Expressions]:
    """Everything that does not depend on an identity: made once per process."""
    half = procedural_mesh.half()
    n = len(half.vertices)
    central = half.vertices[:, 0] == 0
    right = np.where(central, np.arange(n), n + np.cumsum(~central) - 1)  # mirror image of each vertex
    uv = _skin_uv(half.chart)
    meshes = [
        _Mesh(
            vertices=np.concatenate([half.vertices, half.vertices[~central] * [-1, 1, 1]]),
            faces=np.concatenate([half.faces, right[half.faces[:, ::-1]]]),
            uvs=np.concatenate([uv, uv * [-1, 1] + [1, 0]]),
            uv_faces=np.concatenate([half.faces, half.faces[:, ::-1] + n]),
            material="skin",
        )
    ]
    named = _parts(half)
    meshes += [_part_mesh(part, ISLANDS[name], material) for name, (part, material) in named.items()]
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    uv_starts = np.cumsum([0, *(len(m.uvs) for m in meshes)])
    ranges = zip(named, starts[1:-1], starts[2:], strict=True)
    parts = {name: np.arange(start, stop) for name, start, stop in ranges}
    # upper jaw and lower jaw move as one each, whatever they are made of
    parts["teeth_upper"] = np.concatenate([parts["teeth_upper"], parts.pop("gums_upper")])
    parts["teeth_lower"] = np.concatenate(
        [parts[name] for name in ("teeth_lower", "tongue")] + [parts.pop("gums_lower")]
    )
    del parts["tongue"]
    template = np.concatenate([m.vertices for m in meshes])
    topology = Topology(
        faces=np.concatenate([m.faces + s for m, s in zip(meshes, starts[:-1], strict=True)]).astype(np.int32),
        uvs=np.concatenate([m.uvs for m in meshes]).astype(np.float32),
        uv_faces=np.concatenate([m.uv_faces + s for m, s in zip(meshes, uv_starts[:-1], strict=True)]).astype(np.int32),
        materials=np.concatenate([np.full(len(m.faces), MATERIALS.index(m.material), np.int8) for m in meshes]),
        landmarks=landmarks(half, right),
        template=template.astype(np.float32),
    )
    identities = Identities(template, (half.eye, right[half.eye]), parts)
    return topology, identities, Expressions(template, half, right, parts)


@dataclasses.dataclass(frozen=True)
class _Mesh:
    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    material: str


def _part_mesh(part: procedural_parts.Part, island: tuple[float, ...], material: str) -> _Mesh:
    u, v, width, height = island
    return _Mesh(part.vertices, part.faces, part.island * [width, height] + [u, v], part.faces, material)


def _parts(half: procedural_mesh.Half) -> dict[str, tuple[procedural_parts.Part, str]]:
    """Part and material by name."""
    upper_lid = half.vertices[half.eye[procedural_mesh.EYE_OFFSETS.index(0.0), : procedural_mesh.EYE_LOOP // 2 + 1]]
    pairs = {
        "eye": (procedural_parts.eyeball(), "eye"),
        "lash": (procedural_parts.lash(upper_lid), "lash"),
        "ear": (procedural_parts.ear(), "skin"),
    }
    out = {}
    for name, (part, material) in pairs.items():
        out[f"{name}_left"] = part, material
        out[f"{name}_right"] = procedural_parts.mirrored(part), material
    out["mouth"] = procedural_mouth.mouth_bag(), "mouth"
    out["tongue"] = procedural_mouth.tongue(), "tongue"
    for name, upper in (("upper", True), ("lower", False)):
        out[f"teeth_{name}"] = procedural_mouth.teeth(upper), "teeth"
        out[f"gums_{name}"] = procedural_mouth.gums(upper), "gums"
    return out


def _skin_uv(chart: np.ndarray) -> np.ndarray:
    """Chart (s * width, meridian) -> atlas. Texels per mm fall off away from the face."""
    widest = procedural_mesh.CHART_WIDTH
    x = chart[:, 0] / widest * np.minimum(procedural_surface.girth(chart[:, 1]), widest)
    u = 0.5 + 0.49 * np.arcsinh(x / 90.0) / np.arcsinh(widest / 90.0)
    bottom = procedural_surface.meridian_length()
    v = PchipInterpolator([0.0, 95.0, 275.0, bottom], [0.99, 0.82, 0.28, SKIN_BOTTOM])(chart[:, 1])
    return np.stack([u, v], -1)
