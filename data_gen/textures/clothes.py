"""Clothes at the neck: simple tops that the skin runs into."""

import dataclasses

import numpy as np

from data_gen.scene import Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

TOPS = ("crew neck", "V neck", "shirt", "turtleneck", "hospital gown")
CHANCES = (0.38, 0.20, 0.17, 0.10, 0.15)
# Of each top: where its edge runs at the side of the neck, as a share of the way from the chin down to the end of the
# model; how thick it is and how wide its border, mm.
EDGE = {"crew neck": 0.45, "V neck": 0.47, "shirt": 0.36, "turtleneck": 0.22, "hospital gown": 0.52}
THICKNESS_MM = {"crew neck": 2.6, "V neck": 2.4, "shirt": 3.2, "turtleneck": 4.5, "hospital gown": 2.4}
SHOULDER_MM, LOWER_MM = 165.0, 30.0  # how far from the midline and how far below a model cloth goes on
STRIPES_MM = 17.0  # from one stripe to the next
BORDER_MM = {"crew neck": 15.0, "V neck": 11.0, "shirt": 30.0, "turtleneck": 200.0, "hospital gown": 6.0}


@dataclasses.dataclass(frozen=True)
class Top:
    """What somebody wears: `kind` of `TOPS`, `drop` of its edge in mm, linear RGB of cloth and of its pattern."""

    kind: str
    drop: float
    color: np.ndarray
    second: np.ndarray
    pattern: str


@dataclasses.dataclass(frozen=True)
class Cloth:
    """Cloth on P texels: `opacity`, linear `color` (P, 3), `height` in mm, and `shade` of the skin beside it."""

    opacity: np.ndarray
    color: np.ndarray
    height: np.ndarray
    shade: np.ndarray


def top(identity: Identity) -> Top:
    """The clothes of an identity; they tell nothing about age, gender or group."""
    rng = stream(identity.seed, "clothes")
    kind = TOPS[rng.choice(len(TOPS), p=CHANCES)]
    hue, strong = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.5)
    tint = np.exp(rng.uniform(-3.6, -0.5)) * np.exp(strong * np.cos(hue + np.array([0.0, 2.1, 4.2])))
    pattern = str(rng.choice(["plain", "stripes", "melange"], p=[0.6, 0.15, 0.25]))
    if kind == "hospital gown":
        tint = np.array([(0.42, 0.58, 0.66), (0.52, 0.62, 0.58), (0.60, 0.66, 0.72)])[rng.integers(3)]
        pattern = "dots"
    elif kind == "shirt":
        tint = tint * 0.4 + 0.35 if rng.random() < 0.6 else tint
    second = np.clip(tint * np.exp(rng.choice([-1.0, 0.8])), 0.01, 0.75)
    return Top(kind, float(rng.uniform(-5, 5)), np.clip(tint, 0.012, 0.75), second, pattern)


