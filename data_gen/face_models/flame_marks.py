"""Makes vertices of places inside triangles: the markup's points on a mesh too coarse to have a vertex at each."""

import numpy as np
import scipy.sparse

SNAP = 0.85  # a place with so much weight at one corner is that corner
LEAST_WEIGHT = 0.06  # of each corner otherwise, so that no triangle becomes a sliver


def insert(
    count: int, faces: np.ndarray, triangles: np.ndarray, weights: np.ndarray
) -> tuple[scipy.sparse.csr_array, np.ndarray, np.ndarray]:
    """Splits triangles in three at the places given.

    Args:
      count: number V of vertices.
      faces: (F, 3).
      triangles: (n,) the face of each place; weights: (n, 3) its barycentric weights there.

    Returns:
      (V + m, V) sparse, the old vertices' weights in each vertex, old ones first; (G, 3) faces; (n,) the vertex of
      each place.
    """
    splits: dict[int, list[tuple[tuple[int, int, int], np.ndarray]]] = {}
    added: list[tuple[np.ndarray, np.ndarray]] = []  # corners and weights of each new vertex
    marks = np.empty(len(triangles), np.int64)
    for place, (triangle, weight) in enumerate(zip(triangles.tolist(), weights, strict=True)):
        corners = faces[triangle]
        children = splits.setdefault(triangle, [(tuple(corners.tolist()), np.eye(3))])
        inside = [np.linalg.solve(frame.T, weight) for _, frame in children]
        child = int(np.argmax([share.min() for share in inside]))
        (a, b, c), frame = children[child]
        share = np.clip(inside[child], 0, None)
        if share.max() / share.sum() > SNAP:
            marks[place] = (a, b, c)[share.argmax()]
            continue
        share = np.maximum(share / share.sum(), LEAST_WEIGHT)
        middle = share / share.sum() @ frame
        marks[place] = new = count + len(added)
        added.append((corners, middle))
        children[child : child + 1] = [
            ((a, b, new), np.stack([frame[0], frame[1], middle])),
            ((b, c, new), np.stack([frame[1], frame[2], middle])),
            ((c, a, new), np.stack([frame[2], frame[0], middle])),
        ]
    kept = np.setdiff1d(np.arange(len(faces)), list(splits))
    split = [corners for children in splits.values() for corners, _ in children]
    mixed = scipy.sparse.eye_array(count, format="csr")
    if added:
        columns = np.concatenate([corners for corners, _ in added])
        values = np.concatenate([middle for _, middle in added])
        new_rows = np.repeat(np.arange(len(added)), 3)
        mixed = scipy.sparse.vstack(
            [mixed, scipy.sparse.coo_array((values, (new_rows, columns)), (len(added), count))], format="csr"
        )
    return mixed, np.concatenate([faces[kept], np.array(split, faces.dtype).reshape(-1, 3)]), marks
