"""What parted lips show of a FLAME head, which has no mouth: a dark bag behind the lips, and ICT's teeth and tongue."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from data_gen.face_models import MATERIALS, Topology
from data_gen.face_models.correspondence import similarity

# Rings of the bag: share of its depth, share of the opening's width, mm that it is higher and lower than the opening.
RINGS = ((0.12, 0.98, 4.0), (0.35, 0.95, 11.0), (0.65, 0.85, 11.0), (0.9, 0.55, 6.0), (1.0, 0.0, 0.0))
DEPTH = 36.0  # mm
LIPS = slice(48, 68)  # points of the markup
BACK = 1.5  # mm that the teeth stand further behind the lips than ICT's: FLAME's lips may be thinner
ISLANDS = {  # u, v, side
    "teeth": (0.605, 0.062, 0.13),
    "gums": (0.737, 0.062, 0.13),
    "tongue": (0.869, 0.062, 0.125),
}


def bag(rim: np.ndarray) -> np.ndarray:
    """(n, 3) mm around the mouth's hole, in order -> (4 n + 1, 3): the bag's rings, and the point that closes it."""
    middle = rim.mean(0)
    right, left = rim[:, 0].argmin(), rim[:, 0].argmax()
    # 0 in the corners, 1 amid the upper lip, -1 amid the lower, whichever way the rim runs
    place = np.arange(len(rim))
    upper = (place - right) % len(rim) / max((left - right) % len(rim), 1)
    lower = (place - left) % len(rim) / max((right - left) % len(rim), 1)
    lift = np.where(upper <= 1, np.sin(np.pi * np.clip(upper, 0, 1)), -np.sin(np.pi * np.clip(lower, 0, 1)))
    lift *= np.sign((lift * rim[:, 1]).sum() - lift.sum() * middle[1] + 1e-9)
    rings = []
    for depth, width, height in RINGS:
        ring = middle + width * (rim - middle) - [0, 0, depth * DEPTH]
        ring[:, 1] += height * lift
        rings.append(ring if width else ring[:1])
    return np.concatenate(rings)


def bag_faces(rim: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bag as a piece of mesh.

    Args:
      rim: (n,) the model's vertices around the mouth's hole, in order.
      first: the model's vertex that is the first of `bag`.

    Returns:
      (F, 3) faces over the model's vertices, (C, 2) corners in the unit square, and (F, 3) faces over those.
    """
    n, rings = len(rim), len(RINGS)
    turn = 2 * np.pi * np.arange(n) / n
    circle = np.column_stack([np.cos(turn), -np.sin(turn)])  # the rim runs as the skin's border
    island = np.concatenate([*(r * circle for r in np.linspace(1, 0, rings + 1)[:-1]), np.zeros((1, 2))])
    vertex = np.concatenate([rim, first + np.arange((rings - 1) * n + 1)])
    grid = np.arange(rings * n).reshape(rings, n)
    a, b = grid[:-1], grid[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    tip = np.full(n, rings * n)
    faces = np.concatenate(
        [
            np.stack([a, b, c], -1).reshape(-1, 3),
            np.stack([a, c, d], -1).reshape(-1, 3),
            np.column_stack([grid[-1], tip, np.roll(grid[-1], -1)]),
        ]
    )
    return vertex[faces], 0.5 + 0.5 * island, faces


@dataclasses.dataclass(frozen=True)
class Teeth:
    """Teeth, gums and tongue of the ICT head, fitted to the lips of another.

    Attributes:
      points: (K, 3) mm on the template.
      moved: shape name -> (K, 3) mm, for the shapes that move them.
      lips: (20, 3) mm of the template.
      faces, uvs, uv_faces, materials: as in `Topology`, over these points.
    """

    points: np.ndarray
    moved: Mapping[str, np.ndarray]
    lips: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    uv_faces: np.ndarray
    materials: np.ndarray

    @classmethod
    def borrow(cls, source: Topology, expressed: Mapping[str, np.ndarray], lips: np.ndarray) -> "Teeth":
        """From the ICT head.

        Args:
          source: its topology.
          expressed: shape name -> (V, 3) mm, its template under that shape.
          lips: (20, 3) mm, the lips' landmarks of the other head's template.
        """
        fit = similarity(source.template[source.landmarks[LIPS]].astype(np.float64), lips)
        wanted = [MATERIALS.index(name) for name in ISLANDS]
        chosen = np.isin(source.materials, wanted)
        used, faces = np.unique(source.faces[chosen], return_inverse=True)
        corners, uv_faces = np.unique(source.uv_faces[chosen], return_inverse=True)
        uv_faces, uvs = uv_faces.reshape(-1, 3), source.uvs[corners].astype(np.float64)
        for name, (u, v, side) in ISLANDS.items():
            mine = np.unique(uv_faces[source.materials[chosen] == MATERIALS.index(name)])
            if len(mine):
                low, high = uvs[mine].min(0), uvs[mine].max(0)
                uvs[mine] = (uvs[mine] - low) * (side / (high - low).max()) + [u, v]
        rest = source.template[used].astype(np.float64)
        moved = {name: fit.turn(points[used].astype(np.float64) - rest) for name, points in expressed.items()}
        return cls(
            points=fit.apply(rest) - [0, 0, BACK],
            moved={name: motion for name, motion in moved.items() if np.abs(motion).max() > 0.05},
            lips=lips,
            faces=faces.reshape(-1, 3),
            uvs=uvs,
            uv_faces=uv_faces,
            materials=source.materials[chosen],
        )

    def place(self, lips: np.ndarray, shapes: Mapping[str, float]) -> np.ndarray:
        """(K, 3) mm for a person whose lips are (20, 3) mm at rest, with expression shapes as for `deform`."""
        middle, before = lips.mean(0), self.lips.mean(0)
        scale = np.linalg.norm(lips - middle) / np.linalg.norm(self.lips - before)
        points = self.points
        for name, motion in self.moved.items():
            if shapes.get(name):
                points = points + shapes[name] * motion
        return middle + scale * (points - before)
