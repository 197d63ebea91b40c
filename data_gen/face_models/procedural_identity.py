"""Who a procedural head is: anthropometric measurements drawn by group.

Every parameter is a deviation, in mm unless said otherwise, of one measurement from the pooled adult average that the
template shows. Differences between groups follow the rounded averages of Farkas et al., "International anthropometric
study of facial morphology in various ethnic groups/races", J. Craniofac. Surg. 16 (2005), and Farkas, "Anthropometry of
the Head and Face" (1994); ageing follows Albert et al., "A review of the literature on the aging adult skull and face",
Forensic Sci. Int. 172 (2007). What those do not measure (folds, hollows, fullness) is set by eye. They are averages of
a rendering model: nothing here says anything about a person.
"""

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream

MIDDLE_AGE, AGE_SPAN = 48.0, 50.0  # years
TRUNCATION = 2.0  # standard deviations

# Parameter: standard deviation within a group, male minus female, change over 50 years.
PARAMETERS = {
    "head size": (2.0, 4.0, 0.0),  # per cent
    "face width": (4.0, 1.5, 0.0),
    "cranium width": (3.5, 0.0, 0.0),
    "cranium length": (4.0, 0.0, 0.0),
    "forehead height": (3.5, -1.0, 2.0),
    "forehead slope": (2.2, 3.0, 0.5),
    "brow ridge": (0.8, 2.0, 0.4),
    "brow height": (1.2, -2.2, -1.8),
    "eye spacing": (2.6, 0.4, 0.0),
    "eye depth": (1.1, -0.6, -1.2),
    "lid opening": (0.55, -0.5, -1.2),
    "lid tilt": (0.8, -0.4, -0.6),
    "lid fold": (0.6, -0.3, 0.9),
    "nose length": (2.6, 1.0, 2.2),
    "nose width": (2.0, 1.6, 1.2),
    "nose protrusion": (1.5, 0.8, 0.6),
    "nose bridge": (1.1, 0.9, 0.0),
    "nose hump": (0.8, 0.6, 0.3),
    "nose tip lift": (1.2, -0.8, -1.8),
    "nose tip width": (0.7, 0.4, 0.5),
    "lower face": (3.0, 2.6, -0.5),
    "philtrum": (0.9, 0.6, 1.2),
    "mouth width": (2.6, 1.2, 1.0),
    "upper lip": (0.9, -0.5, -1.7),
    "lower lip": (0.9, -0.4, -1.4),
    "lip protrusion": (1.0, 0.0, -1.4),
    "chin protrusion": (1.8, 1.2, 0.4),
    "chin width": (1.8, 2.8, 0.0),
    "cheekbone": (1.1, -0.6, 0.0),
    "cheek fullness": (2.0, -0.8, -1.4),
    "jaw width": (3.4, 4.2, 0.5),
    "neck width": (3.2, 9.0, 1.0),
    "under chin": (1.8, 0.3, 3.0),
    "ear size": (2.4, 1.5, 4.5),
    "ear angle": (2.0, 0.5, 0.5),
    "temple": (0.9, 0.0, -1.6),
    "sag": (0.35, 0.0, 2.4),
    "nasolabial fold": (0.35, 0.1, 1.5),
    "under eye": (0.4, 0.1, 1.6),
    "nose skew": (0.5, 0.0, 0.0),
    "mouth skew": (0.4, 0.0, 0.0),
}

# Deviations of the groups' averages from the pooled one; parameters not listed are at 0.
ETHNIC_MEANS = {
    "african": {
        "nose width": 5.5, "nose protrusion": -2.0, "nose bridge": -1.9, "nose tip width": 1.0,
        "upper lip": 1.9, "lower lip": 1.6, "lip protrusion": 2.4, "mouth width": 2.5, "eye spacing": 1.8,
        "forehead slope": -0.6, "chin protrusion": -1.4, "nose hump": -0.6,
    },
    "east_asian": {
        "face width": 4.0, "nose width": 1.8, "nose protrusion": -2.2, "nose bridge": -1.5, "nose hump": -0.4,
        "eye spacing": 1.4, "eye depth": 1.6, "lid opening": -0.9, "lid tilt": 1.2, "lid fold": 1.9,
        "brow ridge": -0.6, "cheekbone": 0.8, "cranium length": -5.0, "cranium width": 3.0, "mouth width": -1.0,
        "nose length": -0.6,
    },
    "european": {
        "nose width": -2.4, "nose protrusion": 1.2, "nose bridge": 1.0, "nose hump": 0.3, "upper lip": -0.6,
        "lower lip": -0.5, "lip protrusion": -0.9, "brow ridge": 0.4, "eye depth": -0.7, "face width": -0.8,
        "chin protrusion": 0.8,
    },
    "latin_american": {
        "nose width": 1.0, "face width": 1.0, "upper lip": 0.2, "cheekbone": 0.4, "nose bridge": -0.2,
        "lip protrusion": 0.3,
    },
    "middle_eastern": {
        "nose width": -0.6, "nose protrusion": 2.0, "nose bridge": 1.3, "nose hump": 1.2, "nose length": 1.6,
        "nose tip lift": -1.0, "brow ridge": 0.5, "eye depth": -0.5, "brow height": -0.6,
    },
    "south_asian": {
        "nose width": 0.4, "nose protrusion": 0.3, "face width": -1.2, "lid opening": 0.5, "upper lip": 0.3,
        "lower lip": 0.3, "lip protrusion": 0.4, "under eye": 0.3, "head size": -0.8,
    },
}  # fmt: skip


def measurements(identity: Identity) -> dict[str, float]:
    """Deviations of one identity by parameter: its group's mean plus a normal draw, cut off at two deviations."""
    rng = stream(identity.seed, "shape")
    male = 0.5 if GENDERS[identity.gender] == "male" else -0.5
    ageing = (identity.age - MIDDLE_AGE) / AGE_SPAN
    ethnic = ETHNIC_MEANS[ETHNICITIES[identity.ethnicity]]
    out = {}
    for name, (deviation, by_gender, by_age) in PARAMETERS.items():
        mean = ethnic.get(name, 0.0) + male * by_gender + ageing * by_age
        draws = rng.standard_normal(16)  # always 16, so that a parameter's draw does not shift those after it
        z = draws[abs(draws) <= TRUNCATION][0]  # that all 16 lie beyond happens once in 10**21 parameters
        out[name] = float(mean + deviation * z)
    return out
