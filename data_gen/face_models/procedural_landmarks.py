"""The 68-point markup on the procedural head's mesh."""

import numpy as np

from data_gen.face_models.procedural_mesh import BROW, EYE_LOOP, EYE_OFFSETS, MOUTH_COLUMNS, Half

# Points of the subject's left half and the midline, mm on the average face; each is the mesh vertex nearest to it.
_POINTS = {
    8: (0, -111, 86), 9: (15, -109, 83), 10: (30, -104, 70), 11: (43, -97, 55), 12: (57, -80, 43), 13: (66, -59, 33),
    14: (70, -40, 26), 15: (73, -20, 21), 16: (74, 2, 18),
    **{22 + n: (x, y, z) for n, ((x, y), z) in enumerate(zip(BROW, (90, 88, 85, 79, 67), strict=True))},
    27: (0, 3, 89.5), 28: (0, -9, 97.5), 29: (0, -19.5, 105.5), 30: (0, -33, 113),
    33: (0, -49, 98), 34: (6.3, -47, 96), 35: (12.8, -46, 91),
}  # fmt: skip
_K = EYE_LOOP // 2
_EYE = {42: 0, 43: 5, 44: 9, 45: _K, 46: 2 * _K - 9, 47: 2 * _K - 5}  # place on the lids' margin
# (x on the average face, upper lip?); the corner and the midline are exact members of the loops.
_OUTER_LIP = {51: (0.0, True), 52: (5.5, True), 53: (16.0, True), 55: (15.0, False), 56: (7.5, False), 57: (0.0, False)}
_INNER_LIP = {62: (0.0, True), 63: (9.0, True), 65: (9.0, False), 66: (0.0, False)}
# Each left point and its mirror image.
_MIRROR = {
    **{n: 16 - n for n in range(9, 17)},
    **{n: 43 - n for n in range(22, 27)},
    34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40,
    52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67,
}  # fmt: skip


def landmarks(half: Half, right: np.ndarray) -> np.ndarray:
    """(68,) int32 vertex of each point. `right` maps a vertex of the left half to its mirror image."""
    out = np.full(68, -1, np.int64)
    free = np.setdiff1d(np.arange(len(half.vertices)), np.concatenate([half.eye.ravel(), half.mouth[:4].ravel()]))
    for number, point in _POINTS.items():
        pool = free[half.vertices[free, 0] == 0] if point[0] == 0 else free
        out[number] = pool[np.argmin(np.linalg.norm(half.vertices[pool] - point, axis=-1))]
    for number, place in _EYE.items():
        out[number] = half.eye[EYE_OFFSETS.index(0.0), place]
    for loop, corner, points in ((half.mouth[4], 54, _OUTER_LIP), (half.mouth[2], 64, _INNER_LIP)):
        out[corner] = loop[MOUTH_COLUMNS]
        for number, (x, upper) in points.items():
            lip = loop[:MOUTH_COLUMNS] if upper else loop[MOUTH_COLUMNS + 1 :]
            out[number] = lip[np.argmin(np.abs(half.vertices[lip, 0] - x))]
    for number, other in _MIRROR.items():
        out[other] = right[out[number]]
    return out.astype(np.int32)
