"""Scenes: what is drawn at random, from which seed, in which order. Everything later is a pure function of a scene.

A frame is (dataset seed, identity, expression, view), packed into one 64-bit seed; from it every other number
follows, whatever the number of identities, workers or splits. No other file draws a random number for which
`stream` did not make the generator.
"""

import dataclasses
import zlib

import numpy as np

from painjax.pspi import AU_NAMES

AGE_GROUPS = ("young", "middle", "old")  # 18-35, 36-60, 61-85 years
AGE_YEARS = ((18.0, 35.0), (36.0, 60.0), (61.0, 85.0))
GENDERS = ("female", "male")
ETHNICITIES = ("african", "east_asian", "european", "latin_american", "middle_eastern", "south_asian")
CELLS = len(AGE_GROUPS) * len(GENDERS) * len(ETHNICITIES)

SPLITS = ("train", "validation", "test")
EXPRESSIONS = 11  # 0 is neutral, 1..10 are pain
REFERENCE_EXPRESSION = 11  # a second neutral take, the neutral reference of the neutral frames
VIEW_YAWS = (0.0, -35.0, 35.0)  # degrees; positive: the camera stands on the subject's left
VIEWS = len(VIEW_YAWS)


@dataclasses.dataclass(frozen=True)
class Identity:
    """One synthetic person: rendering parameters, not a human. `age` in years; the classes index the tuples above."""

    id: int
    seed: int  # 64-bit: dataset seed and identity
    age_group: int
    gender: int
    ethnicity: int
    age: float


@dataclasses.dataclass(frozen=True)
class View:
    """One camera on the face: `yaw`, `pitch`, `fov` (vertical) in degrees; `fill` is face height / image height."""

    id: int
    yaw: float
    pitch: float
    fov: float
    fill: float


@dataclasses.dataclass(frozen=True)
class Light:
    """Key light direction (degrees, camera frame), intensities relative to 1, and colour temperature in kelvin."""

    key_azimuth: float
    key_elevation: float
    key: float
    fill: float
    ambient: float
    kelvin: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """One frame before anything is drawn of it.

    `aus` are the six intensities of `AU_NAMES`; `asymmetry` > 0 makes the left side stronger by that fraction and
    the right side weaker; `distractors` are (expression shape, weight) pairs that show no pain.
    """

    identity: Identity
    expression_id: int
    view: View
    aus: tuple[float, ...]
    asymmetry: float
    distractors: tuple[tuple[str, float], ...]
    light: Light
    seed: int


def pack_seed(dataset_seed: int, identity: int, expression: int = 0, view: int = 0) -> int:
    """One uint64 that names a frame: 24 bits of dataset seed, 24 of identity, 8 of expression, 8 of view."""
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


def scenes(dataset_seed: int, index: int) -> list[Scene]:
    """All frames of one identity: 11 expressions x 3 views, then the second neutral take in 3 views."""
    return [
        scene(pack_seed(dataset_seed, index, expression, view))
        for expression in (*range(EXPRESSIONS), REFERENCE_EXPRESSION)
        for view in range(VIEWS)
    ]


def scene(seed: int) -> Scene:
    """The scene that a packed 64-bit seed names: the `seed` field of an example gives its frame back."""
    dataset_seed, index, expression, view = unpack_seed(seed)
    if expression > REFERENCE_EXPRESSION or view >= VIEWS:
        raise ValueError(
            f"seed {seed} names expression {expression}, view {view}; expected at most "
            f"{REFERENCE_EXPRESSION} and {VIEWS - 1}."
        )
    person = identity(dataset_seed, index)
    expression_seed = pack_seed(dataset_seed, index, expression)
    is_pain = 1 <= expression < EXPRESSIONS
    rng = stream(expression_seed, "expression")
    return Scene(
        identity=person,
        expression_id=expression if is_pain else 0,
        view=_view(person.seed, view),
        aus=_pain_aus(expression_seed, _pspi_target(dataset_seed, index, expression))
        if is_pain
        else (0.0,) * len(AU_NAMES),
        asymmetry=float(rng.uniform(-0.12, 0.12)),
        distractors=_distractors(rng),
        light=_light(person.seed, seed),
        seed=int(seed),
    )


def _view(identity_seed: int, view: int) -> View:
    rng = stream(identity_seed, f"view {view}")
    return View(
        id=view,
        yaw=float(VIEW_YAWS[view] + rng.uniform(-6, 6)),
        pitch=float(rng.uniform(-7, 7)),
        fov=float(rng.uniform(18, 30)),
        fill=float(rng.uniform(0.84, 0.94)),
    )


def _light(identity_seed: int, frame_seed: int) -> Light:
    """One light rig for each person's session, and a little drift of it from frame to frame."""
    session, frame = stream(identity_seed, "light"), stream(frame_seed, "light drift")
    return Light(
        key_azimuth=float(session.uniform(-50, 50) + frame.uniform(-6, 6)),
        key_elevation=float(session.uniform(10, 50) + frame.uniform(-5, 5)),
        key=float(session.uniform(0.8, 1.2) * frame.uniform(0.95, 1.05)),
        fill=float(session.uniform(0.35, 0.7) * frame.uniform(0.95, 1.05)),
        ambient=float(session.uniform(0.35, 0.55) * frame.uniform(0.95, 1.05)),
        kelvin=float(session.uniform(3800, 7500)),
    )


def _distractors(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Small movements that are not pain, at rest too: lips part, a trace of a smile.

    No score and no heat comes of them; landmarks, mask and heatmap move with the face, as the picture does.
    """
    jaw, smile = rng.uniform(0, 0.12), rng.uniform(0, 0.15)
    return (("jawOpen", float(jaw)), ("mouthSmile_L", float(smile)), ("mouthSmile_R", float(smile)))


def _pspi_target(dataset_seed: int, index: int, expression: int) -> int:
    """PSPI of a pain expression: systematic sampling: a person spans 1..16 and all scores are equally common."""
    start = np.modf(index * 0.6180339887498949 + dataset_seed * 0.7548776662466927)[0]
    return int((expression - 1 + start) * 16 / (EXPRESSIONS - 1)) + 1


def _pain_aus(seed: int, target: int) -> tuple[float, ...]:
    """Integer FACS intensities whose PSPI is exactly `target` (1..16), drawn evenly over the ways to reach it."""
    rng = stream(seed, "aus")
    ways = [
        (au4, orbital, levator, closed)
        for au4 in range(6)
        for orbital in range(6)
        for levator in range(6)
        for closed in (0, 1)
        if au4 + orbital + levator + closed == target
    ]
    au4, orbital, levator, closed = ways[rng.integers(len(ways))]
    au6, au7 = _pair(rng, orbital)
    au9, au10 = _pair(rng, levator)
    return tuple(float(x) for x in (au4, au6, au7, au9, au10, closed))


def _pair(rng: np.random.Generator, peak: int) -> tuple[int, int]:
    """Two intensities whose larger one is `peak`, either one leading."""
    other = int(rng.integers(peak + 1))
    return (peak, other) if rng.random() < 0.5 else (other, peak)
