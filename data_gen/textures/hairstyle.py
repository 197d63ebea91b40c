"""The shape of hair: a grid of strands that leave the crown, follow the skull and, when long, hang down.

The grid is drawn several times, one shell above another, the outer ones ever sparser: seen together they look like a
body of hair with a frayed outline (shell texturing, Lengyel et al. 2001). It rides on the head: each node follows the
nearest points of the scalp.
"""

import dataclasses
import functools

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.spatial

from data_gen.scene import Identity, stream
from data_gen.textures import HairMesh
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color, inside_hairline, is_ear
from data_gen.textures.noise import noise, smoothstep

STRANDS, NODES = 96, 12  # azimuths around the crown, nodes from root to tip
SHELLS = np.array([0.35, 0.75, 1.0])  # heights as fractions of the volume
SPARSITY = np.array([0.02, 0.26, 0.52])  # how dense a strand must be to reach that shell
TEXTURE = (64, 1024)  # texels along the strands, across them


@dataclasses.dataclass(frozen=True)
class Scalp:
    """A skull as radius by direction from its middle, smooth, ears left out."""

    center: np.ndarray
    tree: scipy.spatial.cKDTree
    radii: np.ndarray
    points: np.ndarray
    vertices: np.ndarray  # which model vertices `points` are

    def surface(self, directions: np.ndarray) -> np.ndarray:
        """(n, 3) unit -> (n, 3) points on the skull."""
        away, near = self.tree.query(directions, k=10)
        weight = 1 / (away**2 + 3e-3)
        radius = (weight * self.radii[near]).sum(1) / weight.sum(1)
        return self.center + radius[:, None] * directions


def scalp(face: Anatomy, is_skin: np.ndarray) -> Scalp:
    """The skull of a face model's template."""
    x, y, z = face.points.T
    center = np.array([0.0, 25.0, (z[is_skin & (y > 30)].max() + z[is_skin & (y > 30)].min()) / 2])
    keep = np.flatnonzero(is_skin & ~is_ear(face) & (y > -70) & ((z < 20) | (y > 20)) & (np.abs(x) < 95))
    offset = face.points[keep] - center
    radius = np.linalg.norm(offset, axis=1)
    outward = (face.normals[keep] * offset).sum(1) > 0.2 * radius  # not the inside of the nose or the ear
    keep, offset, radius = keep[outward], offset[outward], radius[outward]
    return Scalp(center, scipy.spatial.cKDTree(offset / radius[:, None]), radius, face.points[keep], keep)


def grow(identity: Identity, hair: Hair, face: Anatomy, skull: Scalp) -> HairMesh | None:
    """The hair of an identity on a face model's template; None for the bald."""
    if hair.bald > 0 or hair.volume < 2:
        return None
    rng = stream(identity.seed, "hair shape")
    paths, rooted = _strands(hair, face, skull)  # [STRANDS, NODES, 3] twice
    along = _unit(np.gradient(paths, axis=1))
    around = np.roll(paths, -1, 0) - np.roll(paths, 1, 0)
    outward = _unit(np.cross(along, around))
    outward[:, 0] = _unit(paths[:, 0] - skull.center)
    lift = _lift(rng, hair, face, paths)
    shells = paths[None] + SHELLS[:, None, None, None] * (lift[..., None] * outward)[None]
    sag = np.array([0.0, -0.15, 0.0]) * lift[..., None] * np.linspace(0, 1, NODES)[:, None]
    shells = shells + sag[None] * SHELLS[:, None, None, None]
    depth = np.broadcast_to(SHELLS[:, None, None], shells.shape[:3])
    length = np.linalg.norm(np.diff(paths, axis=1), axis=-1).sum(1)  # [STRANDS]
    u = np.broadcast_to(np.arange(STRANDS)[:, None] / STRANDS, paths.shape[:2])
    v = 1 - length[:, None] * np.linspace(1, 0, NODES) / length.max()
    shade = 0.35 + 0.65 * depth
    attributes = np.concatenate(
        [
            np.broadcast_to(outward, shells.shape),
            np.broadcast_to(along, shells.shape),
            np.broadcast_to(np.stack([u, v], -1), (*shells.shape[:3], 2)),
            np.stack([np.broadcast_to(SPARSITY[:, None, None], depth.shape), shade], -1),
        ],
        -1,
    )  # [SHELLS, STRANDS, NODES, 10]
    # the grid closes around the head: repeat the first strand at u = 1
    shells = np.concatenate([shells, shells[:, :1]], 1)
    attributes = np.concatenate([attributes, attributes[:, :1]], 1)
    attributes[:, -1, :, 6] = 1.0
    rooted = np.concatenate([rooted, rooted[:1]], 0).reshape(-1, 3)
    return HairMesh(
        positions=(shells.reshape(len(SHELLS), -1, 3) * face.scale + face.origin).astype(np.float32),
        attributes=attributes.reshape(len(SHELLS), -1, 10).astype(np.float32),
        faces=_faces(),
        binding=_binding(rooted, skull, len(face.points)),
        texture=_texture(rng, hair, float(length.max())),
    )


