"""The shape of hair: wisps that leave the scalp, follow the flow of a haircut over the skull, hang down and gather.

A wisp is a centre line of nodes, drawn as a ribbon that faces the camera. Each node rides on the scalp below it, so
that hair follows the head's size and shape. Everything here is in adult mm (see `Anatomy`) until the end.
"""

import dataclasses

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.spatial

from data_gen.scene import Identity, stream
from data_gen.textures import HairMesh
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color
from data_gen.textures.haircut import Haircut
from data_gen.textures.hairline import EAR_FRONT_MM, inside_scalp
from data_gen.textures.noise import noise, smoothstep
from data_gen.textures.skull import Skull
from data_gen.textures.strand_texture import VARIANTS, strands

BROW_CLEARANCE = 9.0  # mm above the brows' landmarks that no hair enters
EXTRA = 500  # wisps at most, along the hairline and the parting
SUBSTEPS = 2  # of a path, between two nodes


@dataclasses.dataclass
class Paths:
    """W growing wisps of S nodes: centre lines, the scalp below them and its normals, (W, S, 3) each; whether a node
    hangs free (W, S); how far out in the body of hair a wisp lies, (W,) 0..1; and whether it is short, (W,)."""

    points: np.ndarray
    below: np.ndarray
    normals: np.ndarray
    hangs: np.ndarray
    layer: np.ndarray
    short: np.ndarray


def grow(identity: Identity, hair: Hair, face: Anatomy, skull: Skull) -> HairMesh | None:
    """The hair of an identity on a face model's template; None for the bald."""
    rng, cut = stream(identity.seed, "hair shape"), hair.cut
    roots = skull.roots + rng.normal(0, 0.8, skull.roots.shape)
    inside = inside_scalp(hair, face.landmarks, roots)
    grows = inside > (rng.uniform(-0.5, 1.0, len(roots))) * hair.soft
    many = np.cumsum(grows) > cut.wisps
    # where skin would show between them there are more, but those of long hair are short
    extra = grows & many & (inside < (40 if cut.nodes >= 10 else 10)) & (roots[:, 2] > skull.center[2])
    extra &= np.cumsum(extra) <= EXTRA
    chosen = (grows & ~many) | extra
    roots, extra = roots[chosen], extra[chosen]
    if len(roots) < 50:
        return None
    paths = _trace(rng, hair, skull, roots, extra, face.landmarks)
    _gather(rng, cut, roots, paths)
    paths.points[:, 1:] = scipy.ndimage.gaussian_filter1d(paths.points, 0.9, axis=1, mode="nearest")[:, 1:]
    _wave(rng, cut, roots, paths)
    _lift_out(skull, paths)
    if cut.tie:
        paths = _join(paths, _bun(rng, cut, skull))
    paths = _trim(rng, hair, paths, face.landmarks)
    if not len(paths.points):
        return None  # so short that it is painted only
    count, nodes = paths.points.shape[:2]
    edge = inside_scalp(hair, face.landmarks, paths.below[:, 0])
    fine = smoothstep(-2.0, 8.0, edge) * 0.45 + 0.55  # baby hairs along the hairline
    flying = rng.random(count) < 0.06
    width = (
        cut.width * np.where(paths.short, 0.7, 1.0) * rng.uniform(0.7, 1.3, count) * fine * np.where(flying, 0.35, 1.0)
    )
    open_to_light = 1 - (0.45 if cut.top > 20 else 0.25) * (1 - paths.layer)
    column = rng.integers(0, VARIANTS, count) / VARIANTS
    tone = np.exp(0.09 * rng.standard_normal(count) + 0.05 * noise(rng, roots_like(paths), 18.0))
    return HairMesh(
        positions=(paths.points * face.scale + face.origin).astype(np.float32),
        normals=paths.normals.astype(np.float32),
        widths=(width * face.scale).astype(np.float32),
        columns=np.stack([column, column + 1 / VARIANTS], -1).astype(np.float32),
        light=open_to_light.astype(np.float32),
        shine=np.full(count, np.clip(cut.top / 40, 0.25, 1), np.float32),
        tone=tone.astype(np.float32),
        beard=np.zeros(count, bool),
        hangs=paths.hangs,
        binding=_binding(paths.below.reshape(-1, 3), skull, len(face.points)),
        texture=strand_colors(hair),
    )


