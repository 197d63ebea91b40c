"""ICT-FaceKit's mesh made ready to draw: which faces stay, what they are made of, and one texture atlas for all.

The source has one UV tile for each material. Here every part gets its own rectangle of a single [0, 1] square, the
face by far the largest. Left out are the helper meshes of ray tracers (tear fluid, occlusion and blend sheets), the
recessed irises (the opaque sclera closes over them as the cornea: paint the iris on it), all lash cards but one for
each upper lid, and what no camera of the generator sees: the back of the head, of the gums and of the eyeballs, the
rear molars, the depth of the eye sockets.
"""

import dataclasses

import numpy as np

from data_gen.face_models import MATERIALS
from data_gen.face_models.ict_convert import IctArrays

# Vertex ranges [first, last + 1) of the source; source: README of ICT-FaceKit, "Face Model Topology", "Teeth Details".
FACE = (0, 9409)
NARROW_FACE = (0, 6706)
HEAD = (9409, 11248)
MOUTH_SOCKET = (11248, 13294)
EYE_SOCKETS = ((13678, 14062), (13294, 13678))  # the subject's right, left; here and below
GUMS = (14062, 15953)
THROAT = (15953, 16611)  # palate, floor of the mouth, uvula
TONGUE = (16611, 17039)
TEETH = (17039, 21451)
SCLERAS = ((23021, 23791), (21451, 22221))
LASHES = ((26035, 26149), (25351, 25465))  # one of the three cards of each upper lid
REAR_MOLARS = ((17039, 17416), (18870, 19247), (19247, 19602), (21096, 21451))  # second and third of each quarter

GUMS_BACK = 6.5  # cm in z: what of gums and tongue lies further back is hidden by lips and cheeks
EYE_CAP = np.cos(np.radians(85))  # the eyeball is kept out to this angle from the pole of the cornea
CAMERA_YAW, CAMERA_PITCH = 45.0, 12.0  # degrees either way: wider than scene.View
FACING_SLACK = 0.2  # how far a normal may lean away from every camera in the template before its face is dropped

_FACE_SIDE = 0.78  # of the atlas; the other parts share the strips right of and below the face
_STRIP = 1 - _FACE_SIDE
_GAP = 0.004  # free border of each rectangle, so that texture filtering does not bleed: 4 texels of 1024
_PARTS = (  # source vertices, material, rectangle (u, v, side) in the atlas
    (FACE, "skin", (0.0, _STRIP, _FACE_SIDE)),
    (HEAD, "skin", (0.0, 0.0, _STRIP)),
    (MOUTH_SOCKET, "mouth", (_FACE_SIDE, 3 * _STRIP, _STRIP / 2)),
    (EYE_SOCKETS[0], "skin", (_FACE_SIDE + _STRIP / 2, 3 * _STRIP, _STRIP / 4)),
    (EYE_SOCKETS[1], "skin", (_FACE_SIDE + 3 * _STRIP / 4, 3 * _STRIP, _STRIP / 4)),
    (GUMS, "gums", (_STRIP, 0.0, _STRIP)),
    (THROAT, "mouth", (_FACE_SIDE + _STRIP / 2, 3 * _STRIP + _STRIP / 4, _STRIP / 4)),
    (TONGUE, "tongue", (3 * _STRIP, 0.0, _FACE_SIDE - 3 * _STRIP)),
    (TEETH, "teeth", (2 * _STRIP, 0.0, _STRIP)),
    (SCLERAS[0], "eye", (_FACE_SIDE, _STRIP, _STRIP)),
    (SCLERAS[1], "eye", (_FACE_SIDE, 2 * _STRIP, _STRIP)),
    (LASHES[0], "lash", (_FACE_SIDE, 0.0, _STRIP / 2)),
    (LASHES[1], "lash", (_FACE_SIDE + _STRIP / 2, 0.0, _STRIP / 2)),
)


