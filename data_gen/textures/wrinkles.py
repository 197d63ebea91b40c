"""Expression wrinkles: what a person's furrows look like, and how deep the action units of a frame press them.

A furrow is a narrow valley with a soft bulge on either side, because skin is incompressible: what the fold swallows
rises beside it (Wu, Kalra & Magnenat-Thalmann, "Simulation of wrinkles and skin aging", 1995). Its depth grows as the
root of the way that the muscle pulls, as wrinkles of any sheet do whose length is kept (Cerda & Mahadevan, "Geometry
and physics of wrinkling", Phys. Rev. Lett. 90, 2003): skin creases early and then only deeper. The same furrows, less
deep, stay on an ageing face at rest. Their places come from `folds.py`, everything else from the identity's seed.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_gen import rig
from data_gen.face_models import MATERIALS, FaceModel, Topology
from data_gen.scene import Identity, stream
from data_gen.textures.anatomy import Anatomy, locate
from data_gen.textures.atlas import vertex_normals
from data_gen.textures.folds import FOLDS, Patch, patches
from data_gen.textures.furrows import DRAWN, Furrow
from data_gen.textures.noise import smoothstep

BLEND_MM = 5.0  # half the width in which the depth of a fold across the midline goes over from right to left


@dataclasses.dataclass
class Relief:
    """Height in mm and darkness 0..1 of points, float32: (P,) each, or (2, P) where there are two layers."""

    height: np.ndarray
    dark: np.ndarray


def wrinkle_depths(
    face_model: FaceModel, aus: Sequence[float], asymmetry: float = 0.0, others: Mapping[str, float] = {}
) -> np.ndarray:
    """How deep the two layers of expression wrinkles are at every vertex.

    Args:
      aus, asymmetry, others: as `rig.activations` takes them, whose levels press skin and move it alike.

    Returns:
      (V, 2) float32 in 0..1, to be passed to `Renderer.color`; 0 on a neutral face.

    Raises:
      ValueError: as `rig.activations` does.
    """
    acting = rig.activations(aus, asymmetry, others)
    on_left, on_right = ({au: sides[k] for au, sides in acting.items()} for k in (0, 1))
    face, regions = _vertices(face_model.topology)
    to_left = smoothstep(-BLEND_MM, BLEND_MM, face.points[:, 0])
    out = np.zeros((len(face.points), 2), np.float32)
    for (name, side), patch in regions.items():
        left, right = (_depth(FOLDS[name].muscles, level) for level in (on_left, on_right))
        depth = right + (left - right) * (to_left[patch.index] if side == 0 else float(side > 0))
        there = patch.index, FOLDS[name].layer
        out[there] = np.maximum(out[there], depth * patch.inside)
    return out


def _depth(muscles: Mapping[str, float], level: Mapping[str, float]) -> float:
    smooth = 1.0
    for au, share in muscles.items():
        smooth *= 1 - share * level.get(au, 0.0) ** 0.5
    return 1 - smooth


_faces: dict[int, tuple[Topology, Anatomy, dict[tuple[str, int], Patch]]] = {}


def _vertices(topology: Topology) -> tuple[Anatomy, dict[tuple[str, int], Patch]]:
    """Anatomy and folds of a face model's vertices; located once per process."""
    if id(topology) not in _faces:
        face = locate(topology, topology.template, vertex_normals(topology))
        skin = np.zeros(len(face.points), bool)
        skin[topology.faces[topology.materials == MATERIALS.index("skin")]] = True
        regions = patches(face, skin)
        _faces[id(topology)] = topology, face, regions  # holds the topology, so that its id stays its own
    return _faces[id(topology)][1:]


def wrinkles(identity: Identity, face: Anatomy, regions: Mapping[tuple[str, int], Patch]) -> tuple[Relief, Relief]:
    """The furrows of a person at full depth, and what of them is there at rest.

    Args:
      face: anatomy of the P points to draw on.
      regions: `folds.patches` of it.

    Returns:
      Expression wrinkles at full depth, (2, P): both layers; and what of them is there at rest, (P,).
    """
    old = float(smoothstep(28.0, 78.0, np.float64(identity.age)))
    strength = stream(identity.seed, "wrinkles").lognormal(0.0, 0.12) * (0.85 + 0.3 * old)
    full = Relief(*np.zeros((2, 2, len(face.points)), np.float32))
    rest = Relief(*np.zeros((2, len(face.points)), np.float32))
    for (name, side), patch in regions.items():
        fold = FOLDS[name]
        rng = stream(identity.seed, f"{name} {side}")
        height, dark = (patch.inside * drawn for drawn in _drawn(rng, patch, DRAWN[name](rng, old)))
        kept = fold.rest * (0.06 + 0.94 * old) * rng.uniform(0.7, 1.3)
        full.height[fold.layer, patch.index] += strength * height
        full.dark[fold.layer, patch.index] += strength * dark
        rest.height[patch.index] += kept * height
        rest.dark[patch.index] += kept * dark
    return full, rest


def _drawn(rng: np.random.Generator, patch: Patch, furrows: Sequence[Furrow]) -> tuple[np.ndarray, np.ndarray]:
    """Height in mm and darkness over a patch."""
    height, dark = np.zeros((2, len(patch.index)), np.float32)
    for f in furrows:
        ramp = 0.4 * (f.end - f.start)
        near = np.flatnonzero((patch.s > f.start) & (patch.s < f.end))
        s = patch.s[near]
        course = f.place + f.lean * s + f.bow * s * s + f.wander * _wander(rng, s)
        u = (patch.t[near] - course) / f.width
        close = np.abs(u) < 6
        near, s, u = near[close], s[close], u[close]
        depth = f.depth * smoothstep(f.start, f.start + ramp, s) * smoothstep(f.end, f.end - ramp, s)
        depth = depth * (1 + 0.25 * _wander(rng, s))
        below, above = f.bulges
        rise = np.where(u < 0, below, above) * np.exp(-(((np.abs(u) - 2.3) / 1.25) ** 2))
        height[near] += depth * (rise - np.exp(-1.2 * np.sqrt(u * u + 0.10)))
        dark[near] += depth / (1 + 0.6 * depth) * np.exp(-1.6 * np.abs(u))  # the deepest furrows are not black
    return height, dark


def _wander(rng: np.random.Generator, s: np.ndarray) -> np.ndarray:
    """A smooth curve of mean 0 and deviation about 1 along s mm."""
    waves = zip(rng.uniform((9, 18), (18, 40)), rng.uniform(0, 2 * np.pi, 2), strict=True)
    return sum(np.sin(s * np.float32(2 * np.pi / length) + np.float32(phase)) for length, phase in waves)