def roots_like(paths: Paths) -> np.ndarray:
    """(W, 3) where wisps leave the scalp."""
    return paths.below[:, 0]


def _trace(
    rng: np.random.Generator, hair: Hair, skull: Skull, roots: np.ndarray, extra: np.ndarray, landmarks: np.ndarray
) -> Paths:
    cut, count = hair.cut, len(roots)
    high = smoothstep(30.0, 80.0, roots[:, 1] + 0.25 * (roots[:, 2] - skull.center[2]))
    length = (cut.sides + (cut.top - cut.sides) * high) * rng.uniform(
        *((0.88, 1.02) if cut.away else (0.72, 1.12)), count
    )
    length *= 1 - 0.5 * smoothstep(-10.0, -50.0, roots[:, 1]) * (cut.nodes < 10)  # tapered nape
    if cut.away:  # round, not a mushroom
        length *= 0.5 + 0.5 * smoothstep(-15.0, 50.0, roots[:, 1])
    length = np.where(extra, np.minimum(length, 65.0), length)
    step = (length / ((cut.nodes - 1) * SUBSTEPS))[:, None]
    layer = rng.random(count) ** 0.8
    side = np.sign(roots[:, 0] - (cut.part or 0.0) + rng.normal(0, 1.0, count))
    whorl = skull.surface((skull.center + np.array([0.12 * np.sign(cut.part or 1.0), 1.0, -0.45]))[None])[0]
    knot = skull.surface((skull.center + np.array([0.0, 0.35, -1.0]))[None])[0]
    rise = cut.rise * (1.0 if cut.away else (0.15 + 0.85 * smoothstep(55.0, 95.0, roots[:, 1])[:, None]))
    own = 0.10 * rng.standard_normal((count, 3))
    ear_y = landmarks[[0, 16], 1].mean()

    below, normal = skull.surface(roots)
    point, heading = below.copy(), np.zeros((count, 3))
    hanging, arc = np.zeros(count, bool), np.zeros((count, 1))
    shape = (count, cut.nodes, 3)
    out = Paths(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape[:2], bool), layer, extra)
    out.points[:, 0], out.below[:, 0], out.normals[:, 0], out.hangs[:, 0] = point, below, normal, hanging
    for node in range(1, cut.nodes):
        for _ in range(SUBSTEPS):
            flow = _flow(cut, below, normal, side, whorl, knot) + own
            flow -= (flow * normal).sum(-1, keepdims=True) * normal
            drawn = np.linalg.norm(flow, axis=-1, keepdims=True)
            along = flow / np.maximum(drawn, 0.05)
            arc = arc + step
            lie = np.where(hanging[:, None], 0.0, np.sqrt(1 - rise**2) * (1 - cut.away))
            below, normal = skull.surface(below + step * lie * along)
            body = (cut.flare + (cut.lift - cut.flare) * smoothstep(40.0, 85.0, below[:, 1]))[:, None]
            above = (0.25 + 0.75 * layer[:, None]) * body * (1 - np.exp(-arc / 15.0))
            if cut.away:
                above = 0.0
            lying = below + (above + rise * arc * (0.7 + 0.3 * layer[:, None]) + 0.6) * normal
            lying = lying + cut.away * arc * 0.8 * own
            down = np.array([0.0, -1.0, 0.0]) + 0.12 * own
            falling = 0.7 * heading + 0.3 * down
            falling /= np.linalg.norm(falling, axis=-1, keepdims=True)
            new = np.where(hanging[:, None], point + step * falling, lying)
            low = new[:, 1] < ear_y + 28
            behind = skull.outside_body(new, 2.0 + 0.7 * layer * cut.flare)
            new = np.where((low & (new[:, 2] < 28))[:, None] & (cut.nodes > 6), behind, new)
            moved = new - point
            heading = moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-6)
            point = new
            if cut.nodes >= 10 and not cut.tie:
                hanging |= (normal[:, 1] < 0.12) & (below[:, 1] < ear_y + 45)
        outward = point - skull.center
        outward[:, 1] *= 0.25
        outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
        out.points[:, node], out.below[:, node], out.hangs[:, node] = point, below, hanging
        out.normals[:, node] = np.where(hanging[:, None], outward, normal)
    return out


