"""Upper lashes for a FLAME head, which has none: slim triangles that grow from the lid's margin wherever it goes."""

import numpy as np

COUNT = 40
LENGTH = (1.6, 3.2)  # mm at the corners, at the middle
WIDTH = 0.33  # of the distance between two
OPEN, SHUT = np.array([0.0, 0.42, 0.95]), np.array([0.0, -0.5, 0.9])  # where they point, without their fanning out
FAN = 0.9


class Lashes:
    """One eye's.

    Args:
      template: (V, 3) mm.
      margin: (m,) vertices of the upper lid's margin with both corners, from the subject's right to left.
      side: 1 for the left eye, -1 for the right.
    """

    def __init__(self, template: np.ndarray, margin: np.ndarray, side: int):
        self._margin = margin
        steps = np.linalg.norm(np.diff(template[margin], axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
        place = np.linspace(0.06, 0.95, COUNT)
        place = place if side > 0 else 1 - place[::-1]  # none in the inner corner
        half = WIDTH * (place[1] - place[0])
        self._tie = np.stack(
            [[np.interp(p, along, unit) for unit in np.eye(len(margin))] for p in (place - half, place + half, place)]
        ).swapaxes(1, 2)  # [2 ends of the base and its middle, COUNT, m]
        outwards = place if side > 0 else 1 - place
        self._length = (LENGTH[0] + (LENGTH[1] - LENGTH[0]) * np.sin(np.pi * outwards**1.3))[:, None]
        self._length[1::2] *= 0.8
        self._fan = side * FAN * (outwards - 0.42)[:, None] * [1.0, 0.0, 0.0]
        self.island = np.stack(
            [np.stack([place - half, place + half, place], -1), np.broadcast_to([0.0, 0.0, 1.0], (COUNT, 3))], -1
        ).reshape(-1, 2)
        self.faces = np.arange(3 * COUNT).reshape(-1, 3)

    def grow(self, points: np.ndarray, closing: float) -> np.ndarray:
        """(3 COUNT, 3) mm on a head (V, 3) mm whose lid is so far closed, 0..1."""
        right, left, middle = np.einsum("kcm,md->kcd", self._tie, points[self._margin])
        way = (1 - closing) * OPEN + closing * SHUT + self._fan
        tip = middle + self._length * way / np.linalg.norm(way, axis=1, keepdims=True)
        return np.stack([right, left, tip], 1).reshape(-1, 3)
