"""The procedural head: our own parametric human head, in code, with no files to download."""

import functools
from collections.abc import Mapping

import numpy as np
from scipy.interpolate import PchipInterpolator

from data_gen.face_models import MATERIALS, Topology, procedural_mesh, procedural_parts, procedural_surface
from data_gen.face_models.procedural_expression import Expressions
from data_gen.face_models.procedural_identity import Identities
from data_gen.scene import Identity

# Islands of the atlas below the skin: name -> (u, v, width, height). One margin between any two.
ISLANDS = {
    "eye_right": (0.01, 0.01, 0.14, 0.14),
    "eye_left": (0.16, 0.01, 0.14, 0.14),
    "ear_right": (0.31, 0.01, 0.14, 0.14),
    "ear_left": (0.46, 0.01, 0.14, 0.14),
    "lash_right": (0.01, 0.154, 0.14, 0.01),
    "lash_left": (0.16, 0.154, 0.14, 0.01),
    "mouth": (0.61, 0.01, 0.14, 0.14),
    "teeth_upper": (0.76, 0.01, 0.23, 0.065),
    "teeth_lower": (0.76, 0.085, 0.23, 0.065),
}
SKIN_BOTTOM = 0.17

# Where the 68-point markup lies on the subject's left half of the average face, mm; the lids' and lips' points are exact
# members of their loops and are not listed here. Point number -> (x, y, z).
_LANDMARKS = {
    8: (0, -110, 80), 9: (13, -108, 77), 10: (26, -101, 66), 11: (38, -92, 49), 12: (47, -80, 31), 13: (54, -64, 16),
    14: (61, -44, 10), 15: (67, -20, 8), 16: (70, 4, 5),
    22: (11, 17.5, 91), 23: (20, 21, 90), 24: (30, 22.5, 87), 25: (40, 21.5, 80), 26: (50, 16, 68),
    27: (0, 3, 89), 28: (0, -10, 95), 29: (0, -22, 101), 30: (0, -36, 110),
    33: (0, -50, 92), 34: (6.5, -48, 92), 35: (13, -46, 90),
}  # fmt: skip


