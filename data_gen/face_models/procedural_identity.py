"""Who a procedural head is: measurements drawn about the averages of its group (`anthropometry.py`).

Every parameter is a deviation, in mm unless said otherwise, of one measurement from the pooled adult average that the
template shows.
"""

from data_gen.face_models import anthropometry
from data_gen.scene import Identity, stream

TRUNCATION = 2.0  # standard deviations

# Parameter: standard deviation within a group.
PARAMETERS = {
    "head size": 2.0,  # per cent
    "face width": 4.0, "cranium width": 3.5, "cranium length": 4.0, "forehead height": 3.5, "forehead slope": 2.2,
    "brow ridge": 0.8, "brow height": 1.6, "eye spacing": 2.6, "eye depth": 1.4, "lid opening": 0.6, "lid tilt": 1.2,
    "lid fold": 0.9, "nose length": 2.6, "nose width": 2.0, "nose protrusion": 1.5, "nose bridge": 1.4,
    "nose hump": 1.1, "nose tip lift": 1.3, "nose tip width": 1.0, "lower face": 3.2, "philtrum": 1.1,
    "mouth width": 2.6, "upper lip": 1.1, "lower lip": 1.1, "lip protrusion": 1.3, "chin protrusion": 1.8,
    "chin width": 2.8, "cheekbone": 1.6, "cheek fullness": 2.8, "jaw width": 4.2, "neck width": 3.2, "under chin": 1.8,
    "ear size": 2.4, "ear angle": 2.0, "temple": 0.9, "sag": 0.35, "nasolabial fold": 0.35, "under eye": 0.4,
    "nose skew": 0.5, "mouth skew": 0.4,
}  # fmt: skip


def measurements(identity: Identity) -> dict[str, float]:
    """Deviations of one identity by parameter: its group's mean plus a normal draw, cut off at two deviations."""
    rng = stream(identity.seed, "shape")
    out = {}
    for name, spread in PARAMETERS.items():
        draws = rng.standard_normal(16)  # always 16, so that a parameter's draw does not shift those after it
        z = draws[abs(draws) <= TRUNCATION][0]  # that all 16 lie beyond happens once in 10**21 parameters
        out[name] = float(_mean(identity, name) + spread * z)
    return out


def _mean(identity: Identity, name: str) -> float:
    if name == "head size":
        return anthropometry.deviation(identity, name)
    return anthropometry.deviation_of_shape(identity, name)
