"""Expression wrinkles: what a person's furrows look like, and how deep the action units of a frame press them.

A furrow is a narrow valley with a soft bulge on either side, because skin is incompressible: what the fold swallows
rises beside it (Wu, Kalra & Magnenat-Thalmann, "Simulation of wrinkles and skin aging", 1995). The same furrows, less
deep, stay on an ageing face at rest. Their places come from `folds.py`, everything else from the identity's seed.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_gen.face_models import MATERIALS, FaceModel, Topology
from data_gen.scene import Identity, stream
from data_gen.textures.anatomy import Anatomy, locate
from data_gen.textures.atlas import vertex_normals
from data_gen.textures.folds import FOLDS, Patch, patches
from data_gen.textures.noise import smoothstep
from painjax.pspi import AU_MAX, AU_NAMES

OTHER_MAX = 5.0  # FACS intensity of the action units that PSPI does not count
BLEND_MM = 5.0  # half the width in which the depth of a fold across the midline goes over from right to left
EARLY = 0.75  # depth grows as intensity to this power: skin creases early and then only deeper


@dataclasses.dataclass(frozen=True)
class Furrow:
    """A valley along t = `place` + `lean` s + `bow` s^2 (mm or degrees), from s = `start` to `end` (mm).

    `depth` and `width` (where it is half as deep) in mm; `bulges` are the heights of what rises below and above it in
    t, as shares of the depth; `wander` is how far it strays from its course.
    """

    place: float
    start: float
    end: float
    depth: float
    width: float
    lean: float = 0.0
    bow: float = 0.0
    bulges: tuple[float, float] = (0.5, 0.5)
    wander: float = 0.6


@dataclasses.dataclass
class Relief:
    """Height in mm and darkness 0..1 of all points of one layer of wrinkles, (P,) float32 each."""

    height: np.ndarray
    dark: np.ndarray


def wrinkle_depths(
    face_model: FaceModel, aus: Sequence[float], asymmetry: float = 0.0, others: Mapping[str, float] | None = None
) -> np.ndarray:
    """How deep the two layers of expression wrinkles are at every vertex.

    Args:
      aus: (6,) intensities in the order of `AU_NAMES`.
      asymmetry: fraction by which the left side is stronger and the right side weaker, -1..1.
      others: name -> FACS intensity 0..5 of further action units; those that crease no skin are passed over.

    Returns:
      (V, 2) float32 in 0..1, to be passed to `Renderer.color`; 0 on a neutral face.

    Raises:
      ValueError: if `aus` has not six values.
    """
    if len(aus) != len(AU_NAMES):
        raise ValueError(f"aus has {len(aus)} values; expected {len(AU_NAMES)} in the order {', '.join(AU_NAMES)}.")
    level = {name: value / top for name, value, top in zip(AU_NAMES, aus, AU_MAX, strict=True)}
    level |= {name: value / OTHER_MAX for name, value in (others or {}).items()}
    face, regions = _vertices(face_model.topology)
    to_left = smoothstep(-BLEND_MM, BLEND_MM, face.points[:, 0])
    out = np.zeros((len(face.points), 2), np.float32)
    for (name, side), patch in regions.items():
        right, left = (_depth(FOLDS[name].muscles, level, lean) for lean in (1 - asymmetry, 1 + asymmetry))
        depth = right + (left - right) * (to_left[patch.index] if side == 0 else float(side > 0))
        there = patch.index, FOLDS[name].layer
        out[there] = np.maximum(out[there], depth * patch.inside)
    return out


def _depth(muscles: Mapping[str, float], level: Mapping[str, float], lean: float) -> float:
    smooth = 1.0
    for au, share in muscles.items():
        smooth *= 1 - share * float(np.clip(level.get(au, 0.0) * lean, 0, 1)) ** EARLY
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
      Two `Relief` of two layers, (2, P): expression wrinkles at full depth, and wrinkles at rest with both layers added
      into the first.
    """
    old = float(smoothstep(28.0, 78.0, np.float64(identity.age)))
    strength = stream(identity.seed, "wrinkles").lognormal(0.0, 0.12) * (0.85 + 0.3 * old)
    full, rest = (Relief(*np.zeros((2, 2, len(face.points)), np.float32)) for _ in range(2))
    for (name, side), patch in regions.items():
        fold = FOLDS[name]
        rng = stream(identity.seed, f"{name} {side}")
        height, dark = _drawn(rng, patch, DRAWN[name](rng, old))
        kept = fold.rest * (0.06 + 0.94 * old) * rng.uniform(0.7, 1.3)
        for relief, layer, share in ((full, fold.layer, strength), (rest, 0, kept)):
            relief.height[layer, patch.index] += share * height * patch.inside
            relief.dark[layer, patch.index] += share * dark * patch.inside
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
        height[near] += depth * (rise - np.exp(-1.2 * np.sqrt(u * u + 0.04)))
        dark[near] += depth * np.exp(-1.6 * np.abs(u))
    return height, dark


