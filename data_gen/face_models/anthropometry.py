"""How groups of people differ on average: the one table behind the identities of every face model.

Millimetres on the face unless said otherwise. Differences between groups are rounded from Farkas et al.,
"International anthropometric study of facial morphology in various ethnic groups/races", J. Craniofac. Surg. 16 (2005),
those between women and men from Farkas, "Anthropometry of the Head and Face" (1994), interpupillary distance from
Dodgson, "Variation and extrema of human interpupillary distance" (2004), and ageing from Albert et al., "A review of
the literature on the aging adult skull and face", Forensic Sci. Int. 172 (2007): all written down from memory, so that
a number may be off by some tenths. What nobody measured (folds, hollows, fullness, lid tilt) is set by eye. They are
averages of a rendering model: nothing here says anything about a person.
"""

from data_gen.scene import ETHNICITIES, GENDERS, Identity

MIDDLE_AGE, AGE_SPAN = 48.0, 50.0  # years

# Lengths of an average adult face, sexes pooled.
LENGTHS = {
    "face width": 134.0, "jaw width": 102.0, "lower face": 67.0, "eye spacing": 63.0, "lid opening": 10.0,
    "nose length": 51.0, "nose width": 34.0, "mouth width": 51.5,
}  # fmt: skip
# Male minus female.
GENDER = {
    "head size": 4.0,  # per cent
    "face width": 6.8, "jaw width": 8.5, "lower face": 7.0, "eye spacing": 2.4, "lid opening": -0.4, "nose length": 3.2,
    "nose width": 3.2, "nose protrusion": 0.9, "mouth width": 3.4, "upper lip": -0.7, "lower lip": -0.5,
    "lip protrusion": -0.3, "chin protrusion": 1.5, "brow ridge": 2.2, "brow height": -2.4, "forehead height": -1.0,
    "forehead slope": 3.0, "eye depth": -0.6, "lid tilt": -0.5, "lid fold": -0.3, "nose bridge": 0.9, "nose hump": 0.6,
    "nose tip lift": -1.2, "nose tip width": 0.4, "philtrum": 0.8, "chin width": 3.4, "cheekbone": -0.6,
    "cheek fullness": -0.8, "neck width": 10.0, "under chin": 0.3, "ear size": 1.5, "ear angle": 0.5,
    "nasolabial fold": 0.1, "under eye": 0.1,
}  # fmt: skip
# Change over `AGE_SPAN` years.
AGE = {
    "jaw width": 0.5, "lower face": -0.5, "brow ridge": 0.4, "brow height": -1.8, "lid opening": -1.2,
    "nose length": 2.2, "nose width": 1.2, "nose protrusion": 0.6, "mouth width": 1.0, "upper lip": -1.7,
    "lower lip": -1.4, "lip protrusion": -1.4, "chin protrusion": 0.4, "forehead height": 2.0, "forehead slope": 0.5,
    "eye depth": -1.2, "lid tilt": -0.6, "lid fold": 0.9, "nose hump": 0.3, "nose tip lift": -1.8,
    "nose tip width": 0.5, "philtrum": 1.2, "cheek fullness": -1.4, "neck width": 1.0, "under chin": 3.0,
    "ear size": 4.5, "ear angle": 0.5, "temple": -1.6, "sag": 2.4, "nasolabial fold": 1.5, "under eye": 1.6,
}  # fmt: skip
# From the average of all groups.
ETHNIC = {
    "african": {
        "nose width": 5.5, "nose protrusion": -2.0, "nose bridge": -1.9, "nose tip width": 1.0, "nose hump": -0.6,
        "upper lip": 1.9, "lower lip": 1.6, "lip protrusion": 2.4, "mouth width": 2.5, "eye spacing": 1.8,
        "forehead slope": -0.6, "chin protrusion": -1.4,
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


def deviation(identity: Identity, name: str) -> float:
    """How far the average of an identity's gender, age and ethnicity lies from the pooled one, in mm.

    Args:
      name: a measurement of the tables above; one that none of them lists differs nowhere: 0.
    """
    male = 0.5 if GENDERS[identity.gender] == "male" else -0.5
    ageing = (identity.age - MIDDLE_AGE) / AGE_SPAN
    ethnic = ETHNIC[ETHNICITIES[identity.ethnicity]].get(name, 0.0)
    return ethnic + male * GENDER.get(name, 0.0) + ageing * AGE.get(name, 0.0)


def deviation_of_shape(identity: Identity, name: str) -> float:
    """`deviation` without what the size of the head alone explains, for models that scale the head by "head size"."""
    size = deviation(identity, "head size") / 100
    return deviation(identity, name) - size * LENGTHS.get(name, 0.0)
