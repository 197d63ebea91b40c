"""Anatomy: named regions of a face as functions of template position, found from the 68 landmarks alone.

Coordinates are template mm divided by the face's own scale, so that sizes quoted in mm fit an average adult on every
face model: x to the subject's left of the midline, y up from the eye line, z forward from the ears.
"""

import dataclasses

import numpy as np

from data_gen.face_models import Topology
from data_gen.textures.noise import smoothstep

EYE_DISTANCE_MM = 63.0  # adult interpupillary distance
BROW_OVERHANG_MM = 5.0  # hairs start this far inside the innermost brow landmark ...
BROW_GAP_MM = 20.0  # ... if the brows stay this far apart
FAR = 99.0  # distance given to points that cannot belong to a feature


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Where things are. Arrays are per point of the P points it was made for (texels or vertices).

    Attributes:
      points: (P, 3) adult mm, the frame described above.
      normals: (P, 3).
      front: (P,) 0..1, how much the point belongs to the front of the face; facing: indices of those above 0.05.
      lips: (P,) mm inside the lips' outer border (negative outside); mouth_line: (P,) mm to where the lips meet.
      upper_lip: (P,) bool.
      eye: (P,) mm outside the nearer eye's opening; eye_x, eye_y: (P,) mm from its centre, x towards the temple.
      brow_along, brow_across: (P,) mm along the nearer brow from its inner end, and above its middle line.
      brow_length: mm.
      landmarks: (68, 3) in the same frame.
      right: (P,) bool, the subject's right half.
      origin, scale: template mm = adult mm * scale + origin.
    """

    points: np.ndarray
    normals: np.ndarray
    front: np.ndarray
    facing: np.ndarray
    lips: np.ndarray
    mouth_line: np.ndarray
    upper_lip: np.ndarray
    eye: np.ndarray
    eye_x: np.ndarray
    eye_y: np.ndarray
    brow_along: np.ndarray
    brow_across: np.ndarray
    brow_length: float
    landmarks: np.ndarray
    right: np.ndarray
    origin: np.ndarray
    scale: float


def locate(topology: Topology, positions: np.ndarray, normals: np.ndarray) -> Anatomy:
    """The anatomy at template positions (P, 3) mm with normals (P, 3)."""
    raw = topology.template[topology.landmarks].astype(np.float64)
    eyes = np.stack([raw[36:42].mean(0), raw[42:48].mean(0)])
    scale = np.linalg.norm(eyes[1] - eyes[0]) / EYE_DISTANCE_MM
    origin = np.array([eyes[:, 0].mean(), eyes[:, 1].mean(), raw[[0, 16], 2].mean()])
    landmarks, points = (raw - origin) / scale, (positions.astype(np.float64) - origin) / scale

    xy = points[:, :2]
    front = smoothstep(0.0, 12.0, points[:, 2]) * smoothstep(-0.15, 0.25, normals[:, 2])
    near = (front > 0) & (np.abs(points[:, 0]) < 75) & (points[:, 1] < 70) & (points[:, 1] > -110)
    fields = {name: np.full(len(points), -FAR) for name in ("lips", "brow_along")}
    fields |= {name: np.full(len(points), FAR) for name in ("mouth_line", "eye", "eye_x", "eye_y", "brow_across")}

    mouth = near & _box(xy, landmarks[48:60, :2], 12)
    fields["lips"][mouth] = _inside(xy[mouth], _closed(landmarks[48:60, :2]))
    upper, lower = landmarks[60:65, :2], landmarks[[60, 67, 66, 65, 64], :2]
    middle = (upper + lower) / 2
    fields["mouth_line"][mouth] = _along(xy[mouth], _open(middle))[1]
    meeting = np.interp(xy[:, 0], middle[:, 0], middle[:, 1])

    right = points[:, 0] < 0
    brow_length = 0.0
    for side, eye, brow in ((-1, landmarks[36:42], landmarks[17:22][::-1]), (1, landmarks[42:48], landmarks[22:27])):
        center = eye[:, :2].mean(0)
        mine = near & (right == (side < 0))
        local = mine & _box(xy, eye[:, :2], 32)
        fields["eye"][local] = -_inside(xy[local], _closed(eye[:, :2]))
        fields["eye_x"][local] = side * (xy[local, 0] - center[0])
        fields["eye_y"][local] = xy[local, 1] - center[1]
        local = mine & _box(xy, brow[:, :2], 16)
        inward = brow[0, :2] - brow[1, :2]
        overhang = min(BROW_OVERHANG_MM, max(abs(brow[0, 0]) - BROW_GAP_MM / 2, 0.1))
        start = brow[0, :2] + overhang * inward / np.linalg.norm(inward)
        curve = _open(np.concatenate([start[None], brow[:, :2]]) - (0.0, 1.0))
        at, distance, offset = _along(xy[local], curve)
        fields["brow_along"][local] = at
        fields["brow_across"][local] = distance * np.sign(offset[:, 1])
        brow_length = max(brow_length, float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()))
    return Anatomy(
        points=points.astype(np.float32),
        normals=normals.astype(np.float32),
        front=front.astype(np.float32),
        facing=np.flatnonzero(front > 0.05),
        upper_lip=xy[:, 1] > meeting,
        brow_length=brow_length,
        landmarks=landmarks,
        right=right,
        origin=origin,
        scale=float(scale),
        **{name: values.astype(np.float32) for name, values in fields.items()},
    )


def along_curve(xy: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Of points (P, 2) near a smooth curve through (M, 2) points: mm along it, distance in mm, how far to the right of
    it (x) in mm, each (P,), and the curve's length."""
    smooth = _open(curve, 4)
    along, distance, offset = _along(xy, smooth)
    return along, distance, offset[:, 0], float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).sum())


