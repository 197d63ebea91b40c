"""Scenes: everything that is decided about a frame before anything is drawn of it.

A frame is (dataset seed, identity, expression, view), packed into one 64-bit seed; from it every other number
follows, whatever the number of identities, workers or splits: `plan.scene(seed)`. No other file draws a random number
for which `stream` did not make the generator.
"""

import dataclasses
import zlib

import numpy as np

AGE_GROUPS = ("young", "middle", "old")  # 18-35, 36-60, 61-85 years
AGE_YEARS = ((18.0, 35.0), (36.0, 60.0), (61.0, 85.0))
GENDERS = ("female", "male")
ETHNICITIES = ("african", "east_asian", "european", "latin_american", "middle_eastern", "south_asian")
CELLS = len(AGE_GROUPS) * len(GENDERS) * len(ETHNICITIES)

SPLITS = ("train", "validation", "test")
KINDS = ("neutral", "pain", "distractor")


@dataclasses.dataclass(frozen=True)
class Identity:
    """One synthetic person: rendering parameters, not a human. `age` in years; the classes index the tuples above."""

    id: int
    seed: int  # 64-bit: dataset seed and identity
    age_group: int
    gender: int
    ethnicity: int
    age: float

    def __post_init__(self):
        for name, names in (("age_group", AGE_GROUPS), ("gender", GENDERS), ("ethnicity", ETHNICITIES)):
            value = getattr(self, name)
            if value not in range(len(names)):
                choices = ", ".join(f"{i} ({label})" for i, label in enumerate(names))
                raise ValueError(f"{name} is {value!r}; expected one of {choices}.")
        youngest, oldest = AGE_YEARS[0][0], AGE_YEARS[-1][1]
        if not youngest <= self.age <= oldest:
            raise ValueError(f"age is {self.age} years; expected {youngest:g}..{oldest:g}.")


@dataclasses.dataclass(frozen=True)
class View:
    """One camera on the face.

    Attributes:
      id: number of the view.
      yaw: degrees; positive: the camera stands on the subject's left.
      pitch: degrees; positive: above.
      fov: vertical field of view in degrees.
      fill: face height / image height, which sets the camera's distance.
      roll: degrees; positive: the head leans to the right of the picture.
    """

    id: int
    yaw: float
    pitch: float
    fov: float
    fill: float
    roll: float = 0.0


@dataclasses.dataclass(frozen=True)
class Light:
    """The lamps of a session, fixed in the room: `lighting.rig` places them.

    Attributes:
      key_azimuth: degrees around the head; 0 before the face, positive on the subject's left, the right of a frontal
        picture.
      key_elevation: degrees above the horizon.
      key, fill, ambient, rim: strengths relative to each other; the camera meters their sum.
      kelvin: colour temperature of the key.
      fill_kelvin: colour temperature of all other light.
      rig: one of `sessions.RIGS`, for which these numbers were drawn.
    """

    key_azimuth: float
    key_elevation: float
    key: float
    fill: float
    ambient: float
    kelvin: float
    rim: float = 0.2
    fill_kelvin: float = 5500.0
    rig: str = "window"


@dataclasses.dataclass(frozen=True)
class Room:
    """What lies behind the head.

    Attributes:
      kind: one of `sessions.ROOMS`.
      turn: degrees; which way the subject faces in it.
      brightness: how light it is beside the face, 1 as light.
      kelvin: colour temperature of its light.
      blur: diameter of the circle of confusion in degrees: how far out of focus it is.
    """

    kind: str
    turn: float
    brightness: float
    kelvin: float
    blur: float


@dataclasses.dataclass(frozen=True)
class Lens:
    """What the camera does to a finished picture.

    Attributes:
      exposure: stops over or under.
      warmth: white balance, as stops of red over blue.
      tint: white balance, as stops of green over the two.
      defocus: standard deviation of the blur, in thousandths of the picture's side.
      noise: standard deviation of the sensor's noise at middle grey, as a share of white in the 8-bit picture.
      vignette: share of the light that the corners lose.
      jpeg_quality: 1..100, as the JPEG library counts.
    """

    exposure: float = 0.0
    warmth: float = 0.0
    tint: float = 0.0
    defocus: float = 0.0
    noise: float = 0.0
    vignette: float = 0.0
    jpeg_quality: int = 92


@dataclasses.dataclass(frozen=True)
class ClipFrame:
    """Which frame of which clip: `id` is unique in the data set, `time` in seconds from the clip's first frame."""

    id: int
    frame: int
    time: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """One frame before anything is drawn of it.

    Attributes:
      identity: whose.
      expression_id: 0 neutral, 1..10 pain; distractors and clips as `plan` numbers them.
      kind: one of `KINDS`.
      expression: one of `plan.EXPRESSION_NAMES`: neutral, pain, or which distractor.
      view: the camera.
      aus: (6,) intensities in the order of `AU_NAMES`.
      asymmetry: -0.12..0.12; see `rig.shape_weights`.
      others: (action unit, intensity 0..5) pairs of `rig.OTHER_AUS`, which PSPI does not count and no heat shows.
      light, room, lens: how it is photographed.
      seed: gives this scene back.
      clip: which frame of a clip; None for a still.
    """

    identity: Identity
    expression_id: int
    kind: str
    expression: str
    view: View
    aus: tuple[float, ...]
    asymmetry: float
    others: tuple[tuple[str, float], ...]
    light: Light
    room: Room
    lens: Lens
    seed: int
    clip: ClipFrame | None = None


def pack_seed(dataset_seed: int, identity: int, expression: int = 0, view: int = 0) -> int:
    """One uint64 that names a frame: 24 bits of dataset seed, 24 of identity, 8 of expression or clip, 8 of view or
    frame number."""
    for name, value, bits in (
        ("dataset seed", dataset_seed, 24),
        ("identity", identity, 24),
        ("expression", expression, 8),
        ("view", view, 8),
    ):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} is {value}; expected 0 <= {name} < 2**{bits}.")
    return dataset_seed << 40 | identity << 16 | expression << 8 | view


def unpack_seed(seed: int) -> tuple[int, int, int, int]:
    """(dataset seed, identity, expression, view) of a packed seed."""
    seed = int(seed)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed is {seed}; expected 0 <= seed < 2**64.")
    return seed >> 40, seed >> 16 & 0xFFFFFF, seed >> 8 & 0xFF, seed & 0xFF


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent random stream for one purpose of one seed: the same (seed, name) always gives the same numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(seed), zlib.crc32(name.encode())])))


def identity(dataset_seed: int, index: int) -> Identity:
    """Identity `index`. Every 36 identities visit each age x gender x ethnicity cell once, in shuffled order."""
    seed = pack_seed(dataset_seed, index)
    age_group, gender, ethnicity = np.unravel_index(
        _cell(dataset_seed, index), (len(AGE_GROUPS), len(GENDERS), len(ETHNICITIES))
    )
    low, high = AGE_YEARS[age_group]
    age = float(stream(seed, "age").uniform(low, high))
    return Identity(index, seed, int(age_group), int(gender), int(ethnicity), age)


def _cell(dataset_seed: int, index: int) -> int:
    block, place = divmod(index, CELLS)
    return int(stream(pack_seed(dataset_seed, block), "cells").permutation(CELLS)[place])


def split_of(dataset_seed: int, index: int) -> str:
    """Split of identity `index`: 70/20/10 systematically over the cells, so that every split sees every group."""
    place = (_cell(dataset_seed, index) + index // CELLS) % 10
    return "test" if place == 7 else "validation" if place in (1, 4) else "train"
