"""What age does to the form of a face: jowls, folds from nose and mouth corner, bags and hollows under the eyes.

Fields are laid out on an average face and carried over by aligning the eyes, so that every model of adult size can use
them. Amounts come from `anthropometry.AGE`; the forms are sculpted by eye.
"""

import numpy as np

from data_gen.face_models import anthropometry
from data_gen.scene import Identity, stream

EYES = np.array([0.0, -0.64, 74.76])  # mean of the eyes' landmarks in the frame of the pushes, mm
YOUNG = 30.0  # years of the people a scanned model was made of: their faces show no age yet
SPREAD = 0.35  # mm, standard deviation between people of one age

# (centre x, y, z, sigma x, y, z, push x, y, z per mm); centres with x > 0 are mirrored.
FOLDS = {
    "sag": (  # jowls, dropped cheeks, an emptied cheekbone, the band under the chin
        (36, -94, 62, 10, 10, 18, 0.7, -0.8, 0.3),
        (40, -54, 70, 12, 12, 18, 0.2, -0.9, 0.0),
        (46, -32, 68, 12, 9, 18, 0, -0.4, -0.7),
        (0, -128, 38, 7, 14, 12, 0, -0.2, 0.9),
    ),
    "nasolabial fold": (  # and the marionette line below the lips' corner
        (23.5, -54, 88, 3.4, 11, 14, 0, 0, -0.8),
        (29.5, -48, 82, 5, 10, 14, 0, -0.3, 0.6),
        (28, -82, 82, 3.5, 7, 12, 0, 0, -0.5),
    ),
    "under eye": ((29, -16.5, 80, 12, 2.6, 14, 0, 0, -0.7), (30, -11.5, 81, 10, 2.6, 14, 0, -0.2, 0.45)),
}


def pushed(points: np.ndarray, pushes: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """(V, 3) mm -> (V, 3) mm: the sum of Gaussian neighbourhoods that are pushed along their vectors."""
    out = np.zeros_like(points)
    for x, y, z, sx, sy, sz, dx, dy, dz in pushes:
        for sign in (1, -1) if x else (1,):
            w = np.exp(-0.5 * (((points - [sign * x, y, z]) / [sx, sy, sz]) ** 2).sum(-1))
            out += w[:, None] * np.array([sign * dx, dy, dz])
    return out


def fields(template: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(3, V, 3) mm per mm of each of `FOLDS`, for a template (V, 3) mm with its 68 landmarks (68, 3)."""
    points = template - landmarks[36:48].mean(0) + EYES
    return np.stack([pushed(points, pushes) for pushes in FOLDS.values()])


def amounts(identity: Identity) -> np.ndarray:
    """(3,) mm of each of `FOLDS` on a head made of young people's scans; never negative."""
    years = max(identity.age - YOUNG, 0.0) / anthropometry.AGE_SPAN
    drawn = SPREAD * stream(identity.seed, "ageing").standard_normal(len(FOLDS)).clip(-2, 2)
    return np.maximum([years * anthropometry.AGE[name] for name in FOLDS] + drawn, 0.0)
