"""Brows: fine hairs that stand up at the inner end and lie down towards the tail."""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color
from data_gen.textures.noise import noise, smoothstep

SLOPES = ((0.02, 68.0), (0.28, 38.0), (0.58, 16.0), (0.92, -6.0))  # place along a brow, degrees that its hairs rise
HAIR_MM, HAIR_LENGTH_MM = 0.48, 6.0
OVERHANG_MM = 4.0  # hairs start this far inside the innermost landmark


def paint_brows(identity: Identity, hair: Hair, face: Anatomy, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brows over (P, 3) linear RGB of skin: (P, 3) colour and (P,) opacity."""
    rng = stream(identity.seed, "brows")
    male, age = GENDERS[identity.gender] == "male", identity.age
    sparse = {"east_asian": 0.85, "middle_eastern": 1.12, "south_asian": 1.08}.get(ETHNICITIES[identity.ethnicity], 1.0)
    half = (rng.uniform(4.0, 5.4) if male else rng.uniform(2.7, 4.2)) * sparse**0.5
    dense = np.clip(rng.uniform(0.76, 0.98) * sparse * (1 - 0.3 * smoothstep(55.0, 85.0, np.float64(age))), 0, 0.97)
    tail, arch = rng.uniform(0.9, 1.0), rng.normal(0.0, 0.7)
    x, y = np.abs(face.points[:, 0]), face.points[:, 1]
    left, right = face.landmarks[22:27, :2], face.landmarks[17:22, :2][::-1]
    marks = (left + right * (-1, 1)) / 2  # the inner end first
    inner, outer = marks[0, 0] - OVERHANG_MM, marks[-1, 0]
    line = np.polynomial.Polynomial.fit(marks[:, 0], marks[:, 1] - 1.0, 2)
    near = np.flatnonzero(
        (x > inner - 3)
        & (x < outer + 4)
        & (y > marks[:, 1].min() - 12)
        & (y < marks[:, 1].max() + 10)
        & (face.front > 0.05)
    )
    x, y = x[near].astype(np.float64), y[near]
    length = face.brow_length
    place = (x - inner) / (outer - inner) / tail
    along = place * length
    across = (y - line(x)) / np.hypot(1.0, line.deriv()(x))
    across -= arch * np.sin(np.pi * np.clip(place, 0, 1))
    mirrored = along + 200.0 * face.right[near]  # each side has hairs of its own

    lines, stray = np.zeros(len(near), np.float32), np.zeros(len(near), np.float32)
    total = np.zeros(len(near), np.float32)
    for middle, slope in SLOPES:
        lean = np.radians(slope + rng.normal(0, 4) - 3.5 * across / half)  # lower hairs rise to meet the upper ones
        cos, sin = np.cos(np.radians(slope)), np.sin(np.radians(slope))
        beside = mirrored * sin - across * cos + (lean - np.radians(slope)) * 4.0
        comb = np.column_stack([beside / HAIR_MM, (mirrored * cos + across * sin) / HAIR_LENGTH_MM]).astype(np.float32)
        weight = np.clip(1 - np.abs(place - middle) / 0.30, 0.02, 1).astype(np.float32)
        lines += weight * (0.40 * noise(rng, comb, 1.0) + 0.30 * noise(rng, comb * (0.5, 1.0), 1.0))
        stray += weight * 0.5 * noise(rng, comb * (0.6, 0.5), 1.0)
        total += weight
    lines, stray = lines / total, stray / total

    thick = half * np.interp(place, [-0.05, 0.08, 0.3, 0.6, 1.0], [0.55, 0.92, 1.0, 0.78, 0.25])
    reach = 1.0 - np.abs(across + 0.45 * stray) / (thick + 0.6)  # 1 in the middle, 0 at the outline, ragged
    body = smoothstep(-0.12, 0.45, reach) * smoothstep(-0.06, 0.16, place + 0.025 * stray)
    body *= smoothstep(1.04, 0.80, place + 0.02 * stray)
    strokes = smoothstep(-1.0, 0.5, lines + 0.5 * (body - 0.6))
    opacity = dense * body * (0.45 + 0.55 * strokes)
    opacity = (opacity * np.interp(place, [0.0, 0.25, 1.0], [0.72, 1.0, 0.95]))[:, None].astype(np.float32)
    fair = float(smoothstep(0.03, 0.15, hair.color.mean()))
    pigment = dataclasses.replace(hair, grey=0.45 * hair.grey, color=np.maximum(hair.color, (0.018, 0.014, 0.011)))
    tint = (0.45 - 0.05 * fair) * hair_color(pigment, 0.4 * stray, 1.2 * stray)
    out = color.copy()
    out[near] = color[near] * (1 - opacity) + tint * opacity
    covered = np.zeros(len(color), np.float32)
    covered[near] = opacity[:, 0]
    return out, covered
