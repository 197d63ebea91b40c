"""Self-shadowing of a head, baked once: which directions each vertex receives light from.

It is soft and nearly the same for every head of a model, so that one fit stands in for a shadow pass per frame: eye
sockets, nostrils, under the nose, the lip and the chin.
"""

from collections.abc import Callable

import numpy as np

from data_gen.face_models import MATERIALS, Topology

DIRECTIONS, SIZE = 96, 256  # height maps, and their side in cells
# The template's lips are closed, which would leave what lies behind them black when they part: it gets this much light
# instead, more from the front than from above.
OPEN_MOUTH = {
    "teeth": (0.46, 0.0, 0.05, 0.28), "gums": (0.26, 0.0, 0.0, 0.35), "tongue": (0.26, 0.0, 0.05, 0.35),
    "mouth": (0.12, 0.0, 0.0, 0.2),
}  # fmt: skip


def bake(topology: Topology, normals: np.ndarray, heights: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Visibility of direction d, fitted as a + b . d over the directions before each vertex's surface.

    Args:
      normals: (V, 3) of the template.
      heights: (vertices (V, 3) within the cube -1..1, side) -> (side, side) greatest z over each cell, row 0 at y = 1.

    Returns:
      (V, 4) float32: a, b; 0 hidden, 1 open.
    """
    template = topology.template.astype(np.float64)
    center, radius = (template.max(0) + template.min(0)) / 2, np.linalg.norm(np.ptp(template, axis=0)) / 2
    moments, seen = np.zeros((len(template), 4, 4)), np.zeros((len(template), 4))
    for d in _sphere(DIRECTIONS):
        local = (template - center) @ _looking_along(d).T / radius  # [V, 3]
        column = np.clip((local[:, 0] + 1) * SIZE / 2, 0, SIZE - 1).astype(int)
        row = np.clip((1 - local[:, 1]) * SIZE / 2, 0, SIZE - 1).astype(int)
        cosine = np.maximum(normals @ d, 0.0)
        slope = np.sqrt(1 - np.minimum(cosine, 1) ** 2) / np.maximum(cosine, 0.1)
        slack = (1.5 + 1.5 * np.minimum(slope, 4)) / SIZE  # a cell's height differs from the vertex's by its slope
        visible = local[:, 2] > heights(local, SIZE)[row, column] - slack
        basis = np.array([1.0, *d])
        moments += cosine[:, None, None] * np.outer(basis, basis)
        seen += (cosine * visible)[:, None] * basis
    moments += 0.02 * DIRECTIONS * np.diag([0.0, 1.0, 1.0, 1.0])  # where few directions count, fit their mean
    fit = np.linalg.solve(moments + 1e-6 * np.eye(4), seen[..., None])[..., 0]  # [V, 4]
    skin = topology.faces[topology.materials == MATERIALS.index("skin")]
    for name, light in OPEN_MOUTH.items():
        fit[np.setdiff1d(topology.faces[topology.materials == MATERIALS.index(name)], skin)] = light
    return fit.astype(np.float32)


def _sphere(count: int) -> np.ndarray:
    """(count, 3) directions spread evenly over the sphere (Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    y, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - y * y)
    return np.stack([ring * np.cos(turn), y, ring * np.sin(turn)], -1)


def _looking_along(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose third row is `direction`."""
    right = np.cross((0.0, 1.0, 0.0) if abs(direction[1]) < 0.9 else (1.0, 0.0, 0.0), direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction])
