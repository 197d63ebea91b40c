"""Expression shapes of the procedural head: muscle-like pulls, lids that slide on the eyeball, a jaw that turns.

Fields are laid out on the average face, where the anatomy is known, and carried by the vertices to every identity.
"""

from collections.abc import Mapping

import numpy as np

from data_gen.face_models import procedural_mesh, procedural_surface
from data_gen.face_models.procedural_surface import smoothstep

# Pulls: a Gaussian neighbourhood (centre, sigma; mm) moves by a vector (mm) at weight 1. Left side; "lip" pulls move
# only what lies above the line where the lips meet.
# (centre x, y, z, sigma x, y, z, move x, y, z)
_PULLS = {
    "browDown": (  # corrugator and procerus: down and together, the glabella bunches
        (15, 18, 91, 9, 8, 16, -3.4, -5.0, 2.4),
        (33, 21, 86, 11, 8, 16, -1.6, -2.4, 0.6),
        (46, 18, 74, 8, 7, 12, -0.6, -0.8, 0.0),
        (0, 13, 91, 7, 8, 14, 0.0, -3.0, 3.4),
        (14, 34, 90, 13, 10, 14, -1.0, -2.2, 0.0),
    ),
    "cheekSquint": (  # orbicularis oculi, orbital part: the cheek bulges below the furrow under the eye
        (38, -25, 75, 12, 8, 18, -0.4, 6.2, 5.0),
        (51, -17, 63, 8, 8, 14, -2.0, 4.4, 2.6),
        (57, -2, 56, 6, 8, 12, -4.0, 0.8, 1.0),
        (32, -14.0, 79, 12, 2.8, 12, 0.0, 1.6, -3.2),
        (33, -9.0, 80, 10, 2.6, 12, 0.0, 1.0, 1.0),
        (45, 16, 74, 9, 6, 12, 0.0, -1.4, 0.2),
    ),
    "eyeSquint": (  # orbicularis oculi, palpebral part; the lids themselves are moved by LID_SHARES
        (31, -9.5, 79, 11, 3.0, 12, 0.0, 3.4, 1.8),
        (49, 0, 66, 4, 5, 8, -1.6, 0.0, 0.4),
        (31, 11, 82, 11, 4, 12, 0.0, -1.4, 0.4),
    ),
    "noseSneer": (  # levator labii superioris alaeque nasi, with procerus
        (14, -41, 92, 7, 8, 16, 0.8, 6.0, 1.0),
        (9, -22, 92, 7, 9, 14, 0.2, 3.8, 1.6),
        (21, -24, 81, 6, 9, 12, -1.0, 5.0, 3.8),
        (0, 1, 88, 6, 5, 10, 0.0, -0.6, 3.4),
        (11, 14, 91, 8, 7, 12, -1.8, -4.2, 1.2),
        (10, -3, 86, 4, 6, 10, 0.2, 1.4, 2.2),
    ),
    "noseSneer lip": ((12, -62, 92, 9, 9, 16, 0.4, 3.4, 0.6), (0, -64, 95, 8, 9, 16, 0.0, 2.6, 0.4)),
    "mouthUpperUp": (  # levator labii superioris: the middle of the lip rises most, the nasolabial fold deepens
        (15, -42, 90, 6, 6, 14, 0.8, 2.6, 0.4),
        (27, -42, 80, 7, 8, 14, 0.6, 4.0, 3.8),
        (21.5, -54, 84, 2.8, 8, 12, 0.0, 1.5, -1.4),
    ),
    "mouthUpperUp lip": (
        (12, -64, 93, 7.5, 8.5, 16, 0.4, 5.4, 1.2),
        (0, -66, 95, 8, 9.5, 16, 0.0, 6.2, 0.9),
        (22, -60, 85, 6, 8, 14, 0.2, 1.8, 0.4),
    ),
    "mouthSmile": (
        (28, -70, 80, 11, 10, 16, 6.5, 9.0, -5.0),
        (37, -40, 75, 11, 11, 16, 1.0, 4.2, 3.4),
    ),
    "browInnerUp": (  # frontalis, inner part
        (13, 20, 90, 10, 8, 16, 0.0, 5.5, 0.4),
        (14, 38, 90, 14, 12, 18, 0.0, 3.4, 0.0),
    ),
    "browOuterUp": (  # frontalis, outer part
        (42, 19, 77, 12, 8, 16, 0.0, 5.0, 0.6),
        (40, 38, 76, 15, 12, 18, 0.0, 3.0, 0.0),
    ),
    "eyeWide": ((31, 12, 82, 11, 4, 12, 0.0, 0.6, -0.4),),  # levator palpebrae; the lids are moved by LID_SHARES
    "mouthFrown": (  # depressor anguli oris
        (27, -72, 80, 9, 7, 16, 0.8, -5.6, -1.0),
        (28, -86, 76, 8, 8, 14, 0.6, -2.4, 0.8),
    ),
    "mouthStretch": (  # risorius
        (27, -72, 80, 11, 10, 16, 6.0, -1.2, -3.0),
        (40, -70, 66, 9, 12, 14, 2.0, 0.0, 0.6),
    ),
    "mouthLowerDown": (),  # depressor labii inferioris
    "mouthLowerDown below": (
        (13, -79, 90, 10, 9, 16, 0.8, -6.0, 0.6),
        (0, -79, 92, 7, 9, 16, 0.0, -3.0, 0.3),
    ),
    "mouthShrugLower": (  # mentalis: both lips rise with the chin's skin
        (9, -74, 91, 13, 9, 16, 0.0, 3.6, 1.6),
        (9, -97, 88, 10, 9, 16, 0.0, 5.0, 1.0),
    ),
}  # fmt: skip