def _wander(rng: np.random.Generator, s: np.ndarray) -> np.ndarray:
    """A smooth curve of mean 0 and deviation about 1 along s mm."""
    waves = zip(rng.uniform((9, 18), (18, 40)), rng.uniform(0, 2 * np.pi, 2), strict=True)
    return sum(np.sin(s * np.float32(2 * np.pi / length) + np.float32(phase)) for length, phase in waves)


# ---- how many furrows, where: one function for each fold, (rng, old 0..1) -> furrows at full depth -------------------


def _glabella(rng, old: float) -> list[Furrow]:
    """Commonly an '11', sometimes a third line or a single one in the middle; the brows' heads bulge beside them."""
    apart, low, high = rng.uniform(5.0, 8.0), rng.uniform(-12, -8), rng.uniform(9, 15)
    single = rng.random() < 0.2
    out = []
    for side in (-1, 1):
        lean = side * rng.uniform(0.02, 0.16)
        depth = rng.uniform(1.8, 2.5) * (0.45 if single else 1.0)
        place = side * apart * rng.uniform(0.85, 1.15)
        out.append(Furrow(place, low, high * rng.uniform(0.8, 1.1), depth, 1.7, lean, bulges=(0.65, 0.65)))
        if rng.random() < 0.6 + 0.3 * old:
            beside = side * (apart + rng.uniform(4.0, 5.5))
            out.append(Furrow(beside, -4, rng.uniform(7, 12), rng.uniform(0.4, 0.8), 1.2, 1.5 * lean))
    if single or rng.random() < 0.25:
        out.append(Furrow(rng.uniform(-1.5, 1.5), low, high, 2.2 if single else 0.7, 1.6))
    return out


def _nasal_root(rng, old: float) -> list[Furrow]:
    """Two or three lines across, arched over the bridge."""
    first, step = rng.uniform(-5, -3), rng.uniform(4.0, 5.2)
    return [
        Furrow(
            place=first + k * step,
            start=-rng.uniform(9, 14),
            end=rng.uniform(9, 14),
            depth=rng.uniform(0.7, 1.15),
            width=1.2,
            bow=-rng.uniform(0.01, 0.03),
            wander=0.4,
        )
        for k in range(int(rng.integers(2, 4)))
    ]


def _nose_side(rng, old: float) -> list[Furrow]:
    """'Bunny lines'."""
    first, step = rng.uniform(-6.5, -5), rng.uniform(3.6, 4.6)
    return [
        Furrow(first + k * step, -rng.uniform(7, 11), rng.uniform(6, 10), rng.uniform(0.55, 0.95), 1.0, bow=0.02)
        for k in range(int(rng.integers(3, 5)))
    ]


def _crows_feet(rng, old: float) -> list[Furrow]:
    """Rays from the outer corner; t is in degrees."""
    count = int(rng.integers(3, 5)) + round(1.5 * old)
    angles = np.linspace(-44, 22, count) + rng.uniform(-6, 6, count)
    out = []
    for angle in angles:
        start, depth = rng.uniform(6, 11), rng.uniform(0.55, 0.95)
        out.append(Furrow(angle, start, start + rng.uniform(15, 27), depth, 3.4, rng.uniform(-0.4, 0.4), wander=1.6))
        if rng.random() < 0.35:  # forks
            fork = Furrow(angle + 8, start + 8, start + 24, 0.5 * depth, 2.6, 0.2, wander=1.5)
            out.append(fork)
    return out