class ProceduralFace:
    """Average-anthropometry head with identities and expression shapes; implements `FaceModel`.

    One texture atlas: the skin is unrolled about the front midline over v > 0.17 and the face gets most of it; the small
    parts lie in `ISLANDS` below. An eyeball's island is a polar map: the optical axis (iris centre) is its centre, the
    distance from the centre is proportional to the angle from the axis and reaches half the island's side at 115 degrees,
    so an iris of 6 mm radius (28.4 degrees) has radius 0.124 of the island's side. Up in the island is up in the face.
    """

    name = "procedural"

    def __init__(self):
        self.topology = _build().topology
        self._identities, self._expressions = _build().identities, _build().expressions

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""
        return self._identities.neutral(identity)[0].astype(np.float32)

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity with expression `shapes` (see `rig.SHAPES`), weights 0..1.

        Raises:
          KeyError: if a shape is unknown.
          ValueError: if a weight lies outside 0..1.
        """
        neutral, eyes = self._identities.neutral(identity)
        return self._expressions.apply(neutral, eyes, shapes).astype(np.float32)


class _Build:
    """Topology and fields, made once."""

    def __init__(self):
        half = procedural_mesh.half()
        n = len(half.vertices)
        central = half.vertices[:, 0] == 0
        left = np.arange(n)
        right = np.where(central, left, n + np.cumsum(~central) - 1)
        vertices = [half.vertices, half.vertices[~central] * [-1, 1, 1]]
        faces, uv_faces = [half.faces, right[half.faces[:, ::-1]]], [half.faces, half.faces[:, ::-1] + n]
        uv_left = _skin_uv(half.chart)
        uvs = [uv_left, uv_left * [-1, 1] + [1, 0]]
        materials = [np.zeros(2 * len(half.faces), np.int8)]
        self.parts = {}
        count, uv_count = n + int((~central).sum()), 2 * n
        eyeball, ear = procedural_parts.eyeball(), procedural_parts.ear()
        margin = half.vertices[half.eye[procedural_mesh.EYE_OFFSETS.index(0.0), : procedural_mesh.EYE_LOOP // 2 + 1]]
        lash = procedural_parts.lash(margin)
        for name, part, material in (
            ("eye_left", eyeball, "eye"),
            ("eye_right", procedural_parts.mirrored(eyeball), "eye"),
            ("lash_left", lash, "lash"),
            ("lash_right", procedural_parts.mirrored(lash), "lash"),
            ("ear_left", ear, "skin"),
            ("ear_right", procedural_parts.mirrored(ear), "skin"),
            ("mouth", procedural_parts.mouth_bag(), "mouth"),
            ("teeth_upper", procedural_parts.teeth(True), "teeth"),
            ("teeth_lower", procedural_parts.teeth(False), "teeth"),
        ):
            u, v, w, h = ISLANDS[name]
            self.parts[name] = np.arange(count, count + len(part.vertices))
            vertices.append(part.vertices)
            faces.append(part.faces + count)
            uv_faces.append(part.faces + uv_count)
            uvs.append(part.island * [w, h] + [u, v])
            materials.append(np.full(len(part.faces), MATERIALS.index(material), np.int8))
            count, uv_count = count + len(part.vertices), uv_count + len(part.vertices)
        template = np.concatenate(vertices)
        self.sides = (left, right)
        landmarks = _landmarks(half, right, template[: n + int((~central).sum())])
        self.topology = Topology(
            faces=np.concatenate(faces).astype(np.int32),
            uvs=np.concatenate(uvs).astype(np.float32),
            uv_faces=np.concatenate(uv_faces).astype(np.int32),
            materials=np.concatenate(materials),
            landmarks=landmarks,
            template=template.astype(np.float32),
        )
        self.identities = Identities(template, (half.eye, right[half.eye]), self.parts)
        self.expressions = Expressions(template, half, right, self.parts)


@functools.cache
def _build() -> _Build:
    return _Build()


def _skin_uv(chart: np.ndarray) -> np.ndarray:
    """Chart (s * width, meridian) -> atlas. Texels per mm fall off away from the face."""
    x = (
        chart[:, 0]
        / procedural_mesh.CHART_WIDTH
        * np.minimum(procedural_surface.girth(chart[:, 1]), procedural_mesh.CHART_WIDTH)
    )
    u = 0.5 + 0.49 * np.arcsinh(x / 90.0) / np.arcsinh(procedural_mesh.CHART_WIDTH / 90.0)
    bottom = procedural_surface.meridian_length()
    v = PchipInterpolator([0.0, 95.0, 275.0, bottom], [0.99, 0.82, 0.28, SKIN_BOTTOM])(chart[:, 1])
    return np.stack([u, v], -1)


def _landmarks(half: procedural_mesh.Half, right: np.ndarray, skin: np.ndarray) -> np.ndarray:
    out = np.zeros(68, np.int64)
    candidates = np.arange(len(half.vertices))
    free = np.setdiff1d(candidates, np.concatenate([half.eye.ravel(), half.mouth[:4].ravel()]))
    for number, point in _LANDMARKS.items():
        pool = free[half.vertices[free, 0] == 0] if point[0] == 0 else free
        out[number] = pool[np.argmin(np.linalg.norm(half.vertices[pool] - point, axis=-1))]
    for number in (*range(9, 17), *range(22, 27), 34, 35):
        other = 16 - number if number < 17 else 43 - number + 0 if number < 27 else 66 - number
        out[other] = right[out[number]]
    margin = half.eye[procedural_mesh.EYE_OFFSETS.index(0.0)]
    k = procedural_mesh.EYE_LOOP // 2
    for number, place in zip(range(42, 48), (0, 5, 9, k, 2 * k - 9, 2 * k - 5), strict=True):
        out[number] = margin[place]
    for number, other in ((45, 36), (44, 37), (43, 38), (42, 39), (47, 40), (46, 41)):
        out[other] = right[out[number]]
    m = procedural_mesh.MOUTH_COLUMNS
    border, line = half.mouth[4], half.mouth[2]

    def column(loop, x, upper):
        part = np.arange(m) if upper else np.arange(m + 1, 2 * m + 1)
        return loop[part[np.argmin(np.abs(half.vertices[loop[part], 0] - x))]]

    for number, vertex in (
        (51, border[0]), (52, column(border, 5.5, True)), (53, column(border, 16.0, True)), (54, border[m]),
        (55, column(border, 15.0, False)), (56, column(border, 7.5, False)), (57, border[-1]), (62, line[0]),
        (63, column(line, 9.0, True)), (64, line[m]), (65, column(line, 9.0, False)), (66, line[-1]),
    ):  # fmt: skip
        out[number] = vertex
    for number, other in ((52, 50), (53, 49), (54, 48), (55, 59), (56, 58), (63, 61), (64, 60), (65, 67)):
        out[other] = right[out[number]]
    return out.astype(np.int32)
