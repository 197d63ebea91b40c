"""Delighting: what of a portrait is light, and what is skin.

No single picture tells its exposure and white balance from the colour of a skin. The person's own base skin does: its
tone was drawn for the demographic cell that the prompt named too. So a portrait's shading is what must be divided out
for plain skin to have the base's mean colour under every direction of the normal.
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from data_gen import lighting
from data_gen.diffusion.canvas import Canvas

LUMINANCE = np.float32(lighting.LUMINANCE)
ROUNDS = 4  # of the robust fit
RIDGE = 1e-3
SPREAD_MM = 12.0  # residual shading finer than this is taken for colour
REACH_MM = 45.0  # how far what the portrait's skin differs by is carried on over skin that it does not show
REMOVED = 0.8  # share of the residual that is taken for light: cast shadows, hollows, bounce
DARKEST = 0.45  # of the mean light: what is darker is shadow, or hair that was taken for it
STRANGE = 0.4  # log lightness by which skin may differ from the base's; what differs more is hair or shadow


def fit(portrait: np.ndarray, base: np.ndarray, normals: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(9, 3) coefficients of the light on a portrait: second-order spherical harmonics of the normals (Ramamoorthi &
    Hanrahan, 2001), which hold nearly all of what soft light does to a matt surface.

    Args:
      portrait, base: (n, 3) linear RGB of the portrait and of the base skin at the same places.
      normals: (n, 3) unit.
      weight: (n,) 0..1, how far a place is plain skin in sight; not all 0.
    """
    ratio = portrait / np.maximum(base, 1e-3)  # [n, 3]
    terms = harmonics(normals)  # [n, 9]
    # a little ridge: a frontal picture shows no backward normals, where the fit would be free
    prior = RIDGE * weight.sum() * np.diag([0.0] + 8 * [1.0])
    coefficients = np.empty((9, 3))
    for channel in range(3):
        trust = weight
        for _ in range(ROUNDS):
            left = (terms * trust[:, None]).T
            coefficients[:, channel] = np.linalg.solve(left @ terms + prior, left @ ratio[:, channel])
            error = np.abs(ratio[:, channel] - terms @ coefficients[:, channel])
            scale = 2.5 * np.average(error, weights=trust) + 1e-6
            trust = weight / (1 + (error / scale) ** 2) ** 2  # highlights, moles and stray hair count little
    return coefficients


def light(coefficients: np.ndarray, normals: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(n, 3) light on unit normals (n, 3), as a factor of the base's colour; `mean` (3,) is that on plain skin."""
    return np.maximum(harmonics(normals) @ coefficients, DARKEST * mean)


def harmonics(normals: np.ndarray) -> np.ndarray:
    """(n, 9) real spherical harmonics of order 0 to 2 at unit normals (n, 3), unscaled."""
    x, y, z = normals.T.astype(np.float64)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], -1)


def spread(canvas: Canvas, ratio: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(V, 3) smooth field over the whole skin, near `ratio` where it is known, fading to 0 away from there.

    Args:
      ratio: (N, 3) log ratio of delighted portrait to base, per skin texel.
      weight: (N,) 0..1, how well it is known.
    """
    weight = weight / (1 + (ratio @ LUMINANCE / STRANGE) ** 4)
    count = len(canvas.area)
    nearest = canvas.vertices[np.arange(len(weight)), canvas.weights.argmax(1)]  # [N]
    total = np.bincount(nearest, weight, count)
    mean = np.stack([np.bincount(nearest, weight * ratio[:, i], count) for i in range(3)], -1)
    mean /= np.maximum(total, 1e-9)[:, None]
    known = total / np.maximum(np.bincount(nearest, minlength=count), 1)  # [V] 0..1
    # of a x = b: area (known + (spread/reach)^2) x + spread^2 L x = area known mean
    fade = (SPREAD_MM / REACH_MM) ** 2
    on_skin = canvas.area > 0
    own = np.where(on_skin, canvas.area * (known + fade), 1.0)
    system = scipy.sparse.diags_array(own) + SPREAD_MM**2 * canvas.laplacian
    solve = scipy.sparse.linalg.factorized(system.tocsc())
    right = (canvas.area * known)[:, None] * mean
    return np.stack([solve(right[:, i]) for i in range(3)], -1)