def _under_eye(rng, old: float) -> list[Furrow]:
    """The lid's own crease, the fold between lid and cheek, and finer lines between them; t is negative downwards."""
    near, far = rng.uniform(-6.0, -4.6), rng.uniform(-13.5, -11.0)
    out = [
        Furrow(near, -17, 18, rng.uniform(0.6, 0.9), 1.2, 0.03, 0.004, (0.3, 0.9), 0.4),
        Furrow(far, -19, rng.uniform(8, 17), rng.uniform(0.8, 1.2), 1.9, -0.10, 0.006, (0.7, 0.5), 0.5),
    ]
    for place in np.linspace(near, far, 4)[1:-1] + rng.uniform(-0.8, 0.8, 2):
        out.append(Furrow(place, rng.uniform(-12, -4), rng.uniform(8, 18), rng.uniform(0.25, 0.5), 0.9, -0.08, 0.004))
    return out


def _nasolabial(rng, old: float) -> list[Furrow]:
    """One deep groove under the mound of the cheek; t grows towards the cheek."""
    place, end = rng.uniform(-1.2, 1.2), rng.uniform(31, 40)
    out = [
        Furrow(place, -6, end, rng.uniform(1.5, 2.0), 1.9, wander=0.35, bulges=(0.2, 0.75)),
        Furrow(place + 0.6, -8, end + 3, 0.9, 3.6, wander=0.3, bulges=(0.0, 0.8)),  # the mound, broad
    ]
    if rng.random() < 0.3 + 0.4 * old:
        out.append(Furrow(place + rng.uniform(5, 7), 8, end - 6, rng.uniform(0.3, 0.6), 1.2))
    return out


def _marionette(rng, old: float) -> list[Furrow]:
    place, end = rng.uniform(-1, 1.5), rng.uniform(22, 32)
    return [
        Furrow(place, -8, end, rng.uniform(0.5, 0.8), 1.5, bulges=(0.2, 0.5), wander=0.4),
        Furrow(place + 0.5, -8, end + 3, rng.uniform(0.5, 0.9), 3.2, bulges=(0.0, 0.7), wander=0.3),  # the jowl
    ]


def _upper_lip(rng, old: float) -> list[Furrow]:
    """Lines that radiate from the lip's border."""
    places = np.linspace(-17, 17, int(rng.integers(7, 11))) + rng.uniform(-1.2, 1.2)
    return [
        Furrow(x, -1.5, rng.uniform(5, 11), rng.uniform(0.3, 0.7), 0.8, lean=0.02 * x, wander=0.2)
        for x in places + rng.normal(0, 0.7, len(places))
    ]


def _forehead(rng, old: float) -> list[Furrow]:
    """Lines across, each broken somewhere, dipping or not towards the middle."""
    first, step, bow = rng.uniform(13, 17), rng.uniform(6.5, 9.0), rng.uniform(-0.0035, 0.0015)
    out = []
    for k in range(int(rng.integers(3, 5))):
        place, depth = first + k * step + rng.normal(0, 0.7), rng.uniform(0.8, 1.2) * (1 - 0.12 * k)
        cut, gap = rng.uniform(-14, 14), rng.uniform(-9, 7)
        half = rng.uniform(34, 52) - 3 * k
        for start, end in ((-half, cut - gap / 2), (cut + gap / 2, half * rng.uniform(0.8, 1.1))):
            out.append(
                Furrow(place + rng.normal(0, 0.5), start, end, depth, 1.15, bow=bow, bulges=(0.4, 0.4), wander=0.35)
            )
    return out


def _chin(rng, old: float) -> list[Furrow]:
    """The crease under the lip, and dimples as of orange peel."""
    out = [Furrow(8.5, -16, 16, 1.0, 1.8, bow=-0.02)]
    for _ in range(16):
        middle = rng.uniform(-12, 12)
        out.append(Furrow(rng.uniform(-11, 6), middle - 3.5, middle + 3.5, rng.uniform(0.2, 0.45), 1.5, wander=0.3))
    return out


DRAWN = {
    "glabella": _glabella,
    "nasal root": _nasal_root,
    "nose side": _nose_side,
    "crow's feet": _crows_feet,
    "under the eye": _under_eye,
    "nasolabial": _nasolabial,
    "marionette": _marionette,
    "upper lip": _upper_lip,
    "forehead": _forehead,
    "chin": _chin,
}