def _flow(
    cut: Haircut, at: np.ndarray, normal: np.ndarray, side: np.ndarray, whorl: np.ndarray, knot: np.ndarray
) -> np.ndarray:
    """(W, 3) where hair is drawn at places on the scalp."""
    top = smoothstep(0.25, 0.85, normal[:, 1])
    front = smoothstep(0.2, 0.7, normal[:, 2]) * (cut.forward == 0)  # hair is combed off the forehead
    beside = smoothstep(0.45, 0.85, np.abs(normal[:, 0]))
    flow = np.zeros_like(at)
    flow[:, 0] += cut.lateral * side * np.maximum(top, front)
    flow[:, 1] -= cut.down * (1 - top) * (1 - 0.85 * front) + 0.25 * beside * (cut.tie == 0)
    flow[:, 2] -= cut.back * (0.35 + 0.65 * np.maximum(front, top))
    if cut.forward:
        outward = at - whorl
        flow += cut.forward * outward / np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 8.0)
    if cut.tie:
        inward = knot - at
        away = np.linalg.norm(inward, axis=-1, keepdims=True)
        flow += cut.tie * inward / np.maximum(away, 10.0)
    return flow


def _gather(rng: np.random.Generator, cut: Haircut, roots: np.ndarray, paths: Paths) -> None:
    """Hair gathers into locks: the farther from the scalp, the nearer to a lock's own line."""
    if cut.away or cut.nodes < 5:
        return
    places = roots + np.array([60.0, 0, 0]) * np.sign(roots[:, :1] - (cut.part or 0.0)) * (cut.part is not None)
    leaders = np.sort(rng.choice(len(roots), len(roots) // 9, replace=False))
    lock = leaders[scipy.spatial.cKDTree(places[leaders]).query(places)[1]]
    pull = 0.5 * np.linspace(0, 1, cut.nodes)[None, :, None] ** 1.3
    paths.points += pull * (paths.points[lock] - paths.points) * rng.uniform(0.5, 1.2, len(roots))[:, None, None]


def _wave(rng: np.random.Generator, cut: Haircut, roots: np.ndarray, paths: Paths) -> None:
    """Waves and curls: a helix around the wisp; neighbours wave together, curls go their own ways."""
    amplitude = max(cut.wave, min(1.3, 0.006 * cut.top))  # no hair is straight
    along = np.gradient(paths.points, axis=1)
    spacing = np.linalg.norm(along, axis=-1)
    arc = np.cumsum(spacing, axis=1) - spacing[:, :1]
    along /= np.maximum(spacing, 1e-6)[..., None]
    across = np.cross(along, paths.normals)
    loose = 0.25 if cut.wave < 4 else 1.4
    phase = 1.2 * noise(rng, roots, 35.0) + loose * rng.standard_normal(len(roots))
    turn = 2 * np.pi * arc / (cut.pitch * rng.uniform(0.85, 1.15, len(roots))[:, None]) + phase[:, None]
    swing = amplitude * smoothstep(0.0, 1.2 * cut.pitch, arc) * rng.uniform(0.7, 1.2, len(roots))[:, None]
    offset = np.sin(turn)[..., None] * across + 0.6 * (1 + np.cos(turn))[..., None] * paths.normals
    paths.points += swing[..., None] * offset


def _lift_out(skull: Skull, paths: Paths) -> None:
    """Whatever gathering and waving pressed into the head comes to lie on it."""
    skin, normal = skull.surface(paths.points)
    deep = np.linalg.norm(paths.points - skull.center, axis=-1) < np.linalg.norm(skin - skull.center, axis=-1) + 0.6
    deep &= (paths.points[..., 1] > -60) & (np.arange(paths.points.shape[1]) > 0)
    paths.points[deep] = (skin + 0.8 * normal)[deep]


def _bun(rng: np.random.Generator, cut: Haircut, skull: Skull) -> Paths:
    """A knot of hair at the back: wisps wound around a ball."""
    count, radius = 200, float(rng.uniform(20, 30))
    place, normal = skull.surface((skull.center + np.array([0.0, 0.35, -1.0]))[None])
    middle = place[0] + 0.6 * radius * normal[0]
    pole = rng.normal(0, 0.5, (count, 3)) + normal[0]
    pole /= np.linalg.norm(pole, axis=-1, keepdims=True)
    first = np.cross(pole, rng.normal(0, 1, (count, 3)))
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second, layer = np.cross(pole, first), rng.random(count)
    angle = np.linspace(0, rng.uniform(1.5, 3.0), cut.nodes)
    spoke = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]  # [count, nodes, 3]
    tilt = rng.uniform(-0.7, 0.7, count)[:, None, None]
    outward = np.cos(tilt) * spoke + np.sin(tilt) * pole[:, None]
    points = middle + radius * (0.75 + 0.25 * layer[:, None, None]) * outward
    below = np.broadcast_to(place[0], points.shape).copy()
    return Paths(points, below, outward, np.ones(points.shape[:2], bool), layer, np.zeros(count, bool))


def _join(a: Paths, b: Paths) -> Paths:
    return Paths(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in dataclasses.fields(Paths)))