# Share of the open aperture that the upper and the lower lid travel at weight 1.
LID_SHARES = {
    "eyeBlink": (0.85, 0.15),
    "eyeSquint": (0.16, 0.36),
    "cheekSquint": (0.08, 0.22),
    "eyeWide": (-0.24, -0.06),
}
JAW_HINGE = np.array([0.0, -16.0, 8.0])
JAW_ANGLE = np.radians(16.0)


class Expressions:
    """Displacement fields and lid tables for one topology."""

    def __init__(
        self, template: np.ndarray, half: procedural_mesh.Half, right: np.ndarray, parts: Mapping[str, np.ndarray]
    ):
        self._sides = {"L": (1.0, half.eye), "R": (-1.0, right[half.eye])}
        skin = np.ones(len(template), bool)
        for name in ("eye_left", "eye_right", "lash_left", "lash_right", "mouth", "teeth_upper", "teeth_lower"):
            skin[parts[name]] = False
        above = _above_mouth(template, half, right)
        still = _lid_stillness(template)
        self._fields = {}
        for shape in (name for name in _PULLS if " " not in name):
            for side, sign in (("L", 1.0), ("R", -1.0)):
                p = template * [sign, 1, 1]
                field = _pull(p, _PULLS[shape]) + _pull(p, _PULLS.get(f"{shape} lip", ())) * above[:, None]
                field += _pull(p, _PULLS.get(f"{shape} below", ())) * (1 - above)[:, None]
                field *= (skin * still / (1 + np.exp(-p[:, 0] / 2.0)))[:, None]
                self._fields[f"{shape}_{side}"] = field * [sign, 1, 1]
        self._fields["mouthShrugLower"] = self._fields.pop("mouthShrugLower_L") + self._fields.pop("mouthShrugLower_R")
        self._jaw = _jaw_weight(template, half, right, parts)
        lashes = {"L": parts["lash_left"], "R": parts["lash_right"]}
        self._lids = {side: lid_table(template, s, loop, lashes[side]) for side, (s, loop) in self._sides.items()}

    def apply(self, neutral: np.ndarray, eyes: np.ndarray, shapes: Mapping[str, float]) -> np.ndarray:
        """Moves a neutral face. `eyes` (2, 3): centres of the left and the right eyeball."""
        v = neutral.copy()
        for side, eye in zip("LR", eyes, strict=True):
            v = self._move_lids(v, eye, side, shapes)
        for name, weight in shapes.items():
            if weight and name in self._fields:
                v += weight * self._fields[name]
        for side, eye in zip("LR", eyes, strict=True):
            _clear_eyeball(v, neutral, eye, self._lids[side][0], self._sides[side][1])
        if shapes.get("jawOpen", 0):
            angle = JAW_ANGLE * shapes["jawOpen"] * self._jaw
            y, z = (v - JAW_HINGE)[:, 1:].T
            v[:, 1] = JAW_HINGE[1] + y * np.cos(angle) - z * np.sin(angle)
            v[:, 2] = JAW_HINGE[2] + y * np.sin(angle) + z * np.cos(angle)
        return v

    def _move_lids(self, v, eye, side, shapes):
        weights = {name: shapes.get(f"{name}_{side}", 0.0) for name in LID_SHARES}
        if not any(weights.values()):
            return v
        blink = weights.pop("eyeBlink")
        upper, lower = (  # the blink takes over from what the others have left of the opening
            (1 - blink) * sum(weight * LID_SHARES[name][lid] for name, weight in weights.items())
            + blink * LID_SHARES["eyeBlink"][lid]
            for lid in (0, 1)
        )
        return turn_lids(v, eye, self._sides[side][1], self._lids[side], upper, lower)


