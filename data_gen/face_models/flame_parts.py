"""FLAME's mesh made ready to draw: which faces stay, a mouth behind the lips, and one texture atlas for all.

FLAME is one skin with a hole at the mouth, two eyeballs, and no texture coordinates. Left out is what no camera of the
generator sees: the back of the head and of the eyeballs. Behind the lips hangs a dark bag, so that parted lips show
no hole.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from data_gen.face_models import MATERIALS, flame_mouth
from data_gen.face_models.correspondence import normals
from data_gen.face_models.face_features import boundary_loops
from data_gen.face_models.flame_chart import unfold
from data_gen.face_models.flame_lashes import Lashes

CAMERA_YAW, CAMERA_PITCH = 48.0, 15.0  # degrees either way: wider than the generator's cameras
FACING_SLACK = 0.1  # how far a smoothed normal may lean away from every camera before its face is dropped
SMOOTHINGS = 20  # of how a place faces, so that ears and nostrils do not tear the surface
EYE_CAP = np.radians(100.0)  # eyeballs are kept to this angle from the axis that they look along

SKIN_ISLAND = (0.004, 0.204, 0.992, 0.792)  # u, v, width, height
EYE_ISLANDS = ((0.205, 0.004, 0.19, 0.19), (0.005, 0.004, 0.19, 0.19))  # the subject's left, right
MOUTH_ISLAND = (0.405, 0.004, 0.19, 0.19)
LASH_ISLANDS = ((0.605, 0.004, 0.19, 0.02), (0.605, 0.034, 0.19, 0.02))
FACE_REACH = 75.0  # mm around the middle of the face where texels lie densest
FAR_IMPORTANCE = 0.45  # texels per length far from there, against those on the face


@dataclasses.dataclass(frozen=True)
class Parts:
    """Arrays over the model's vertices: those of FLAME that stay, then those of the mouth's bag, then of what was
    added with `extended`.

    Attributes:
      kept: (K,) the FLAME vertices that stay.
      faces, uvs, uv_faces, materials: as in `Topology`.
      rim: (n,) the kept vertices around the mouth's hole, in order; empty if the mouth is closed.
      eyes: kept vertices of the left and the right eyeball.
    """

    kept: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    materials: np.ndarray
    rim: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]

    def extended(self, faces: np.ndarray, uvs: np.ndarray, uv_faces: np.ndarray, materials: np.ndarray) -> "Parts":
        """The same with one more piece of mesh, whose vertices come last."""
        return dataclasses.replace(
            self,
            faces=np.concatenate([self.faces, faces + self.faces.max() + 1]).astype(np.int32),
            uvs=np.concatenate([self.uvs, uvs]).astype(np.float32),
            uv_faces=np.concatenate([self.uv_faces, uv_faces + len(self.uvs)]).astype(np.int32),
            materials=np.concatenate([self.materials, materials]).astype(np.int8),
        )

    def with_lashes(self, lashes: Sequence[Lashes]) -> "Parts":
        """The same with the lashes of the left and the right eye as its last vertices."""
        parts = self
        for lash, place in zip(lashes, LASH_ISLANDS, strict=True):
            black = np.full(len(lash.faces), MATERIALS.index("lash"))
            parts = parts.extended(lash.faces, lash.island * place[2:] + place[:2], lash.faces, black)
        return parts

    def with_bag(self, points: np.ndarray) -> np.ndarray:
        """(K, 3) mm -> (V, 3) mm: hangs the bag on the lips wherever they are."""
        return np.concatenate([points, flame_mouth.bag(points[self.rim])]) if len(self.rim) else points


def build(template: np.ndarray, faces: np.ndarray, eyes: tuple[np.ndarray, np.ndarray], mouth: np.ndarray) -> Parts:
    """Chooses faces and lays them out.

    Args:
      template: (V, 3) mm; faces: (F, 3) FLAME's.
      eyes: vertices of the left and the right eyeball.
      mouth: (3,) mm where the lips meet.
    """
    on_ball = np.isin(faces, np.concatenate(eyes)).any(1)
    skin = _seen(template, faces[~on_ball], mouth)
    balls = [_cap(template, faces[on_ball], eye) for eye in eyes]
    used = np.concatenate([skin.ravel(), *(ball.ravel() for ball in balls)])
    kept, index = np.unique(used), np.full(len(template), -1)
    index[kept] = np.arange(len(kept))
    rim = index[_mouth_rim(template, skin, mouth)]
    islands = [_skin_island(template, skin, mouth)]
    islands += [_eye_island(template, ball, place) for ball, place in zip(balls, EYE_ISLANDS, strict=True)]
    bodies, materials = [index[skin], *(index[ball] for ball in balls)], ["skin", "eye", "eye"]
    if len(rim):
        body, island, corners = flame_mouth.bag_faces(rim, len(kept))
        bodies.append(body)
        u, v, width, height = MOUTH_ISLAND
        islands.append((island * [width, height] + [u, v], corners))
        materials.append("mouth")
    starts = np.cumsum([0, *(len(uvs) for uvs, _ in islands)])
    return Parts(
        kept=kept,
        faces=np.concatenate(bodies).astype(np.int32),
        uvs=np.concatenate([uvs for uvs, _ in islands]).astype(np.float32),
        uv_faces=np.concatenate([f + s for (_, f), s in zip(islands, starts[:-1], strict=True)]).astype(np.int32),
        materials=np.repeat([MATERIALS.index(name) for name in materials], [len(b) for b in bodies]).astype(np.int8),
        rim=rim,
        eyes=tuple(np.unique(index[ball]) for ball in balls),
    )


def _seen(template: np.ndarray, skin: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """The skin's faces without the largest piece that no camera sees."""
    yaw, pitch = np.radians(np.meshgrid([-CAMERA_YAW, 0, CAMERA_YAW], [-CAMERA_PITCH, 0, CAMERA_PITCH]))
    cameras = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], -1).reshape(-1, 3)
    normal = normals(template, skin)
    low = template[:, 1] < mouth[1]
    normal[low, 1] = 0.0  # the back of neck and shoulders is hidden by the head, however they slope
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    facing = (normal @ cameras.T).max(1)
    ends = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    graph = scipy.sparse.coo_array((np.ones(len(ends)), ends.T), (len(template),) * 2).tocsr()
    graph = ((graph + graph.T) > 0).astype(float)
    degree = np.maximum(graph.sum(1), 1)
    for _ in range(SMOOTHINGS):
        facing = 0.5 * facing + 0.5 * (graph @ facing) / degree
    hidden = (facing[skin] < -FACING_SLACK).any(1)
    if hidden.any():
        piece = _pieces(skin[hidden], len(template))
        hidden[np.flatnonzero(hidden)[piece != np.bincount(piece).argmax()]] = False
    skin = skin[~hidden]
    piece = _pieces(skin, len(template))
    skin = skin[piece == np.bincount(piece).argmax()]
    while True:  # where two borders meet in one vertex, the surface is no disc
        border = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
        code = border[:, 0].astype(np.int64) * len(template) + border[:, 1]
        back = border[:, 1].astype(np.int64) * len(template) + border[:, 0]
        starts, count = np.unique(border[~np.isin(code, back), 0], return_counts=True)
        if not (count > 1).any():
            return skin
        skin = skin[~np.isin(skin, starts[count > 1]).any(1)]


