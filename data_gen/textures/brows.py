"""Brows, hair by hair."""

import dataclasses

import numpy as np

from data_gen.scene import GENDERS, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color
from data_gen.textures.noise import smoothstep


def paint_brows(identity: Identity, hair: Hair, face: Anatomy, color: np.ndarray) -> np.ndarray:
    """Brows of single hairs: they rise at the inner end and lie down towards the tail. (P, 3) colour over `color`."""
    rng = stream(identity.seed, "brows")
    male, age = GENDERS[identity.gender] == "male", identity.age
    half = (rng.uniform(3.6, 5.2) if male else rng.uniform(2.2, 3.6)) * (1 - 0.1 * (age > 65))
    count = int((200 if male else 165) * rng.uniform(0.8, 1.15) * (1 - 0.3 * smoothstep(55.0, 85.0, np.float64(age))))
    near = np.flatnonzero((np.abs(face.brow_across) < half + 8) & (face.front > 0.05))
    along, across = face.brow_along[near], face.brow_across[near]
    keep, shade = np.ones(len(near), np.float32), np.zeros(len(near), np.float32)
    for is_right in (True, False):
        side = face.right[near] == is_right
        part = rng.beta(1.25, 1.15, count)
        start = part * face.brow_length * 0.95
        thick = half * np.interp(part, [0, 0.2, 0.6, 1], [0.55, 1.0, 0.8, 0.2])
        offset = rng.triangular(-1, -0.1, 1, count) * thick - 0.5
        slope = np.interp(part, [0, 0.25, 0.6, 1], [58, 34, 12, -4]) + rng.normal(0, 9, count)
        slope = np.radians(slope - 14 * offset / half)
        length = rng.uniform(4.0, 8.0, count) * (1 - 0.35 * part)
        a, b = (p[side, None] - q.astype(np.float32) for p, q in ((along, start), (across, offset)))
        cos, sin, length = (q.astype(np.float32) for q in (np.cos(slope), np.sin(slope), length))
        t = np.clip(a * cos + b * sin, 0, length)
        away = np.hypot(a - t * cos, b - t * sin)
        opaque = 0.55 * smoothstep(1.9, 0.4, away / (0.42 * (1.1 - 0.6 * t / length)))  # [P, strokes]
        keep[side] = np.prod(1 - opaque, axis=1)
        shade[side] = (opaque @ rng.normal(0, 1, count)) / np.maximum(opaque.sum(1), 0.3)
    under = np.exp(-((across / half) ** 2)) * smoothstep(2, 14, along)
    under *= smoothstep(face.brow_length, 0.7 * face.brow_length, along)
    opacity = (1 - keep * (1 - 0.25 * under))[:, None]
    grey = dataclasses.replace(hair, grey=0.5 * hair.grey)
    fair = float(smoothstep(0.03, 0.12, hair.color.mean()))
    tint = (0.85 - 0.35 * fair) * hair_color(grey, 0.5 * shade, shade) + 0.004
    out = color.copy()
    out[near] = color[near] * (1 - opacity) + tint * opacity
    return out
