"""Points that every face has, found from its geometry alone: lids, mouth corners and the profile of the midline.

A face is looked at from the front, one depth per cell. Eye openings are where an eyeball is in front; the profile's
extremes are the classical points of anthropometry (Farkas, "Anthropometry of the Head and Face", 1994).
"""

import dataclasses

import numpy as np
import scipy.ndimage

CELL = 0.5  # mm
LID_PLACES = np.linspace(0, 1, 9)  # fractions of the way from the right to the left corner of an eye's opening
LID_POINTS = 16  # places on the upper margin, both corners included, then on the lower one
LID_CORNERS = (0, len(LID_PLACES) - 1)  # those that are the eye's right and left corner
LEAST_EYE = 40.0  # mm^2 of eyeball that an open eye shows at least
PARTED, LIP_DEPTH = 9.0, 12.0  # mm: what lies so much behind what is so near above or below, is behind the lips
LIP_HEIGHT, HALF_MOUTH = 6.0, 45.0  # mm within which the other lip is looked for, and the mouth's corner
CREASE = 0.4  # mm that the line between the lips lies behind both of them; less is a corner


@dataclasses.dataclass(frozen=True)
class Head:
    """A head's outer surface and its eyeballs, in mm, y up, z out of the face.

    Attributes:
      vertices: (V, 3).
      skin: (F, 3) triangles of the skin, counter-clockwise from outside.
      eyes: (G, 3) triangles of both eyeballs.
    """

    vertices: np.ndarray
    skin: np.ndarray
    eyes: np.ndarray


def features(head: Head) -> dict[str, np.ndarray]:
    """Name -> point (3,) mm on the head, those that could be found.

    Always there: 'right lid 0..15' and 'left lid 0..15' (upper margin from the subject's right to left with both
    corners, then lower) and 'nose tip'. Where the profile has them: 'nasion', 'subnasale', 'upper lip', 'stomion',
    'lower lip', 'sulcus', 'chin'; where the lips' crease ends: 'mouth right', 'mouth left'.

    Raises:
      ValueError: if no two eyes are seen from the front.
    """
    view = _FrontView(head)
    found = {}
    for side, opening in zip(("right", "left"), view.openings(), strict=True):
        found |= {f"{side} lid {k}": point for k, point in enumerate(opening)}
    eyes = np.stack(list(found.values()))
    found |= view.profile(eyes[:, 0].mean(), eyes[:, 1].mean(), np.ptp(eyes[:, 0]))
    if "stomion" in found:
        found |= view.mouth_corners(found["stomion"])
    return found