def _pieces(faces: np.ndarray, count: int) -> np.ndarray:
    """(F,) which connected piece each face belongs to."""
    graph = scipy.sparse.coo_array((np.ones(2 * len(faces)), faces[:, [0, 1, 1, 2]].reshape(-1, 2).T), (count, count))
    return connected_components(graph, directed=False)[1][faces[:, 0]]


def _cap(template: np.ndarray, faces: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Front faces of an eyeball."""
    faces = faces[np.isin(faces, eye).all(1)]
    middle = (template[eye].max(0) + template[eye].min(0)) / 2
    away = template[faces].mean(1) - middle
    return faces[away[:, 2] > np.cos(EYE_CAP) * np.linalg.norm(away, axis=1)]


def _mouth_rim(template: np.ndarray, skin: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    for loop in boundary_loops(skin):
        if np.linalg.norm(template[loop].mean(0) - mouth) < 30 and np.ptp(template[loop], axis=0).max() < 90:
            return loop
    return np.zeros(0, int)


def _skin_island(template: np.ndarray, skin: np.ndarray, mouth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used, faces = np.unique(skin, return_inverse=True)
    faces = faces.reshape(-1, 3)
    away = np.linalg.norm(template[used] - mouth - [0, 25, -20], axis=1)
    near = np.clip((2 * FACE_REACH - away) / FACE_REACH, 0, 1)
    importance = FAR_IMPORTANCE + (1 - FAR_IMPORTANCE) * near * near * (3 - 2 * near)
    u, v, width, height = SKIN_ISLAND
    return unfold(template[used], faces, importance) * [width, height] + [u, v], faces


def _eye_island(
    template: np.ndarray, ball: np.ndarray, place: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Polar map about the axis that the eye looks along."""
    used, faces = np.unique(ball, return_inverse=True)
    points = template[used]
    flat = points[:, :2] - (points[:, :2].max(0) + points[:, :2].min(0)) / 2
    depth = points[:, 2] - (points[:, 2].max() - np.ptp(points[:, 0]) / 2)
    radius = np.linalg.norm(flat, axis=1)
    angle = np.arctan2(radius, depth)
    angle /= angle.max()
    u, v, width, height = place
    disc = 0.5 + 0.5 * flat * (angle / np.maximum(radius, 1e-9))[:, None]
    return disc * [width, height] + [u, v], faces.reshape(-1, 3)
