"""Group averages for learned identities: the modes have no names, so measurements on the landmarks steer them.

A measurement is linear in the landmarks and they are linear in the modes. Given how far a group's averages lie from the
pooled ones (`anthropometry.py`), the most probable coefficients under the modes' own N(0, 1) prior are a ridge
solution.
"""

import numpy as np

from data_gen.face_models import anthropometry
from data_gen.scene import Identity, stream

TOLERANCE = 0.5  # mm by which a group's average may be missed, to keep the coefficients small
# No monsters: coefficients are drawn from N(0, 1) within this many standard deviations, and so that no measurement
# lies further from its group's average either, for many small oddities add up.
LIMIT = 2.0

# Measurement -> terms (landmarks, axis, sign): the mean coordinate of the landmarks, added up.
X, Y, Z = range(3)
MEASUREMENTS = {
    "face width": (((14, 15), X, 1), ((1, 2), X, -1)),
    "jaw width": (((11, 12), X, 1), ((4, 5), X, -1)),
    "lower face": (((33,), Y, 1), ((8,), Y, -1)),
    "brow ridge": (((19, 20, 23, 24), Z, 1), ((36, 39, 42, 45), Z, -1)),
    "brow height": (((19, 20, 23, 24), Y, 1), ((36, 39, 42, 45), Y, -1)),
    "eye spacing": (((42, 45), X, 1), ((36, 39), X, -1)),
    "lid opening": (((37, 38, 43, 44), Y, 1), ((40, 41, 46, 47), Y, -1)),
    "nose length": (((27,), Y, 1), ((33,), Y, -1)),
    "nose width": (((35,), X, 1), ((31,), X, -1)),
    "nose protrusion": (((30,), Z, 1), ((31, 35), Z, -1)),
    "mouth width": (((54,), X, 1), ((48,), X, -1)),
    "upper lip": (((51,), Y, 1), ((62,), Y, -1)),
    "lower lip": (((66,), Y, 1), ((57,), Y, -1)),
    "lip protrusion": (((51, 57), Z, 1), ((48, 54), Z, -1)),
    "chin protrusion": (((8,), Z, 1), ((57,), Z, -1)),
}


def measure(landmarks: np.ndarray) -> np.ndarray:
    """(..., 68, 3) mm -> (..., 15) mm in the order of `MEASUREMENTS`; linear, so displacements may go in too."""
    return np.stack(
        [
            sum(sign * landmarks[..., list(points), axis].mean(-1) for points, axis, sign in terms)
            for terms in MEASUREMENTS.values()
        ],
        axis=-1,
    )


def deviations(identity: Identity) -> np.ndarray:
    """(15,) mm by which the averages of an identity's gender, age and ethnicity group lie from the pooled ones."""
    return np.array([anthropometry.deviation(identity, name) for name in MEASUREMENTS])


class Coefficients:
    """Draws coefficients of a model's identity modes.

    Args:
      mode_landmarks: (modes, 68, 3) mm, what each mode does to the landmarks.
    """

    def __init__(self, mode_landmarks: np.ndarray):
        self._effect = effect = measure(mode_landmarks)  # [modes, 15]
        self._steering = effect @ np.linalg.inv(effect.T @ effect + TOLERANCE**2 * np.eye(effect.shape[1]))

    def draw(self, identity: Identity) -> np.ndarray:
        """(modes,) float32: the average of the identity's group plus N(0, 1) within +-`LIMIT`."""
        rng = stream(identity.seed, "shape")
        limit = LIMIT * np.sqrt((self._effect**2).sum(0))  # [15], mm
        while True:
            drawn = rng.standard_normal(len(self._effect))
            while (wild := np.abs(drawn) > LIMIT).any():
                drawn[wild] = rng.standard_normal(int(wild.sum()))
            if (np.abs(np.einsum("m,mk->k", drawn, self._effect)) <= limit).all():
                break
        average = np.einsum("mk,k->m", self._steering, deviations(identity))
        return (average + drawn).astype(np.float32)
