"""Where hair grows on the head, and the hair that is painted there: what shows between the wisps."""

import dataclasses

import numpy as np

from data_gen.scene import Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color
from data_gen.textures.noise import noise, smoothstep

DEEP_MM = 25.0  # from the border
EAR_FRONT_MM = -19.0  # z where the ear leaves the cheek


def inside_hairline(hair: Hair, landmarks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) mm above the border of the hair at (P, 3) points of the head's surface, negative outside."""
    x, y, z = points.T
    ear_y = landmarks[[0, 16], 1].mean()
    # the hairline seen from the side: nape, behind the ear, over it, sideburn, temple, forehead
    knots = np.array(
        [
            (-200, ear_y - 62), (-50, ear_y - 58), (-45, ear_y - 42), (-34, ear_y + 1),
            (-24, ear_y + 3), (-20, ear_y - 3), (-15, ear_y - 13), (9, ear_y - 14), (17, ear_y + 14), (26, ear_y + 38),
            (36, hair.hairline - 11), (48, hair.hairline), (90, hair.hairline + 1),
        ]
    )  # fmt: skip
    border = np.interp(z, knots[:, 0], knots[:, 1])
    front = smoothstep(10, 30, z)
    border += front * 2.0 * np.sin(x / 9.0 + 40 * hair.wobble) * np.sin(x / 23.0 + 70 * hair.wobble)  # no ruler
    border += front * hair.recession * np.exp(-(((np.abs(x) - 42) / 15) ** 2))
    border -= front * hair.peak * np.exp(-((x / 12) ** 2))
    return y - border


def inside_scalp(hair: Hair, landmarks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) mm inside the hair's border, negative outside it and where the crown is bald."""
    inside = inside_hairline(hair, landmarks, points)
    if hair.bald:
        x, y, z = points.T
        crown = np.hypot(x / 1.1, (z + 25) / 1.5)
        top = smoothstep(35, 62, y) * smoothstep(75, 40, np.hypot(x, np.minimum(z + 25, 0) * 0.8))
        inside = inside - hair.bald * 60 * top * (1 if hair.bald > 0.6 else smoothstep(55, 30, crown))
    return inside


def is_ear(face: Anatomy) -> np.ndarray:
    """(P,) bool: what sticks out beside the head at the height of the ears."""
    x, y, z = face.points.T
    ear_y = face.landmarks[[0, 16], 1].mean()
    above = (z > -45) & (z < 5) & (y > ear_y + 25) & (y < ear_y + 45)
    side = np.abs(x[above]).max(initial=0.0)
    off = np.abs(x) - side
    helix = (z > -62) & (z < EAR_FRONT_MM) & ((off > 1) & (y < ear_y + 9) | (off > -5) & (y < ear_y + 1))
    concha = (z > -32) & (z < EAR_FRONT_MM) & (off > -14) & (y < ear_y - 10)
    return (helix | concha) & (y > ear_y - 80)


def painted(hair: Hair, face: Anatomy, is_skin: np.ndarray) -> np.ndarray:
    """(P,) float32 -1..1: > 0 where `paint_scalp` hides more than half of the skin, linear across the border."""
    inside = inside_scalp(hair, face.landmarks, face.points)
    hairy = np.clip((inside - 1.0 - hair.soft / 2) / 20.0, -1, 1)
    return np.where(is_skin & ~is_ear(face), hairy, -1).astype(np.float32)


def paint_scalp(
    identity: Identity, hair: Hair, face: Anatomy, color: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hair over skin, fading out softly at its border.

    Args:
      color: (P, 3) linear RGB of the skin.

    Returns:
      (P, 3) colour, (P,) opacity of the hair, (P,) height of the strands in mm.
    """
    rng = stream(identity.seed, "strands")
    near = np.flatnonzero((face.points[:, 1] > -75) & (face.points[:, 2] < 75))
    inside = inside_scalp(hair, face.landmarks, face.points[near])
    near, inside = near[inside > -14], inside[inside > -14]
    skin = ~is_ear(dataclasses.replace(face, points=face.points[near]))
    near, inside = near[skin], inside[skin].astype(np.float32)
    out, total, height = color.copy(), np.zeros(len(color), np.float32), np.zeros(len(color), np.float32)
    bright = 0.40 + 0.25 * hair.grey * (hair.cut.top < 20)  # light gets to the roots of short grey hair
    if hair.cut.top > 12:  # wisps cover what lies deep inside: no strand of it is seen
        deep = near[inside > DEEP_MM]
        out[deep] = bright * hair_color(hair, np.zeros(1), np.zeros(1))
        total[deep] = 1.0
        near, inside = near[inside <= DEEP_MM], inside[inside <= DEEP_MM]
    points = face.points[near]
    grain = noise(rng, points, 1.6) * 0.3 + 0.5 * rng.standard_normal(len(near), dtype=np.float32)
    jagged = 0.7 * noise(rng, points, 11.0) + 1.5 * grain
    opacity = smoothstep(-5.0, 7.0 + hair.soft, inside + jagged).astype(np.float32)
    opacity *= (0.92 if hair.cut.top > 12 else 0.90) - 0.04 * np.clip(grain, -2, 2) * (hair.cut.top < 12)
    if hair.bald:
        opacity *= 1 - 0.15 * hair.bald
    tint = bright * hair_color(hair, 0.6 * grain, grain)
    shade = 1 - 0.22 * smoothstep(-14.0, 0.0, inside)[:, None] * (hair.cut.top > 12)  # hair overhangs its border
    out[near] = color[near] * shade * (1 - opacity[:, None]) + tint * opacity[:, None]
    total[near], height[near] = opacity, 0.08 * opacity * grain
    return out, total, height
