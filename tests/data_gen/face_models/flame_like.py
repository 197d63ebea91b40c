"""A head in FLAME's layout for the tests, made of ICT-FaceKit's geometry, and files as FLAME's are.

The head is coarser than its source, wider, turned and in metres; its sockets are closed behind the eyeballs, its mouth
is a hole, and it has no teeth, as FLAME. Nothing of FLAME is in it.
"""

import heapq
import io
import pickle  # noqa: TID251
import struct

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

from data_gen.face_models import ict_convert
from data_gen.face_models.ict import LANDMARKS
from data_gen.face_models.ict_atlas import EYE_SOCKETS, MOUTH_SOCKET, SCLERAS

VERTICES = 4400  # of the skin; FLAME has 3931, spread more evenly
LIDS, LIPS = 1.05, 0.45  # cm around eyes and mouth where the source's edge loops stay as they are, as FLAME has some
METRES = 0.01  # the source is in centimetres
TURN = np.array([[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]])
WARP = METRES * TURN @ np.diag([1.06, 0.97, 1.03])


def arrays(source: ict_convert.IctArrays) -> dict[str, np.ndarray]:
    """FLAME's keys and arrays; `shapedirs` is what chumpy holds and `J_regressor` a sparse matrix in the real files."""
    polygons = source.faces
    triangles = np.concatenate([polygons[:, :3], polygons[polygons[:, 3] >= 0][:, [0, 2, 3]]])
    points = source.neutral.astype(np.float64)
    skin = (triangles < MOUTH_SOCKET[0]) | _within(triangles, EYE_SOCKETS[0]) | _within(triangles, EYE_SOCKETS[1])
    skin = triangles[skin.all(1)]
    fine = _near(points, LANDMARKS[36:42], LIDS) | _near(points, LANDMARKS[42:48], LIDS)
    fine |= _near(points, LANDMARKS[60:68], LIPS)
    kept, faces = np.unique(decimate(points, skin, VERTICES, fine), return_inverse=True)
    parts, chosen = [faces.reshape(-1, 3)], [kept]
    for first, stop in (SCLERAS[1], SCLERAS[0]):  # the subject's left eye is FLAME's first
        ball, faces = np.unique(triangles[_within(triangles, (first, stop)).all(1)], return_inverse=True)
        parts.append(faces.reshape(-1, 3) + sum(map(len, chosen)))
        chosen.append(ball)
    index = np.concatenate(chosen)
    sizes = np.cumsum([0, *map(len, chosen)])
    weights = np.zeros((len(index), 5))
    weights[: sizes[1], 1] = 1.0
    weights[sizes[1] : sizes[2], 3] = weights[sizes[2] :, 4] = 1.0
    modes = source.deltas[: ict_convert.IDENTITY_MODES, index].astype(np.float64)
    shapedirs = np.zeros((len(index), 3, 400))
    shapedirs[..., : len(modes)] = np.einsum("ij,mvj->vim", WARP, modes)
    regressor = np.zeros((5, len(index)))
    regressor[:, 0] = 1.0
    for joint, start, stop in ((3, sizes[1], sizes[2]), (4, sizes[2], sizes[3])):
        regressor[joint] = 0
        regressor[joint, start:stop] = 1 / (stop - start)
    return {
        "v_template": place(source, index),
        "shapedirs": shapedirs,
        "posedirs": np.zeros((len(index), 3, 36)),
        "f": np.concatenate(parts).astype(np.uint32),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


def place(source: ict_convert.IctArrays, vertices: np.ndarray) -> np.ndarray:
    """(n, 3) metres: where the source's vertices lie in the test head, whose average is somebody else."""
    person = np.einsum("m,mvi->vi", np.linspace(1.2, -1.2, 8), source.deltas[2:10, vertices].astype(np.float64))
    return (source.neutral[vertices] + person) @ WARP.T + [0.0, -0.03, 0.02]


def _near(points, loop, reach):
    """(V,) bool: close to a closed line through vertices."""
    corners = points[list(loop)]
    line = np.concatenate([np.linspace(a, b, 9) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])
    return cKDTree(line).query(points)[0] < reach


def _within(triangles, part):
    return (triangles >= part[0]) & (triangles < part[1])


def decimate(points: np.ndarray, faces: np.ndarray, count: int, keep: np.ndarray) -> np.ndarray:
    """Removes vertices but those to `keep` (V,) until `count` are left.

    Half-edge collapses by quadric error (Garland and Heckbert, "Surface Simplification", 1997).
    """
    used, local = np.unique(faces, return_inverse=True)
    p, triangles = points[used] / np.ptp(points[used]), [list(t) for t in local.reshape(-1, 3)]
    around = [set() for _ in used]  # faces of each vertex
    quadrics = np.zeros((len(used), 4, 4))
    for t, (a, b, c) in enumerate(triangles):
        normal = np.cross(p[b] - p[a], p[c] - p[a])
        plane = np.append(normal, -normal @ p[a]) / np.sqrt(np.linalg.norm(normal) + 1e-18)
        for v in (a, b, c):
            around[v].add(t)
            quadrics[v] += np.outer(plane, plane)

    def neighbours(v):
        return {w for t in around[v] for w in triangles[t]} - {v}

    def cost(v, w):
        q, end = quadrics[v] + quadrics[w], np.append(p[w], 1.0)
        return float(end @ q @ end) + 1e-6 * float(((p[v] - p[w]) ** 2).sum())

    border = {v for v in range(len(used)) if keep[used[v]] or len(neighbours(v)) != len(around[v])}
    heap = [(cost(v, w), v, w) for v in range(len(used)) if v not in border for w in neighbours(v)]
    heapq.heapify(heap)
    left, gone = len(used), set()
    while left > count and heap:
        known, v, w = heapq.heappop(heap)
        if v in gone or w in gone or w not in neighbours(v):
            continue
        now = cost(v, w)
        if now > known * 1.0001 + 1e-15:
            heapq.heappush(heap, (now, v, w))
            continue
        shared = neighbours(v) & neighbours(w)
        if len(shared) != 2 or _flips(p, triangles, around[v], v, w):
            continue
        for t in list(around[v]):
            if w in triangles[t]:
                for x in triangles[t]:
                    around[x].discard(t)
                triangles[t] = []
            else:
                triangles[t][triangles[t].index(v)] = w
                around[w].add(t)
        quadrics[w] += quadrics[v]
        gone.add(v)
        left -= 1
        for x in neighbours(w):
            if x not in border:
                heapq.heappush(heap, (cost(x, w), x, w))
    return used[np.array([t for t in triangles if t])]


def _flips(p, triangles, around, v, w):
    for t in around:
        if w not in triangles[t]:
            corners = [p[x] for x in triangles[t]]
            moved = [p[w] if x == v else p[x] for x in triangles[t]]
            before = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            after = np.cross(moved[1] - moved[0], moved[2] - moved[0])
            if before @ after < 0.2 * np.linalg.norm(before) * np.linalg.norm(after) + 1e-18:
                return True
    return False


def pickled(content: dict) -> bytes:
    """The bytes that Python 2 and chumpy would write: protocol 2, texts of bytes, `shapedirs` as chumpy.ch.Ch and
    `J_regressor` as a matrix of scipy.sparse.csc."""
    out = io.BytesIO()
    out.write(pickle.PROTO + b"\x02")
    values = dict(content)
    if isinstance(values.get("shapedirs"), np.ndarray):
        values["shapedirs"] = Chumpy(values["shapedirs"])
    if isinstance(values.get("J_regressor"), np.ndarray):
        values["J_regressor"] = scipy.sparse.csc_array(values["J_regressor"])
    _save(out, values | {"bs_style": "lbs", "bs_type": "lrotmin"})
    out.write(pickle.STOP)
    return out.getvalue()


class Chumpy:
    """Stands for chumpy.ch.Ch around an array."""

    def __init__(self, x):
        self.x = x


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _save(out, value):
    if value is None:
        out.write(pickle.NONE)
    elif isinstance(value, bool):
        out.write(pickle.NEWTRUE if value else pickle.NEWFALSE)
    elif isinstance(value, int):
        out.write(pickle.BININT + struct.pack("<i", value))
    elif isinstance(value, (str, bytes)):
        data = value.encode("latin1") if isinstance(value, str) else value
        out.write(pickle.BINSTRING + struct.pack("<I", len(data)) + data)
    elif isinstance(value, tuple):
        out.write(pickle.MARK)
        for item in value:
            _save(out, item)
        out.write(pickle.TUPLE)
    elif isinstance(value, dict):
        out.write(pickle.EMPTY_DICT)
        for key, item in value.items():
            _save(out, key)
            _save(out, item)
            out.write(pickle.SETITEM)
    elif isinstance(value, Chumpy):
        out.write(_global("chumpy.ch", "Ch"))
        _save(out, ())
        out.write(pickle.NEWOBJ)
        _save(out, {"x": value.x, "_itr": None, "_status": "new"})
        out.write(pickle.BUILD)
    elif scipy.sparse.issparse(value):
        out.write(_global("copy_reg", "_reconstructor") + pickle.MARK)
        out.write(_global("scipy.sparse.csc", "csc_matrix") + _global("__builtin__", "object") + pickle.NONE)
        out.write(pickle.TUPLE + pickle.REDUCE)
        _save(out, {"_shape": value.shape, "maxprint": 50, "format": "csc"} | _parts(value))
        out.write(pickle.BUILD)
    elif isinstance(value, np.ndarray):
        value = np.asfortranarray(value) if value.ndim == 3 else np.ascontiguousarray(value)
        out.write(_global("numpy.core.multiarray", "_reconstruct") + pickle.MARK + _global("numpy", "ndarray"))
        _save(out, (0,))
        _save(out, "b")
        out.write(pickle.TUPLE + pickle.REDUCE + pickle.MARK)
        _save(out, 1)
        _save(out, value.shape)
        out.write(_global("numpy", "dtype"))
        _save(out, (value.dtype.str[1:], 0, 1))
        out.write(pickle.REDUCE)
        _save(out, (3, "<", None, None, None, -1, -1, 0))
        out.write(pickle.BUILD)
        _save(out, value.ndim == 3)
        _save(out, value.tobytes("A"))
        out.write(pickle.TUPLE + pickle.BUILD)
    else:
        raise TypeError(type(value))


def _parts(matrix) -> dict:
    return {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