def _box(xy: np.ndarray, around: np.ndarray, margin: float) -> np.ndarray:
    return ((xy > around.min(0) - margin) & (xy < around.max(0) + margin)).all(-1)


def _closed(polygon: np.ndarray, per_side: int = 5) -> np.ndarray:
    """A smooth closed curve through the corners (Catmull-Rom), as (M, 2) points."""
    return _spline(np.concatenate([polygon[-1:], polygon, polygon[:2]]), per_side)


def _open(polyline: np.ndarray, per_side: int = 8) -> np.ndarray:
    ends = (2 * polyline[:1] - polyline[1:2], polyline, 2 * polyline[-1:] - polyline[-2:-1])
    return np.concatenate([_spline(np.concatenate(ends), per_side), polyline[-1:]])


def _spline(p: np.ndarray, per_side: int) -> np.ndarray:
    t = (np.arange(per_side) / per_side)[None, :, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, p.shape[1])


def _segments(
    xy: np.ndarray, start: np.ndarray, end: np.ndarray, endless: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance of points to segments, place on them (0..1) and offset: (P, M), (P, M), (P, M, 2).

    With `endless`, the first and the last segment go on as straight lines.
    """
    along = end - start
    t = np.einsum("pmd,md->pm", xy[:, None] - start, along) / np.maximum((along**2).sum(-1), 1e-9)
    low, high = np.zeros(len(start)), np.ones(len(start))
    if endless:
        low[0], high[-1] = -np.inf, np.inf
    t = np.clip(t, low, high)
    offset = xy[:, None] - (start + t[..., None] * along)
    return np.linalg.norm(offset, axis=-1), t, offset


def _inside(xy: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Signed distance to a closed polygon, positive inside."""
    start, end = polygon, np.roll(polygon, -1, 0)
    distance = _segments(xy, start, end)[0].min(1)
    x, y = xy[:, :1], xy[:, 1:]
    rise = np.where(end[:, 1] == start[:, 1], 1e-9, end[:, 1] - start[:, 1])
    crosses = ((start[:, 1] > y) != (end[:, 1] > y)) & (
        x < (end[:, 0] - start[:, 0]) * (y - start[:, 1]) / rise + start[:, 0]
    )
    return np.where(crosses.sum(1) % 2 == 1, distance, -distance)


def _along(xy: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each point: arc length of the nearest place on a curve (beyond its ends: below 0, above its length), distance
    to it, and offset from it (P, 2)."""
    start, end = curve[:-1], curve[1:]
    lengths = np.linalg.norm(end - start, axis=1)
    distance, t, offset = _segments(xy, start, end, endless=True)
    best = distance.argmin(1)
    row = np.arange(len(xy))
    arc = (np.cumsum(lengths) - lengths)[best] + t[row, best] * lengths[best]
    return arc, distance[row, best], offset[row, best]