class _FrontView:
    """Orthographic depth of skin and eyeballs seen along -z."""

    def __init__(self, head: Head):
        low, high = head.vertices.min(0) - 2 * CELL, head.vertices.max(0) + 2 * CELL
        self._low = low[:2]
        self._shape = np.ceil((high - low)[:2] / CELL).astype(int) + 1  # columns, rows
        self._skin = self._depth(head.vertices, head.skin)
        self._eyes = self._depth(head.vertices, head.eyes)

    def openings(self) -> tuple[np.ndarray, np.ndarray]:
        """(LID_POINTS, 3) of the right and the left eye: upper margin with both corners, then lower."""
        label, count = scipy.ndimage.label(self._eyes > self._skin)
        sizes = scipy.ndimage.sum_labels(np.ones_like(label), label, np.arange(1, count + 1)) * CELL**2
        places = scipy.ndimage.center_of_mass(np.ones_like(label), label, np.arange(1, count + 1))
        large = sorted((k for k in range(count) if sizes[k] > LEAST_EYE), key=lambda k: places[k][0])
        if len(large) != 2:
            raise ValueError(
                f"{len(large)} eye openings are seen from the front; expected 2. The head must look along +z with "
                "open eyes."
            )
        return tuple(self._margin(label == k + 1) for k in large)

    def _margin(self, opening: np.ndarray) -> np.ndarray:
        columns = np.flatnonzero(opening.any(1))
        rows = np.arange(opening.shape[1])
        top = np.array([rows[opening[c]].max() + 1.0 for c in columns])
        bottom = np.array([rows[opening[c]].min() - 1.0 for c in columns])
        at = columns[0] + LID_PLACES * (columns[-1] - columns[0])
        corners = (top + bottom)[[0, -1]] / 2
        upper, lower = (np.interp(at, columns, scipy.ndimage.gaussian_filter1d(y, 1.5)) for y in (top, bottom))
        upper[[0, -1]] = corners
        at, row = np.concatenate([at, at[1:-1]]), np.concatenate([upper, lower[1:-1]])
        skin = np.where(np.isfinite(self._skin), self._skin, self._skin[np.isfinite(self._skin)].min())
        column, row_index = np.round(at).astype(int), np.round(row).astype(int)
        z = scipy.ndimage.maximum_filter(skin, 3)[column, row_index]
        return np.column_stack([self._low + CELL * np.column_stack([at, row]), z])

    def profile(self, middle: float, eye_y: float, eye_span: float) -> dict[str, np.ndarray]:
        """Extremes of the midline's profile below and between the eyes."""
        column = round((middle - self._low[0]) / CELL)
        y = self._low[1] + CELL * np.arange(self._shape[1])
        depth = self._skin[column - 2 : column + 3].max(0)
        depth = np.maximum(depth, self._eyes[column - 2 : column + 3].max(0))
        inside = np.isfinite(depth) & (np.abs(y - eye_y) < 1.4 * eye_span)
        y, z = y[inside], depth[inside]
        through = z < scipy.ndimage.maximum_filter1d(z, round(PARTED / CELL)) - LIP_DEPTH  # between parted lips
        z = np.interp(y, y[~through], z[~through])
        z = scipy.ndimage.gaussian_filter1d(z, 1.0 / CELL)
        below = np.flatnonzero((y < eye_y) & (y > eye_y - 0.8 * eye_span))
        tip = below[z[below].argmax()]
        at = {"nose tip": tip}
        above = np.flatnonzero((y > y[tip] + 0.15 * eye_span) & (y < eye_y + 0.3 * eye_span))
        at["nasion"] = above[z[above].argmin()]
        # Below the tip the profile falls and rises in turn: base of the nose, upper lip, mouth, lower lip, chin.
        turns = np.diff(np.sign(np.diff(z[: tip + 1])))
        extremes = np.flatnonzero(turns)[::-1] + 1
        names = (("subnasale", 2), ("upper lip", -2), ("stomion", 2), ("lower lip", -2), ("sulcus", 2), ("chin", -2))
        k = 0
        for name, kind in names:
            while k < len(extremes) and turns[extremes[k] - 1] != kind:
                k += 1
            if k == len(extremes):
                break
            at[name] = extremes[k]
            k += 1
        return {name: np.array([middle, y[row], z[row]]) for name, row in at.items()}

    def mouth_corners(self, stomion: np.ndarray) -> dict[str, np.ndarray]:
        """Where the crease between the lips runs out on either side of the point where they meet."""
        start = np.round((stomion[:2] - self._low) / CELL).astype(int)
        around, drift = round(LIP_HEIGHT / CELL), round(1.5 / CELL)
        found = {}
        for name, side in (("mouth right", -1), ("mouth left", 1)):
            column, row = start
            for _ in range(round(HALF_MOUTH / CELL)):
                column += side
                if not (0 <= column < self._shape[0] and 2 * around <= row < self._shape[1] - 2 * around):
                    break
                z = self._skin[column, row - 2 * around : row + 2 * around + 1]
                z = scipy.ndimage.gaussian_filter1d(np.maximum(z, z.max() - LIP_DEPTH), 1.0)
                low = 2 * around - drift + z[2 * around - drift : 2 * around + drift + 1].argmin()
                crease = min(z[low : low + around].max(), z[low - around : low + 1].max()) - z[low]
                if crease < CREASE:
                    found[name] = np.array([*(self._low + CELL * np.array([column, row])), self._skin[column, row]])
                    break
                row += low - 2 * around
        return found

    def _depth(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(columns, rows) greatest z over each cell's middle, -inf where there is nothing."""
        depth = np.full(self._shape, -np.inf)
        corners = vertices[faces].astype(np.float64)  # [F, 3, 3]
        corners[..., :2] = (corners[..., :2] - self._low) / CELL
        first = np.ceil(corners[..., :2].min(1)).astype(int)
        width, height = np.maximum(np.floor(corners[..., :2].max(1)).astype(int) + 1 - first, 0).T
        count = width * height
        face = np.repeat(np.arange(len(faces)), count)
        place = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
        column = first[face, 0] + place % np.maximum(width, 1)[face]
        row = first[face, 1] + place // np.maximum(width, 1)[face]
        point = np.stack([column, row], -1)
        a, b, c = (corners[face, k, :2] for k in range(3))
        area = _cross(b - a, c - a)
        weights = np.stack([_cross(c - b, point - b), _cross(a - c, point - c), _cross(b - a, point - a)], -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            weights /= area[:, None]
        inside = (weights > -1e-9).all(-1)
        z = (weights * corners[face, :, 2]).sum(-1)
        np.maximum.at(depth, (column[inside], row[inside]), z[inside])
        return depth


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Vertices of each closed border of a triangle mesh, in order along it; where it branches, in part."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = int(faces.max()) + 1
    code = edges[:, 0].astype(np.int64) * size + edges[:, 1]
    border = edges[~np.isin(code, edges[:, 1].astype(np.int64) * size + edges[:, 0])]
    after = dict(border.tolist())
    loops = []
    while after:
        start, place = after.popitem()
        loop = [start]
        while place in after:
            loop.append(place)
            place = after.pop(place)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