def turn_lids(
    v: np.ndarray, eye: np.ndarray, loop: np.ndarray, table: tuple[np.ndarray, ...], upper: float, lower: float
) -> np.ndarray:
    """Turns the lids about the eye's horizontal axis, so that they slide on the eyeball.

    Args:
      v: (V, 3) mm; not changed.
      eye: (3,) centre of the eyeball.
      loop: eye loops of this side; table: from `lid_table`.
      upper, lower: fraction of the opening that each lid's margin travels towards the other; together 1 closes the eye.

    Returns:
      (V, 3) mm.
    """
    who, column, upper_share, lower_share = table
    k = loop.shape[1] // 2
    margin = loop[procedural_mesh.EYE_OFFSETS.index(0.0)]
    up, low = v[margin[: k + 1]] - eye, v[np.append(margin[:1], margin[: k - 1 : -1])] - eye  # [k + 1, 3]
    # In polar coordinates about the axis: the lids turn towards each other, and what little they differ in x and in
    # distance from the axis they make up on the way, so that they meet exactly.
    gap = np.arctan2(up[:, 1], up[:, 2]) - np.arctan2(low[:, 1], low[:, 2])
    beside, deeper = low[:, 0] - up[:, 0], np.hypot(*low[:, 1:].T) - np.hypot(*up[:, 1:].T)
    gap, beside, deeper = (np.interp(column, np.arange(k + 1), a) for a in (gap, beside, deeper))
    closing = max(upper + lower, 0.0) * 0.5 * (upper_share - lower_share)
    p = v[who] - eye
    radius = np.hypot(p[:, 1], p[:, 2]) + closing * deeper
    angle = np.arctan2(p[:, 1], p[:, 2]) + gap * (lower_share * lower - upper_share * upper)
    out = v.copy()
    out[who] = eye + np.stack([p[:, 0] + closing * beside, radius * np.sin(angle), radius * np.cos(angle)], -1)
    return out


def _clear_eyeball(v, neutral, eye, who, loop):
    """Pushes skin that other shapes have pressed into the eyeball out of it, in place."""
    skin = np.setdiff1d(who, loop[: procedural_mesh.EYE_OFFSETS.index(0.0)])
    ray = v[skin] - eye
    distance = np.linalg.norm(ray, axis=-1)
    least = np.minimum(np.linalg.norm(neutral[skin] - eye, axis=-1), procedural_surface.EYE_RADIUS + 0.8)
    v[skin] = eye + ray * (np.maximum(distance, least) / distance)[:, None]


def _pull(p, pulls):
    out = np.zeros_like(p)
    for x, y, z, sx, sy, sz, dx, dy, dz in pulls:
        w = np.exp(-0.5 * (((p - [x, y, z]) / [sx, sy, sz]) ** 2).sum(-1))
        out += w[:, None] * np.array([dx, dy, dz])
    return out


def _mouth_signs(half):
    k = procedural_mesh.MOUTH_COLUMNS
    q = half.vertices[half.mouth[2], 0] / procedural_mesh.MOUTH_CORNER[0]
    return np.concatenate([np.ones(k), [0.0], -np.ones(k)]), np.clip(q, 0, 1)


def _above_mouth(template, half, right):
    """1 on the upper lip and above, 0 on the lower lip and below; smooth about the corner."""
    above = smoothstep(template[:, 1], -72.0, -66.0)
    sign, q = _mouth_signs(half)
    corner = smoothstep(q, 1.0, 0.6)
    lips = np.where(sign > 0, corner, 0.0)
    for row in range(5):
        above[half.mouth[row]] = above[right[half.mouth[row]]] = lips
    for row, part in ((5, 0.9), (6, 0.5)):
        for index in (half.mouth[row], right[half.mouth[row]]):
            above[index] = part * lips + (1 - part) * above[index]
    return above


