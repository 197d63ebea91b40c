"""The ICT-FaceKit head: 100 identity modes from scanned people, FACS-like expression shapes, closing eyelids.

The files are not part of the project; `IctFace.load` says where it looks for them.

The iris is not a mesh of its own: the `eye` material is the white of the eye with the cornea on it. In the template the
vertex of each eye with the largest z is the pole of the cornea, which is the middle of the iris and, in the atlas, of
that eye's disc; the iris reaches `IRIS_RADIUS` mm around the line from the eyeball's centre through it.
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_gen.face_models import Topology, ageing, ict_atlas, ict_convert, ict_groups
from data_gen.face_models.ict_lashes import Lashes
from data_gen.face_models.ict_lids import Lids, sphere_centre
from data_gen.face_models.ict_lips import Lips
from data_gen.face_models.ict_shapes import MM, expressions
from data_gen.rig import SHAPES, check_shapes
from data_gen.scene import Identity

IRIS_RADIUS = 5.9  # mm
STILL = 1e-3  # mm: what a shape moves less, it does not move
GAZE_DISTANCE = 1000.0  # mm; both eyes look at a point so far in front of the face

# Multi-PIE order; source: README of ICT-FaceKit, "Facial Landmarks".
LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip


class IctFace:
    """ICT-FaceKit Light behind the face-model protocol. Make one with `load` or `from_files`."""

    name = "ict"

    def __init__(self, arrays: ict_convert.IctArrays):
        atlas = ict_atlas.build(arrays)
        kept, faces = np.unique(atlas.faces, return_inverse=True)
        index = np.full(ict_convert.VERTICES, -1)
        index[kept] = np.arange(len(kept))
        neutral, modes, shapes = _blend_basis(arrays)
        faces = faces.reshape(-1, 3).astype(np.int32)
        template = neutral[kept]
        self._coefficients = ict_groups.Coefficients(modes[:, list(LANDMARKS)].astype(np.float64))
        self._modes = modes[:, kept].reshape(len(modes), -1)  # [100, 3 V]
        self._shapes = {}  # name -> rows that move, and their way
        for name, delta in shapes.items():
            rows = np.flatnonzero(np.abs(delta[kept]).max(1) > STILL)
            self._shapes[name] = rows, delta[kept[rows]]
        self._rest = functools.lru_cache(maxsize=16)(self._identity)
        skin = int((kept < ict_atlas.HEAD[1]).sum())
        self._folds = ageing.fields(template[:skin], neutral[list(LANDMARKS)])  # of head and neck alone
        soft = int((kept < ict_atlas.MOUTH_SOCKET[1]).sum())
        self._lips = Lips(template, faces, index[list(LANDMARKS)], soft)
        self._lids, self._lashes = {}, []
        sides = zip("RL", ict_atlas.EYE_SOCKETS, ict_atlas.SCLERAS, ict_atlas.LASHES, strict=True)
        for side, socket, ball, lashes in sides:
            on_ball, card = (np.flatnonzero((kept >= first) & (kept < stop)) for first, stop in (ball, lashes))
            lids = Lids(template, faces, index[_rim(arrays.faces, socket)], on_ball, skin)
            uvs = np.empty((len(kept), 2))
            uvs[faces] = atlas.uvs[atlas.uv_faces]  # a card has no seams: one coordinate for each vertex
            self._lids[side] = lids
            self._lashes.append(Lashes(template, card, uvs[card], lids.front))
        self._average = template.astype(np.float32)
        self.topology = Topology(
            faces=faces,
            uvs=atlas.uvs,
            uv_faces=atlas.uv_faces,
            materials=atlas.materials,
            landmarks=index[list(LANDMARKS)].astype(np.int32),
            template=self._expressed(self._average, {}),
        )

    @classmethod
    def load(cls, directory: Path | str | None = None) -> "IctFace":
        """Finds the model's files, converting them the first time.

        Looks for the `FaceXModel` folder at `directory`, else where the environment variable PAINJAX_ICT_DIR points
        (the folder itself or the one that holds it), else for a model converted earlier in the cache folder
        (PAINJAX_CACHE, default ~/.cache/painjax).

        Raises:
          FileNotFoundError: if there is none, or a file is missing.
          ValueError: if a file is damaged; the message names file and line.
        """
        directory = directory or os.environ.get("PAINJAX_ICT_DIR")
        if directory:
            return cls.from_files(ict_convert.find_sources(Path(directory)))
        cached = ict_convert.newest_cache()
        if cached is None:
            raise FileNotFoundError(
                "The face model 'ict' needs the files of ICT-FaceKit Light, and no place to find them is given. "
                f"{ict_convert.HOW_TO_GET} The first use converts them into {ict_convert.cache_folder()}; after that "
                "the variable is no longer needed. The face model 'procedural' needs no files."
            )
        return cls(ict_convert.load_cache(cached))

    @classmethod
    def from_files(cls, files: Mapping[str, Path]) -> "IctFace":
        """From OBJ name -> path for `ict_convert.SOURCE_FILES`, as TFDS's download manager gives; errors as `load`."""
        return cls(ict_convert.load_sources(files))

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""
        return self.deform(identity, {})

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the face with expression shapes at the given weights.

        Raises:
          ValueError: if a shape is not one of `rig.SHAPES`, or its weight lies outside 0..1.
        """
        check_shapes(shapes)
        return self._expressed(self._rest(identity), shapes)

    def average(self, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: nobody's face, the middle of all identities, with expression shapes as for `deform`."""
        return self._expressed(self._average, shapes)

    def coefficients(self, identity: Identity) -> np.ndarray:
        """(100,) float32: of the identity modes, in standard deviations."""
        return self._coefficients.draw(identity)

    def _identity(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the blend of the modes, before lips and lids are put right. Read-only: it is cached."""
        # einsum and not @: BLAS rounds by the number of threads, and the same seed must give the same face
        offset = np.einsum("m,mi->i", self.coefficients(identity), self._modes).reshape(-1, 3)
        rest = self._average + offset
        folds = np.einsum("k,kvi->vi", ageing.amounts(identity), self._folds)
        rest[: len(folds)] += folds.astype(np.float32)
        rest.flags.writeable = False
        return rest

    def _expressed(self, rest: np.ndarray, shapes: Mapping[str, float]) -> np.ndarray:
        points = rest.astype(np.float64)
        for name in SHAPES:  # in this order whatever the caller's, so that sums round alike
            weight = shapes.get(name, 0.0)
            if weight:
                rows, way = self._shapes[name]
                points[rows] += weight * way
        self._lips.part(points)
        for side, lids in self._lids.items():
            own = {name[:-2]: weight for name, weight in shapes.items() if name.endswith(f"_{side}")}
            lids.correct(points, own, rest)
        for lashes in self._lashes:
            lashes.hang(points)
        return points.astype(np.float32)


def _blend_basis(arrays: ict_convert.IctArrays) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Neutral, identity modes and the shapes of `rig.SHAPES` in mm, eyeballs made round and looking ahead."""
    neutral = arrays.neutral.astype(np.float64) * MM
    deltas = dict(zip(ict_convert.SHAPES, arrays.deltas, strict=True))
    modes = np.stack([deltas[name] for name in ict_convert.IDENTITIES]) * np.float32(MM)
    shapes = expressions(deltas, neutral)
    for first, stop in ict_atlas.SCLERAS:
        ball = neutral[first:stop]
        centre = sphere_centre(ball)
        local = (ball - centre) @ _turn(
            ball[ball[:, 2].argmax()] - centre, np.array([0, centre[1], GAZE_DISTANCE]) - centre
        ).T
        neutral[first:stop] = centre + local
        # The modes bend eyeballs a little; keep of each only its shift and growth.
        spread = local - local.mean(0)
        moved = modes[:, first:stop]
        growth = np.einsum("mvi,vi->m", moved, spread) / (spread**2).sum()
        modes[:, first:stop] = moved.mean(1, keepdims=True) + growth[:, None, None] * spread
    return neutral, modes, shapes


def _turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation that takes one direction to another (Rodrigues)."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + start @ end)


def _rim(polygons: np.ndarray, socket: tuple[int, int]) -> np.ndarray:
    """Skin vertices on which an eye socket's faces hang."""
    inside = polygons[((polygons >= socket[0]) & (polygons < socket[1])).any(1)]
    return np.unique(inside[(inside >= 0) & (inside < ict_atlas.FACE[1])])