def _trim(rng: np.random.Generator, hair: Hair, paths: Paths, landmarks: np.ndarray) -> Paths:
    """Cuts wisps before they reach the face or the scissors' level; what is too short falls away."""
    cut, (x, y, z) = hair.cut, np.moveaxis(paths.points, -1, 0)
    chance = rng.random((len(y), 1))
    uneven = 3.0 * chance  # mm
    if cut.forward:  # a fringe is no ruler
        locks = 2 + np.sin(x / 3.3 + 40 * hair.wobble) + np.sin(x / 7.9 + 70 * hair.wobble)
        uneven = 2.7 * locks + 9.0 * chance**2
    low = y < landmarks[17:27, 1].max() + BROW_CLEARANCE + uneven
    bad = low & (z > 5) & ((np.abs(x) < 62) | (z > 26)) & (y > -140)
    bad |= y < cut.level + 10.0 * rng.standard_normal((len(y), 1)) * (y < 0)
    nodes, ear_y = y.shape[1], landmarks[[0, 16], 1].mean()
    if nodes < 7:  # short hair ends above the ear, which it would come through
        bad |= (z < EAR_FRONT_MM) & (z > -52) & (y < ear_y - 1) & (y > ear_y - 45)
    if cut.tie:
        arrived = np.linalg.norm(paths.points - paths.points[:, -1:], axis=-1) < 2.0  # at the knot
        bad |= arrived & (np.arange(nodes) < nodes - 1)
    first = np.where(bad.any(1), bad.argmax(1), nodes)
    keep = first > 1
    end = np.minimum(first - 0.5, nodes - 1)[keep]
    at = np.linspace(0, 1, nodes) * end[:, None]
    low_node = np.minimum(at.astype(int), nodes - 2)
    part = (at - low_node)[..., None]
    row = np.arange(len(end))[:, None]

    def cut_off(values: np.ndarray) -> np.ndarray:
        values = values[keep]
        return values[row, low_node] * (1 - part) + values[row, low_node + 1] * part

    hangs = paths.hangs[keep][row, low_node]
    return Paths(
        *(cut_off(v) for v in (paths.points, paths.below, paths.normals)), hangs, paths.layer[keep], paths.short[keep]
    )


def strand_colors(hair: Hair) -> np.ndarray:
    """(rows, columns, 4) linear colour and opacity of strands."""
    tone, opacity = strands(hair.cut.pattern)
    color = hair_color(hair, tone.ravel(), 1.3 * tone.ravel()[::-1]).reshape(*tone.shape, 3)
    return np.concatenate([color, opacity[..., None]], -1)


def _binding(nodes: np.ndarray, skull: Skull, vertices: int) -> scipy.sparse.csr_array:
    """(nodes, V): the motion of a node is the mean motion of the scalp around the place below it."""
    away, near = scipy.spatial.cKDTree(skull.points).query(nodes, k=4)
    weight = 1 / (away + 4.0)
    weight /= weight.sum(1, keepdims=True)
    entries = weight.ravel().astype(np.float32), skull.vertices[near.ravel()], np.arange(0, 4 * len(nodes) + 1, 4)
    return scipy.sparse.csr_array(entries, shape=(len(nodes), vertices))