def _lid_stillness(template):
    """Pulls do not move the lids: those ride on the eyeball. 0 on the lids' margins, 1 from the orbit's rim."""
    still = np.ones(len(template))
    for sign in (1, -1):
        d = (template - procedural_surface.EYE * [sign, 1, 1]) / [17.5, 12.5, 26.0]
        still *= smoothstep(np.linalg.norm(d, axis=-1), 0.78, 1.5)
    return still


def lid_table(template, sign, loop, lashes):
    """What the lids of one side move.

    Args:
      template: (V, 3) mm.
      sign: 1 for the left side, -1 for the right.
      loop: eye loops of this side (`procedural_mesh.Half.eye`).
      lashes: vertices of its upper lashes.

    Returns:
      (n,) vertex indices; (n,) their column between the corners, 0 inner; (n,) how much of the upper lid's travel they
      make; (n,) how much of the lower lid's.
    """
    p = template * [sign, 1, 1]
    margin = p[loop[procedural_mesh.EYE_OFFSETS.index(0.0)]]
    k = len(margin) // 2
    up, low = margin[: k + 1], np.concatenate([margin[:1], margin[: k - 1 : -1]])
    column = np.interp(p[:, 0], up[:, 0], np.arange(k + 1))
    y_up, y_low = np.interp(p[:, 0], up[:, 0], up[:, 1]), np.interp(p[:, 0], low[:, 0], low[:, 1])
    upper = smoothstep(p[:, 1] - y_up, 11.0, 0.0)
    lower = smoothstep(y_low - p[:, 1], 9.0, 0.0)
    is_upper = p[:, 1] > 0.5 * (y_up + y_low)
    upper, lower = np.where(is_upper, upper, 0.0), np.where(is_upper, 0.0, lower)
    near = (p[:, 2] > 50) & (p[:, 0] > up[0, 0] - 1) & (p[:, 0] < up[-1, 0] + 1) & (np.abs(p[:, 1]) < 20)
    for row in range(len(loop)):
        if row <= procedural_mesh.EYE_OFFSETS.index(0.0):  # margin and hidden strips move as one
            upper[loop[row, 1:k]], lower[loop[row, 1:k]] = 1.0, 0.0
            upper[loop[row, k + 1 :]], lower[loop[row, k + 1 :]] = 0.0, 1.0
            column[loop[row]] = np.concatenate([np.arange(k + 1), np.arange(k - 1, 0, -1)])
            near[loop[row]] = True
    upper[lashes], lower[lashes], near[lashes] = 1.0, 0.0, True
    near &= (upper + lower) > 0
    allowed = np.zeros(len(template), bool)
    allowed[loop.ravel()] = allowed[lashes] = True
    skin = np.linalg.norm(p - procedural_surface.EYE, axis=-1) > procedural_surface.EYE_RADIUS + 0.7
    who = np.flatnonzero(near & (skin | allowed))
    return who, column[who], upper[who], lower[who]


def _jaw_weight(template, half, right, parts):
    """1 on the chin and lower lip, 0 above a line from the lips' corner to the ear and below the throat."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    lateral = np.clip(x - procedural_mesh.MOUTH_CORNER[0], 0, None)
    line = procedural_mesh.MOUTH_CORNER[1] + 0.62 * lateral
    width = 5.0 + 0.55 * lateral
    weight = smoothstep(y - line, width, -width) * smoothstep(y, -165, -112) * smoothstep(z, -14, 34)
    sign, q = _mouth_signs(half)
    arch = np.sqrt(np.clip(1 - q**2, 0, 1))  # the opening is an ellipse
    lips = np.where(sign > 0, 0.5 * (1 - arch) ** 1.5, 0.5 + 0.5 * arch)
    for row in range(len(half.mouth)):
        part = (1, 1, 1, 1, 1, 0.9, 0.55, 0.2)[row]
        for index in (half.mouth[row], right[half.mouth[row]]):
            weight[index] = part * lips + (1 - part) * weight[index]
    for name in ("eye_left", "eye_right", "lash_left", "lash_right", "ear_left", "ear_right", "teeth_upper"):
        weight[parts[name]] = 0
    weight[parts["teeth_lower"]] = 1.0
    weight[parts["mouth"]] = smoothstep(y[parts["mouth"]], -66, -80)
    return weight