@dataclasses.dataclass(frozen=True)
class Atlas:
    """The triangles that stay, over the source's vertices.

    `faces` (F, 3) index source vertices, `uvs` (U, 2), `uv_faces` (F, 3), `materials` (F,) as in `Topology`.
    """

    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    materials: np.ndarray


def build(arrays: IctArrays) -> Atlas:
    """Chooses the faces and lays them out; the same input always gives the same arrays."""
    faces, uv_faces = _triangles(arrays.faces, arrays.faces), _triangles(arrays.uv_faces, arrays.faces)
    highest = _triangles(np.repeat(arrays.faces.max(1, keepdims=True), 4, 1), arrays.faces)[:, 0]
    seen = _seen(arrays.neutral, faces)
    parts = []
    for (first, stop), material, rectangle in _PARTS:  # a polygon that joins two parts belongs to the later one
        rows = np.flatnonzero(seen & (highest >= first) & (highest < stop))
        used, corners = np.unique(uv_faces[rows], return_inverse=True)
        parts.append((faces[rows], _fit(arrays.uvs[used], rectangle), corners.reshape(-1, 3), material))
    starts = np.cumsum([0, *(len(uvs) for _, uvs, _, _ in parts)])
    return Atlas(
        faces=np.concatenate([faces for faces, _, _, _ in parts]).astype(np.int32),
        uvs=np.concatenate([uvs for _, uvs, _, _ in parts]).astype(np.float32),
        uv_faces=np.concatenate(
            [corners + start for (_, _, corners, _), start in zip(parts, starts[:-1], strict=True)]
        ).astype(np.int32),
        materials=np.concatenate(
            [np.full(len(faces), MATERIALS.index(material), np.int8) for faces, _, _, material in parts]
        ),
    )


def _triangles(values: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    """(n, 4) values at the corners of quads and padded triangles -> (m, 3); quads are cut along one diagonal."""
    quads = values[polygons[:, 3] >= 0]
    return np.concatenate([values[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _seen(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) bool: may a camera of the generator see this face?"""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    yaw, pitch = np.radians(np.meshgrid([-CAMERA_YAW, 0, CAMERA_YAW], [-CAMERA_PITCH, 0, CAMERA_PITCH]))
    cameras = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], -1).reshape(-1, 3)
    seen = (normals @ cameras.T).max(1) > -FACING_SLACK
    lowest, highest = faces.min(1), faces.max(1)
    seen |= (highest < NARROW_FACE[1]) | (lowest >= LASHES[1][0])  # lids, nostrils and lips turn as they move
    for first, stop in EYE_SOCKETS:  # only the ring that joins the lids
        seen &= ~((lowest >= first) & (highest < stop))
    for first, stop in REAR_MOLARS:
        seen &= ~((lowest >= first) & (highest < stop))
    inside = (lowest >= GUMS[0]) & (highest < TONGUE[1])
    seen &= ~(inside & (vertices[faces, 2].max(1) < GUMS_BACK))
    for first, stop in SCLERAS:
        ball = vertices[first:stop].astype(np.float64)
        centre = (ball.max(0) + ball.min(0)) / 2
        pole = ball[ball[:, 2].argmax()] - centre
        away = vertices[faces].mean(1) - centre
        cosine = away @ pole / (np.linalg.norm(away, axis=1) * np.linalg.norm(pole))
        seen &= ~((lowest >= first) & (highest < stop) & (cosine < EYE_CAP))
    return seen


def _fit(uvs: np.ndarray, rectangle: tuple[float, float, float]) -> np.ndarray:
    """Moves an island into its square of the atlas, as large as it fits, without stretching it."""
    u, v, side = rectangle
    low, high = uvs.min(0), uvs.max(0)
    scale = (side - 2 * _GAP) / (high - low).max()
    return (uvs.astype(np.float64) - (low + high) / 2) * scale + np.array([u, v]) + side / 2