def _strands(hair: Hair, face: Anatomy, skull: Scalp) -> tuple[np.ndarray, np.ndarray]:
    """Strands on the skin, and for each node the point of the scalp that carries it: (STRANDS, NODES, 3) each.

    They leave the parting at places chosen so that, farther out, they are evenly spaced.
    """
    trial = np.linspace(0, 4, 80, endpoint=False)
    paths, _ = _follow(hair, face, skull, trial)
    width = np.linalg.norm(np.roll(paths, -1, 0) - paths, axis=-1).max(1) + 0.5
    total = np.concatenate([[0], width.cumsum()])
    even = np.interp(np.arange(STRANDS) / STRANDS * total[-1], total, np.append(trial, 4.0))
    return _follow(hair, face, skull, even)


def _roots(hair: Hair, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where on the unit sphere strands leave, and in which direction: (n, 3) each.

    `place` runs around the parting: 0..1 fans over its front end, 1..2 along its left side to the back, 2..3 around
    its back end, 3..4 along its right side to the front again.
    """
    lap = np.array([0.0, 1, 2, 3, 4])
    front, back = np.radians(hair.parting[0]), np.radians(hair.parting[1])
    tilt = np.interp(place, lap, [front, front, back, back, front])
    heading = np.radians(np.interp(place, lap, [-90, 90, 90, 270, 270]))
    side = np.full_like(tilt, hair.parting[2])
    root = _unit(np.stack([side, np.cos(tilt), np.sin(tilt)], -1))
    left = _unit(np.array([1.0, 0, 0]) - root * root[:, :1])
    ahead = np.cross(left, root)
    return root, np.cos(heading)[:, None] * ahead + np.sin(heading)[:, None] * left


def _follow(hair: Hair, face: Anatomy, skull: Scalp, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    root, heading = _roots(hair, place)
    angle = np.linspace(0.0, 2.5, 90)
    directions = np.cos(angle)[:, None] * root[:, None] + np.sin(angle)[:, None] * heading[:, None]  # [n, 90, 3]
    points = skull.surface(directions.reshape(-1, 3)).reshape(directions.shape)
    points = scipy.ndimage.gaussian_filter(points, (1.0, 2.0, 0), mode=("wrap", "nearest", "nearest"))
    inside = inside_hairline(hair, face.landmarks, points.reshape(-1, 3)).reshape(points.shape[:2])
    ear_y = face.landmarks[[0, 16], 1].mean()
    if hair.length:
        inside = np.minimum(inside, points[..., 1] - (ear_y + 18))  # lower down, long hair hangs free
    outside = inside < 0
    outside[:, :4] = False
    end = np.where(outside.any(1), outside.argmax(1), len(angle) - 1).astype(float)
    end = scipy.ndimage.gaussian_filter1d(end, 1.4, mode="wrap") + 1.0
    paths, rooted = np.empty((len(place), NODES, 3)), np.empty((len(place), NODES, 3))
    index = np.arange(len(angle))
    for i in range(len(place)):
        on_head = np.stack([np.interp(np.linspace(0, end[i], 40), index, points[i, :, k]) for k in range(3)], -1)
        last = on_head[-1]
        drop = (hair.length + 40) * smoothstep(22.0, 4.0, last[2]) if hair.length else 0.0
        down = np.linspace(0, 1, 24)[1:, None]
        outward = _unit(last * (1, 0, 1) - skull.center * (1, 0, 1))
        hanging = last + (down * (0, -drop, 0) + outward * (8 * np.sin(2.2 * down) - 6 * down**2)) * (drop > 1)
        path = np.concatenate([on_head, hanging])
        arc = np.concatenate([[0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
        steps = np.linspace(0, arc[-1], NODES)
        paths[i] = np.stack([np.interp(steps, arc, path[:, k]) for k in range(3)], -1)
        carried = np.concatenate([on_head, np.repeat(last[None], len(hanging), 0)])
        rooted[i] = np.stack([np.interp(steps, arc, carried[:, k]) for k in range(3)], -1)
    return paths, rooted


def _lift(rng: np.random.Generator, hair: Hair, face: Anatomy, paths: np.ndarray) -> np.ndarray:
    """(STRANDS, NODES) mm between the scalp and the outermost shell."""
    flat = paths.reshape(-1, 3)
    y, z = flat[:, 1], flat[:, 2]
    ear_y = face.landmarks[[0, 16], 1].mean()
    high = 0.45 + 0.55 * smoothstep(ear_y, ear_y + 75, y)
    at_front = smoothstep(20, 50, z) * smoothstep(30, 0, inside_hairline(hair, face.landmarks, flat))
    lift = hair.volume * high * (1 - 0.6 * at_front)
    if hair.length:
        beside = smoothstep(ear_y + 50, ear_y, y)
        over_ears = max(hair.volume, 17.0) * smoothstep(22, 6, z)
        lift = lift * (1 - beside) + beside * over_ears
    lift = lift * np.tile(0.6 + 0.4 * smoothstep(0.0, 0.2, np.linspace(0, 1, NODES)), len(paths))  # flat parting
    lift = lift * (1 + 0.10 * noise(rng, flat, 30.0) + (0.05 + 0.10 * hair.curl) * noise(rng, flat, 12.0))
    return np.maximum(lift, 1.0).reshape(paths.shape[:2])


def _texture(rng: np.random.Generator, hair: Hair, longest: float) -> np.ndarray:
    """(rows, columns, 4) float: linear colour of strands, and how dense they are.

    Columns wrap around the head; the last row is at the tips, the first `longest` mm before them.
    """
    rows, columns = TEXTURE
    across, along = (g.ravel() for g in np.meshgrid(np.arange(columns) / columns, (np.arange(rows) + 0.5) / rows))
    to_tip = (1 - along) * longest  # mm
    turn = 2 * np.pi * across + 0.012 * np.sin(to_tip / 12.0 + 6 * rng.random()) * (0.3 + hair.curl)
    ring = np.stack([np.cos(turn), np.sin(turn)], -1) * 80
    comb = np.column_stack([ring, to_tip * (0.03 + 0.3 * hair.curl)]).astype(np.float32)
    fine = 1 - 0.4 * hair.curl
    strand = 0.5 * noise(rng, comb, 0.8 * fine) + 0.5 * noise(rng, comb, 2.2 * fine) + 0.3 * noise(rng, comb, 8.0)
    fray = noise(rng, comb * (1, 1, 0.2), 1.2) + 0.8 * noise(rng, comb * (1, 1, 0.2), 4.0)
    tip = smoothstep(0.0, 9.0, to_tip - 1.5 - 2.6 * np.clip(fray, -2, 2))
    density = np.clip(0.66 + 0.26 * strand, 0, 1) * tip
    color = hair_color(hair, strand, 1.4 * noise(rng, comb, 1.1))
    return np.column_stack([color, density]).reshape(rows, columns, 4).astype(np.float32)


@functools.cache
def _faces() -> np.ndarray:
    """(F, 3) triangles of one shell; node (strand, step) is number strand * NODES + step."""
    strand, step = np.meshgrid(np.arange(STRANDS), np.arange(NODES - 1), indexing="ij")
    a = (strand * NODES + step).ravel()
    b = a + NODES
    return np.concatenate([np.stack([a, a + 1, b], -1), np.stack([b, a + 1, b + 1], -1)]).astype(np.uint32)


def _binding(nodes: np.ndarray, skull: Scalp, vertices: int) -> scipy.sparse.csr_array:
    """(nodes, V): the motion of a node is the mean motion of the scalp around its root."""
    away, near = scipy.spatial.cKDTree(skull.points).query(nodes, k=6)
    weight = 1 / (away + 4.0)
    weight /= weight.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(nodes)), 6)
    entries = (weight.ravel().astype(np.float32), (rows, skull.vertices[near.ravel()]))
    return scipy.sparse.csr_array(entries, shape=(len(nodes), vertices))


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
