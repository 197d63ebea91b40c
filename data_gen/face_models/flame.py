"""The FLAME head: identities learned from thousands of scans, expressions transferred from ICT-FaceKit.

FLAME's own expression space is a principal-component basis of speech and mimicry: it has no action units, and its lids
do not close. The shapes of `rig.SHAPES` therefore come from the ICT head by deformation transfer. FLAME's files are
free for research to registered users and are not part of the project; `FlameFace.load` says where it looks for them.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.spatial

from data_gen.face_models import MATERIALS, Topology, flame_file, flame_parts, ict_groups
from data_gen.face_models.correspondence import normals, register, similarity
from data_gen.face_models.deformation_transfer import Transfer
from data_gen.face_models.face_features import Head, features
from data_gen.face_models.flame_lids import Lids
from data_gen.face_models.ict import IctFace
from data_gen.face_models.ict_convert import cache_folder
from data_gen.rig import SHAPES
from data_gen.scene import Identity, stream

VERSION = 1  # part of the cache's name: raise it when correspondence or transfer compute something else
MM = 1000.0  # the files are in metres
MODES = 100  # of the 300 of identity: the rest move the skin by less than the scans' noise
MODE_LIMIT = 2.0  # identity coefficients are drawn from N(0, 1) within this many standard deviations: no monsters
TURNED_AWAY = 20.0  # mm added to the distance of a vertex that faces elsewhere: the other lip, the inside of a lid


class FlameFace:
    """FLAME behind the face-model protocol. Make one with `load`."""

    name = "flame"

    def __init__(self, arrays: flame_file.FlameArrays, shapes: Mapping[str, np.ndarray], landmarks: np.ndarray):
        """From a FLAME model of V vertices, (V, 3) mm of displacement by shape, and the 68 FLAME vertices."""
        template = MM * arrays.template
        found = features(_head(arrays))
        mouth = found.get("stomion", template[landmarks[[62, 66]]].mean(0))
        self._parts = parts = flame_parts.build(template, arrays.faces, arrays.eyes, mouth)
        index = np.full(len(template), -1)
        index[parts.kept] = np.arange(len(parts.kept))
        modes = MM * arrays.modes[:MODES, parts.kept]
        self._average = template[parts.kept]
        self._modes = modes.reshape(len(modes), -1)
        self._shapes = {name: shapes[name][parts.kept].astype(np.float64) for name in SHAPES}
        landmarks = index[landmarks]
        self._steering = ict_groups.steering(modes[:, landmarks].astype(np.float64))
        skin = parts.faces[parts.materials == MATERIALS.index("skin")]
        margins = {
            side: np.stack([found[f"{name} lid {k}"] for k in range(16)])
            for side, name in (("L", "left"), ("R", "right"))
        }
        self._lids = {
            side: Lids(self._average, skin, margins[side], ball) for side, ball in zip("LR", parts.eyes, strict=True)
        }
        self.topology = Topology(
            faces=parts.faces,
            uvs=parts.uvs,
            uv_faces=parts.uv_faces,
            materials=parts.materials,
            landmarks=landmarks.astype(np.int32),
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
        return cls(arrays, *transferred(arrays, IctFace.load()))

    def neutral(self, identity: Identity) -> np.ndarray:
        """(V, 3) float32 mm: the face of this identity at rest."""
        return self.deform(identity, {})

    def deform(self, identity: Identity, shapes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32 mm: the face with expression shapes at the given weights.

        Raises:
          ValueError: if a shape is not one of `rig.SHAPES`.
        """
        unknown = sorted(set(shapes) - set(self._shapes))
        if unknown:
            raise ValueError(f"expression shape {unknown[0]!r} is unknown; expected one of {', '.join(SHAPES)}.")
        # einsum and not @: BLAS rounds by the number of threads, and the same seed must give the same face
        offset = np.einsum("m,mi->i", self.coefficients(identity), self._modes).reshape(-1, 3)
        return self._expressed(self._average + offset, shapes)

    def coefficients(self, identity: Identity) -> np.ndarray:
        """(100,) float32: the average of the identity's group plus N(0, 1) within +-`MODE_LIMIT`."""
        rng = stream(identity.seed, "shape")
        drawn = rng.standard_normal(MODES)
        while (wild := np.abs(drawn) > MODE_LIMIT).any():
            drawn[wild] = rng.standard_normal(int(wild.sum()))
        average = np.einsum("mk,k->m", self._steering, ict_groups.deviations(identity))
        return (average + drawn).astype(np.float32)

    def _expressed(self, rest: np.ndarray, shapes: Mapping[str, float]) -> np.ndarray:
        points = rest.astype(np.float64)
        openings = {side: lids.opening(points) for side, lids in self._lids.items()}
        for name in SHAPES:  # in this order whatever the caller's, so that sums round alike
            weight = shapes.get(name, 0.0)
            if weight:
                points += weight * self._shapes[name]
        for side, lids in self._lids.items():
            lids.correct(points, shapes.get(f"eyeBlink_{side}", 0.0), openings[side])
        return self._parts.with_bag(points).astype(np.float32)


