"""The FLAME head: identities learned from thousands of scans, expressions transferred from ICT-FaceKit.

FLAME's own expression space is a principal-component basis of speech and mimicry: it has no action units, and its lids
do not close. The shapes of `rig.SHAPES` therefore come from the ICT head by deformation transfer. FLAME's files are
free for research to registered users and are not part of the project; `FlameFace.load` says where it looks for them.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_gen import array_file
from data_gen.face_models import (
    MATERIALS,
    Topology,
    ageing,
    flame_file,
    flame_marks,
    flame_mouth,
    flame_parts,
    ict_groups,
)
from data_gen.face_models.corners import Corners
from data_gen.face_models.correspondence import Surface, normals, register, similarity
from data_gen.face_models.deformation_transfer import Transfer
from data_gen.face_models.face_features import LID_CORNERS, LID_POINTS, Head, features
from data_gen.face_models.flame_lashes import Lashes
from data_gen.face_models.flame_lids import Lids
from data_gen.face_models.ict import IctFace
from data_gen.face_models.ict_convert import cache_folder
from data_gen.face_models.ict_lips import Lips
from data_gen.rig import SHAPES, check_shapes
from data_gen.scene import Identity

VERSION = 1  # part of the cache's name: raise it when correspondence or transfer compute something else
MM = 1000.0  # the files are in metres
MODES = 100  # of the 300 of identity, those of largest variance: as many as is common (DECA, Feng et al. 2021)
CORNER = 2.0  # mm: sigma of the Gaussian that evens out displacements at the corners of the eyes
# Features of the geometry that the markup does not have, or less exactly.
NOT_IN_MARKUP = {"sulcus", "chin"} | {f"{side} lid {k}" for side in ("left", "right") for k in range(LID_POINTS)}
EYES = {"R": slice(36, 42), "L": slice(42, 48)}  # points of the markup


class FlameFace:
    """FLAME behind the face-model protocol. Make one with `load`."""

    name = "flame"

    def __init__(self, arrays: flame_file.FlameArrays, source: IctFace):
        expressed = _source_shapes(source)
        transfer = transferred(arrays, source.topology, expressed)
        marked = np.ones(68, bool)
        marked[EYES["R"]] = marked[EYES["L"]] = False  # those are on the lids' margins, which have vertices
        mixed, faces, inserted = flame_marks.insert(
            len(arrays.template), arrays.faces, transfer.triangles[marked], transfer.weights[marked]
        )
        template = MM * (mixed @ arrays.template)
        found = features(_head(arrays))
        corners = template[arrays.faces[transfer.triangles]]
        places = np.einsum("nk,nkd->nd", transfer.weights, corners)  # [68, 3]
        parts = flame_parts.build(template, faces, arrays.eyes, found.get("stomion", places[[62, 66]].mean(0)))
        index = np.full(len(template), -1)
        index[parts.kept] = np.arange(len(parts.kept))
        mixed = mixed[parts.kept]
        modes = np.stack([mixed @ mode for mode in MM * arrays.modes[:MODES]])
        self._average = template[parts.kept]
        self._modes = modes.reshape(len(modes), -1)
        skin = parts.faces[parts.materials == MATERIALS.index("skin")]
        corners = [[*found[f"{side} lid {k}"], CORNER] for side in ("left", "right") for k in LID_CORNERS]
        corners = Corners(self._average, np.unique(skin), np.array(corners))
        self._shapes = {name: corners.even(mixed @ moved) for name, moved in zip(SHAPES, transfer.moved, strict=True)}
        self._lids, self._lashes = {}, {}
        for side, name, ball in zip("LR", ("left", "right"), parts.eyes, strict=True):
            margin = np.stack([found[f"{name} lid {k}"] for k in range(LID_POINTS)])
            self._lids[side] = Lids(self._average, skin, margin, ball)
            self._lashes[side] = Lashes(self._average, self._lids[side].upper_edge, 1 if side == "L" else -1)
        landmarks = np.empty(68, np.int32)
        landmarks[marked] = index[inserted]
        for side, numbers in EYES.items():
            landmarks[numbers] = self._lids[side].nearest(places[numbers])
        self._lips = Lips(self._average, skin, landmarks, len(self._average))
        self._mouth = landmarks[flame_mouth.LIPS]
        self._teeth = teeth = flame_mouth.Teeth.borrow(source.topology, expressed, self._average[self._mouth])
        parts = parts.with_lashes(list(self._lashes.values()))
        if len(parts.rim):  # else nothing ever parts the lips
            parts = parts.extended(teeth.faces, teeth.uvs, teeth.uv_faces, teeth.materials)
        self._parts = parts
        self._coefficients = ict_groups.Coefficients(modes[:, landmarks].astype(np.float64))
        self._folds = ageing.fields(self._average, self._average[landmarks])  # [folds, V, 3]
        self._folds[:, np.concatenate(parts.eyes)] = 0
        self.topology = Topology(
            faces=parts.faces,
            uvs=parts.uvs,
            uv_faces=parts.uv_faces,
            materials=parts.materials,
            landmarks=landmarks,
            template=self._expressed(self._average, {}),
        )

    @classmethod
    def load(cls, path: Path | str | None = None) -> "FlameFace":
        """Reads the model at `path`, else where PAINJAX_FLAME_FILE points (a file, or the folder that holds it).

        The first use transfers ICT's shapes (seconds) and keeps them in the cache folder (PAINJAX_CACHE, default
        ~/.cache/painjax).

        Raises:
          FileNotFoundError: if there is no such file, or ICT-FaceKit's are missing; the message says how to get them.
          ValueError: if the file is no FLAME model, or asks to execute something.
        """
        arrays = flame_file.read(flame_file.find_file() if path is None else Path(path))
        return cls(arrays, IctFace.load())

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""
        return self.deform(identity, {})

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the face with expression shapes at the given weights.

        Raises:
          ValueError: if a shape is not one of `rig.SHAPES`, or its weight lies outside 0..1.
        """
        check_shapes(shapes)
        # einsum and not @: BLAS rounds by the number of threads, and the same seed must give the same face
        offset = np.einsum("m,mi->i", self._coefficients.draw(identity), self._modes).reshape(-1, 3)
        folds = np.einsum("k,kvi->vi", ageing.amounts(identity), self._folds)
        return self._expressed(self._average + offset + folds, shapes)

    def average(self, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: nobody's face, the middle of all identities, with expression shapes as for `deform`."""
        return self._expressed(self._average, shapes)

    def _expressed(self, rest: np.ndarray, shapes: Mapping[str, float]) -> np.ndarray:
        points = rest.astype(np.float64)
        neutral = points.copy()
        for name in SHAPES:  # in this order whatever the caller's, so that sums round alike
            weight = shapes.get(name, 0.0)
            if weight:
                points += weight * self._shapes[name]
        self._lips.part(points)
        for side, lids in self._lids.items():
            lids.correct(points, shapes.get(f"eyeBlink_{side}", 0.0), neutral)
        lashes = [lash.grow(points, shapes.get(f"eyeBlink_{side}", 0.0)) for side, lash in self._lashes.items()]
        teeth = [self._teeth.place(rest[self._mouth], shapes)] if len(self._parts.rim) else []
        return np.concatenate([self._parts.with_bag(points), *lashes, *teeth]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Transferred:
    """What a FLAME model of V vertices takes over from another head.

    Attributes:
      moved: (len(SHAPES), V, 3) float32 mm, the expression shapes.
      triangles, weights: (68,) and (68, 3), where on its faces the markup's points lie (barycentric).
    """

    moved: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray


def transferred(arrays: flame_file.FlameArrays, source: Topology, expressed: Mapping[str, np.ndarray]) -> Transferred:
    """ICT's expression shapes and landmarks on FLAME, from the cache if they are known for these two models.

    Args:
      arrays: the FLAME model.
      source: topology of the ICT head.
      expressed: for each of `SHAPES` the (V, 3) mm of its template under that shape.
    """
    path = cache_folder() / f"{_key(arrays, source, expressed)}.npz"
    if path.exists():
        try:
            return _stored(path, len(arrays.template))
        except ValueError as error:
            warnings.warn(f"{path} is damaged ({error}) and made anew.", stacklevel=2)
    computed = _transfer(arrays, source, expressed)
    array_file.write(path, dataclasses.asdict(computed))
    return computed


def prepare() -> str:
    """Fills the cache that `FlameFace.load` reads, so that many processes may then load the model at once.

    Returns:
      A name that changes with the model's file, or with the ICT head that its expressions come from.

    Raises:
      FileNotFoundError, ValueError: as `FlameFace.load`.
    """
    arrays, source = flame_file.read(flame_file.find_file()), IctFace.load()
    expressed = _source_shapes(source)
    transferred(arrays, source.topology, expressed)
    return _key(arrays, source.topology, expressed)


def _source_shapes(source: IctFace) -> dict[str, np.ndarray]:
    """(V, 3) mm of ICT's average head under each of `SHAPES`."""
    return {name: source.average({name: 1.0}) for name in SHAPES}


def _stored(path: Path, vertices: int) -> Transferred:
    arrays = array_file.read(path)
    expected = {field.name for field in dataclasses.fields(Transferred)}
    if set(arrays) != expected or arrays["moved"].shape != (len(SHAPES), vertices, 3):
        raise array_file.Damaged("it lacks arrays, or they have other shapes")
    return Transferred(**arrays)


def _transfer(arrays: flame_file.FlameArrays, topology: Topology, expressed: Mapping[str, np.ndarray]) -> Transferred:
    ict, flame = _head_of(topology), _head(arrays)
    known = _embedded(arrays)
    start, end = _pairs(ict, flame, topology.landmarks, known)
    align = similarity(end, start)
    aligned = Head(align.apply(flame.vertices), flame.skin, flame.eyes)
    laid = register(ict, aligned, start, align.apply(end))
    transfer = Transfer(ict.vertices, laid, ict.skin, aligned.vertices, aligned.skin)
    back = align.inverse()
    surface = Surface(aligned.vertices, flame.skin)
    triangles, weights, _ = surface.locate(laid[topology.landmarks], normals(laid, ict.skin)[topology.landmarks])
    triangles = np.flatnonzero(~_on_ball(arrays))[triangles]
    if known is not None:
        triangles[-len(known) :], weights[-len(known) :] = arrays.embedding
    return Transferred(
        moved=np.stack([back.turn(transfer(expressed[name])) for name in SHAPES]).astype(np.float32),
        triangles=triangles,
        weights=weights,
    )


def _pairs(ict: Head, flame: Head, landmarks: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) places on the ICT head and (n, 3) their counterparts: features of the geometry, and landmarks if known."""
    ours, theirs = features(ict), features(flame)
    names = [name for name in ours if name in theirs and (known is None or name in NOT_IN_MARKUP)]
    start, end = np.stack([ours[name] for name in names]), np.stack([theirs[name] for name in names])
    if known is not None:
        used = np.setdiff1d(np.arange(68 - len(known), 68), [*range(36, 48)])  # lids have features of their own
        start = np.concatenate([start, ict.vertices[landmarks[used]]])
        end = np.concatenate([end, known[used - 68]])
    return start, end


def _embedded(arrays: flame_file.FlameArrays) -> np.ndarray | None:
    """(51 or 68, 3) mm, the landmarks that came with the file."""
    if arrays.embedding is None:
        return None
    triangles, weights = arrays.embedding
    return MM * np.einsum("nk,nkd->nd", weights, arrays.template[arrays.faces[triangles]])


def _on_ball(arrays: flame_file.FlameArrays) -> np.ndarray:
    return np.isin(arrays.faces, np.concatenate(arrays.eyes)).any(1)


def _head(arrays: flame_file.FlameArrays) -> Head:
    on_ball = _on_ball(arrays)
    return Head(MM * arrays.template, arrays.faces[~on_ball], arrays.faces[on_ball])


def _head_of(topology: Topology) -> Head:
    skin, eyes = (topology.faces[topology.materials == MATERIALS.index(name)] for name in ("skin", "eye"))
    return Head(topology.template.astype(np.float64), skin, eyes)


def _key(arrays: flame_file.FlameArrays, source: Topology, expressed: Mapping[str, np.ndarray]) -> str:
    """Changes when either model does: the first part of the cache's name, with a hash of all that they hold."""
    digest = hashlib.sha256(" ".join(SHAPES).encode())
    own = (arrays.template, arrays.modes, arrays.faces, *arrays.eyes, *(arrays.embedding or ()))
    theirs = (source.template, source.faces, source.uvs, source.uv_faces, source.materials, source.landmarks)
    for array in (*own, *theirs, *(expressed[name] for name in SHAPES)):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return f"flame-v{VERSION}-{digest.hexdigest()[:16]}"
