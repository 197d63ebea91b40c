"""Group averages for ICT identities: the modes have no names, so measurements on the landmarks steer them.

A measurement is linear in the landmarks and they are linear in the modes. Given how far a group's averages lie from the
pooled ones, the most probable coefficients under the modes' own N(0, 1) prior are a ridge solution.

Group averages follow Farkas et al., "International anthropometric study of facial morphology in various ethnic
groups/races", J. Craniofac. Surg. 16 (2005), rounded, and age trends Albert et al., "A review of the literature on the
aging adult skull and face", Forensic Sci. Int. 172 (2007), as those of the procedural head do. They are population
averages of a rendering model: nothing here says anything about a person.
"""

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity

TOLERANCE = 0.5  # mm by which a group's average may be missed, to keep the coefficients small

# Measurement -> terms (landmarks, axis, sign): the mean coordinate of the landmarks, added up.
X, Y, Z = range(3)
MEASUREMENTS = {
    "face width": (((14, 15), X, 1), ((1, 2), X, -1)),
    "jaw width": (((11, 12), X, 1), ((4, 5), X, -1)),
    "lower face": (((33,), Y, 1), ((8,), Y, -1)),
    "brow ridge": (((19, 20, 23, 24), Z, 1), ((36, 39, 42, 45), Z, -1)),
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

# mm, male minus female averages, and the change from 25 to 75 years of age.
GENDER = {
    "face width": 1.5, "jaw width": 4.2, "lower face": 2.6, "brow ridge": 2.0, "eye spacing": 0.4, "lid opening": -0.5,
    "nose length": 1.0, "nose width": 1.6, "nose protrusion": 0.8, "mouth width": 1.2, "upper lip": -0.5,
    "lower lip": -0.4, "chin protrusion": 1.2,
}  # fmt: skip
AGE = {
    "jaw width": 0.5, "lower face": -0.5, "brow ridge": 0.4, "lid opening": -1.2, "nose length": 2.2, "nose width": 1.2,
    "nose protrusion": 0.6, "mouth width": 1.0, "upper lip": -1.7, "lower lip": -1.4, "lip protrusion": -1.4,
    "chin protrusion": 0.4,
}  # fmt: skip
# mm from the average of all groups.
ETHNIC = {
    "african": {
        "nose width": 5.5, "nose protrusion": -2.0, "upper lip": 1.9, "lower lip": 1.6, "lip protrusion": 2.4,
        "mouth width": 2.5, "eye spacing": 1.8, "chin protrusion": -1.4,
    },
    "east_asian": {
        "face width": 4.0, "nose width": 1.8, "nose protrusion": -2.2, "eye spacing": 1.4, "lid opening": -0.9,
        "brow ridge": -0.6, "mouth width": -1.0, "nose length": -0.6,
    },
    "european": {
        "nose width": -2.4, "nose protrusion": 1.2, "upper lip": -0.6, "lower lip": -0.5, "lip protrusion": -0.9,
        "brow ridge": 0.4, "face width": -0.8, "chin protrusion": 0.8,
    },
    "latin_american": {"nose width": 1.0, "face width": 1.0, "upper lip": 0.2, "lip protrusion": 0.3},
    "middle_eastern": {"nose width": -0.6, "nose protrusion": 2.0, "nose length": 1.6, "brow ridge": 0.5},
    "south_asian": {
        "nose width": 0.4, "nose protrusion": 0.3, "face width": -1.2, "lid opening": 0.5, "upper lip": 0.3,
        "lower lip": 0.3, "lip protrusion": 0.4,
    },
}  # fmt: skip


def measure(landmarks: np.ndarray) -> np.ndarray:
    """(..., 68, 3) mm -> (..., 14) mm in the order of `MEASUREMENTS`; linear, so displacements may go in too."""
    return np.stack(
        [
            sum(sign * landmarks[..., list(points), axis].mean(-1) for points, axis, sign in terms)
            for terms in MEASUREMENTS.values()
        ],
        axis=-1,
    )


def deviations(identity: Identity) -> np.ndarray:
    """(14,) mm by which the averages of an identity's gender, age and ethnicity group lie from the pooled ones."""
    male = 0.5 if GENDERS[identity.gender] == "male" else -0.5
    ageing = (identity.age - 48.0) / 50.0
    ethnic = ETHNIC[ETHNICITIES[identity.ethnicity]]
    return np.array(
        [ethnic.get(name, 0.0) + male * GENDER.get(name, 0.0) + ageing * AGE.get(name, 0.0) for name in MEASUREMENTS]
    )


def steering(mode_landmarks: np.ndarray) -> np.ndarray:
    """(modes, 14): coefficients for a unit of each deviation.

    Args:
      mode_landmarks: (modes, 68, 3) mm, what each mode does to the landmarks.
    """
    effect = measure(mode_landmarks)  # [modes, 14]
    return effect @ np.linalg.inv(effect.T @ effect + TOLERANCE**2 * np.eye(effect.shape[1]))