def transferred(arrays: flame_file.FlameArrays, source: IctFace) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """ICT's expression shapes on FLAME's vertices (V, 3) mm by name, and the (68,) landmark vertices; from the cache
    if they have been computed for the same two models before."""
    rest = source.average({})
    expressed = np.stack([source.average({name: 1.0}) for name in SHAPES])
    target = cache_folder() / f"flame-v{VERSION}-{_key(arrays, rest, expressed)}.npz"
    if not target.exists():
        moved, landmarks = _transfer(arrays, source, expressed)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".flame-", suffix=".npz", delete=False) as partial:
            try:
                np.savez(partial, moved=moved, landmarks=landmarks)
                partial.close()
                os.chmod(partial.name, 0o644)  # temporary files are private; a cache folder may be shared
                os.replace(partial.name, target)
            except BaseException:
                os.unlink(partial.name)
                raise
    with np.load(target, allow_pickle=False) as stored:
        return dict(zip(SHAPES, stored["moved"], strict=True)), stored["landmarks"]


def _transfer(arrays: flame_file.FlameArrays, source: IctFace, expressed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shapes, V, 3) float32 mm and (68,) vertices."""
    topology = source.topology
    ict, flame = _head_of(topology), _head(arrays)
    start, end = _pairs(ict, flame, topology.landmarks, _embedded(arrays))
    align = similarity(end, start)
    aligned = Head(align.apply(flame.vertices), flame.skin, flame.eyes)
    laid = register(ict, aligned, start, align.apply(end))
    transfer = Transfer(ict.vertices, laid, ict.skin, aligned.vertices, aligned.skin)
    back = align.inverse()
    moved = np.stack([back.turn(transfer(shape)) for shape in expressed]).astype(np.float32)
    places = back.apply(laid[topology.landmarks])
    directions = normals(laid, ict.skin)[topology.landmarks] @ back.rotation.T
    known = _embedded(arrays)
    if known is not None:
        places[-len(known) :] = known
    return moved, _nearest_vertices(flame, places, directions)


def _pairs(ict: Head, flame: Head, landmarks: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) places on the ICT head and (n, 3) their counterparts: features of the geometry, and landmarks if known."""
    ours, theirs = features(ict), features(flame)
    names = [name for name in ours if name in theirs]
    start, end = np.stack([ours[name] for name in names]), np.stack([theirs[name] for name in names])
    if known is not None:
        start = np.concatenate([start, ict.vertices[landmarks[-len(known) :]]])
        end = np.concatenate([end, known])
    return start, end


def _embedded(arrays: flame_file.FlameArrays) -> np.ndarray | None:
    """(51 or 68, 3) mm, the landmarks that came with the file."""
    if arrays.embedding is None:
        return None
    triangles, weights = arrays.embedding
    return MM * np.einsum("nk,nkd->nd", weights, arrays.template[arrays.faces[triangles]])


def _nearest_vertices(head: Head, places: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(n,) skin vertices near the places that face the same way, each taken once: the least total distance."""
    used = np.unique(head.skin)
    cost = scipy.spatial.distance.cdist(places, head.vertices[used])
    cost += TURNED_AWAY * (directions @ normals(head.vertices, head.skin)[used].T < 0.3)
    return used[scipy.optimize.linear_sum_assignment(cost)[1]]


def _head(arrays: flame_file.FlameArrays) -> Head:
    on_ball = np.isin(arrays.faces, np.concatenate(arrays.eyes)).any(1)
    return Head(MM * arrays.template, arrays.faces[~on_ball], arrays.faces[on_ball])


def _head_of(topology: Topology) -> Head:
    skin, eyes = (topology.faces[topology.materials == MATERIALS.index(name)] for name in ("skin", "eye"))
    return Head(topology.template.astype(np.float64), skin, eyes)


def _key(arrays: flame_file.FlameArrays, rest: np.ndarray, expressed: np.ndarray) -> str:
    """Changes when either model does: a hash of what the transfer is computed from."""
    digest = hashlib.sha256(" ".join(SHAPES).encode())
    for array in (arrays.template, arrays.faces, *(arrays.embedding or ()), rest, expressed):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