def dress(identity: Identity, worn: Top, face: Anatomy, bottom: float, texel_mm: np.ndarray) -> Cloth:
    """Paints a top.

    Args:
      face: of the texels.
      bottom: y in adult mm where the model ends below.
      texel_mm: (P,) the longer side of each texel.
    """
    rng = stream(identity.seed, "cloth")
    count = len(face.points)
    opacity, height = np.zeros(count, np.float32), np.zeros(count, np.float32)
    color, shade = np.zeros((count, 3), np.float32), np.ones(count, np.float32)
    below = below_edge(worn, face, bottom)
    near = np.flatnonzero(below > -14)
    points, below = face.points[near], below[near]
    blur = np.clip(0.6 * texel_mm[near], 0.35, 4.0)  # mm: coarse texels must not show at edges
    x, y, z = points.T
    border = BORDER_MM[worn.kind]
    around = np.arctan2(x, z + 30) * 60
    weave = 0.025 * rng.standard_normal(len(near), dtype=np.float32)
    folds = 0.5 * noise(rng, points * (0.6, 0.35, 0.6), 14.0) + 0.3 * noise(rng, points * (1.0, 0.4, 1.0), 7.0)
    folds = folds * smoothstep(0.6 * border if border < 100 else 0.0, border + 18 if border < 100 else 30.0, below)
    rib = np.zeros(len(near))
    if worn.kind in ("crew neck", "V neck", "turtleneck"):
        rib = np.cos(2 * np.pi * around / 2.6) * smoothstep(border + 1, border - 1, below) * smoothstep(0.9, 0.5, blur)
    wide = np.maximum(0.7, 1.5 * texel_mm[near])  # mm: a thinner line would come out as dashes
    seam = 0.7 / wide * np.exp(-(((below - border) / wide) ** 2))
    seam += 0.5 * np.exp(-(((below - 1.6) / 0.5) ** 2)) * (blur < 0.7)
    tint = np.broadcast_to(worn.color, (len(near), 3)).astype(np.float32)
    mixed = np.zeros(len(near))
    if worn.pattern == "stripes":
        texels = texel_mm[near] / STRIPES_MM
        edge = np.maximum(0.15, 3 * np.pi * texels)
        mixed = smoothstep(-edge, edge, np.sin(2 * np.pi * y / STRIPES_MM))
        mixed = 0.5 + (mixed - 0.5) * smoothstep(0.5, 0.2, texels)  # two texels cannot hold a stripe: teeth would show
        mixed = mixed * smoothstep(-blur, blur, below - border)
    elif worn.pattern == "melange":
        mixed = np.clip(0.22 + 0.10 * noise(rng, points, 1.1), 0, 1)
    elif worn.pattern == "dots":
        mixed = smoothstep(0.75, 0.9, np.sin(2 * np.pi * around / 9.0) * np.sin(2 * np.pi * y / 9.0)) * 0.6
    tint = tint * (1 - mixed[:, None]) + worn.second * mixed[:, None]
    relief = 0.9 * folds + 0.25 * rib - 0.35 * seam + 0.02 * weave
    if worn.kind == "shirt":  # the wings of the collar end above the chest and overlap in front
        wing = border + 26 * smoothstep(45.0, 4.0, np.abs(x)) * (z > -10)
        thick = np.maximum(0.9, wide)
        edge = 0.9 / thick * np.exp(-(((below - wing) / thick) ** 2))
        placket = np.exp(-(((np.abs(x - 7.0) - 8.0) / 0.8) ** 2)) * (z > 0) * smoothstep(-4, 4, below - wing)
        gap = np.exp(-((x / (0.8 + 0.05 * np.clip(below, 0, 80))) ** 2)) * (z > 0) * smoothstep(0, 4, below)
        seam = np.maximum(edge * 1.4, np.maximum(0.8 * placket, gap * (below < wing)))
        relief = 0.7 * folds * (below > wing) - 0.5 * seam + 0.8 * smoothstep(1.0, -1.0, below - wing)
    light = np.exp(weave + 0.10 * folds + 0.06 * rib) * (1 - 0.40 * np.clip(seam, 0, 1))
    light *= 0.72 + 0.28 * smoothstep(0.0, 2.2, below)  # the edge turns inwards
    opacity[near] = smoothstep(-blur, blur, below)
    color[near] = tint * light[:, None]
    height[near] = relief * smoothstep(-0.2, 1.5, below)
    shade[near] = 1 - 0.45 * np.exp(np.minimum(below, 0) / 4.0) * (below < 0.5)  # cloth stands off the skin
    return Cloth(opacity, color, height, shade)


def displacement(worn: Top, face: Anatomy, is_skin: np.ndarray, bottom: float) -> np.ndarray:
    """(V, 3) mm: cloth stands off the neck, along the template's normals, and goes on where a model ends.

    Args:
      face: of the V vertices; is_skin: (V,) bool.
      bottom: y in adult mm where the model ends below.
    """
    below, across, y = below_edge(worn, face, bottom), face.points[:, 0], face.points[:, 1]
    away = THICKNESS_MM[worn.kind] * smoothstep(0.0, 7.0, below) * is_skin
    widest, cloth = np.abs(across[is_skin]).max(), smoothstep(3.0, 20.0, below) * is_skin
    farther = max(SHOULDER_MM - widest, 0.0) * smoothstep(0.6, 1.0, np.abs(across) / widest) * cloth
    lower = LOWER_MM * smoothstep(40.0, 5.0, y - bottom) * cloth
    onwards = np.stack([np.sign(across) * farther, -0.5 * farther - lower, 0 * across], -1)
    return (face.normals * away[:, None] + onwards).astype(np.float32)


def below_edge(worn: Top, face: Anatomy, bottom: float) -> np.ndarray:
    """(P,) mm below the upper edge of a top, which lies lower in front than at the back."""
    x, y, z = face.points.T
    chin = face.landmarks[8, 1]
    edge = chin + EDGE[worn.kind] * (bottom - chin) - worn.drop
    edge = edge - 0.30 * np.clip(z, -60, 45)
    front = smoothstep(-15.0, 25.0, z)
    if worn.kind == "V neck":
        edge = edge - front * np.clip(42.0 - 1.1 * np.abs(x), 0, None)
    elif worn.kind == "shirt":
        edge = edge - front * np.clip(24.0 - 0.8 * np.abs(x), 0, None)
    elif worn.kind == "hospital gown":
        edge = edge - front * 12.0 * np.exp(-((x / 30.0) ** 2))
    return edge - y
