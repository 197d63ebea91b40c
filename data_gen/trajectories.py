"""Clips: how action units rise, hold and fall over two seconds.

A movement's onset is quicker than its offset, its units start within a tenth of a second of each other, and their paths
have no jerk at either end (Flash & Hogan 1985; timing of spontaneous expressions after Schmidt, Cohn & Tian 2003).
Between rest and apex the intensities are fractions of FACS steps.

Lids close within 0.1 s, about one frame here: AU43 is 1 on the frames on which they are shut and 0 on all others, and
no frame shows them on the way. A blink shuts them for one frame or two. FACS codes so short a closure as AU45, which
one frame cannot tell from AU43; the labels count what each picture shows.
"""

import dataclasses
import functools

import numpy as np

from data_gen import aus_sampling
from data_gen.distractors import DISTRACTORS, distractor
from data_gen.scene import stream
from painjax.pspi import AU_NAMES

FRAMES, FRAMES_PER_SECOND = 24, 12
CLIPS = 6  # of each person
PROGRAMS = ("pain", "distractor", "pain", "mixed", "pain", "distractor")  # of the clips in order
PAINFUL = [number for number, program in enumerate(PROGRAMS) if program != "distractor"]
BLINKS = 0.5  # share of clips with a blink: 15 a minute
LONGEST_DELAY = 0.08  # seconds between the first unit to move and any other
SYLLABLES = (2.5, 4.0)  # per second: how often a speaking mouth opens


@dataclasses.dataclass(frozen=True)
class Moment:
    """One frame of a clip: the fields of `Scene` that move."""

    kind: str
    expression: str
    aus: tuple[float, ...]
    others: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Course:
    """When one movement happens, in seconds: `start`, then `onset` long up, `apex` long held, `offset` long down."""

    start: float
    onset: float
    apex: float
    offset: float

    def at(self, time: np.ndarray, delay: float = 0.0) -> np.ndarray:
        """Share of the peak at each time, 0..1, of a unit that starts `delay` seconds late and lets go as late."""
        since = time - self.start - delay
        return _minimum_jerk(since / self.onset) * _minimum_jerk(1 - (since - self.onset - self.apex) / self.offset)


@functools.lru_cache(maxsize=1)  # its frames are asked for one by one
def clip(clip_seed: int, dataset_seed: int, index: int, number: int) -> tuple[Moment, ...]:
    """The frames of clip `number` of identity `index`, at rest in the first."""
    rng = stream(clip_seed, "clip")
    program = PROGRAMS[number]
    pain, other, name = {}, {}, ""
    if program != "pain":
        name = DISTRACTORS[(CLIPS * index + number) // 2 % len(DISTRACTORS)] if program == "distractor" else "smile"
        course = _whole(rng) if program == "distractor" else Course(0.1, rng.uniform(0.25, 0.35), 0.1, 0.7)
        aus, others = distractor(clip_seed, name)
        other = _paths(rng, course, dict(zip(AU_NAMES, aus, strict=True)) | dict(others), name)
    if program != "distractor":
        place = (PAINFUL.index(number) + index) % len(PAINFUL)
        target = aus_sampling.systematic_pspi(dataset_seed, index, place, len(PAINFUL))
        levels = dict(zip(AU_NAMES, aus_sampling.pain_aus(clip_seed, target), strict=True))
        course = _whole(rng) if program == "pain" else Course(rng.uniform(0.55, 0.65), 0.3, 0.32, 0.6)
        pain = _paths(rng, course, levels | dict(aus_sampling.companions(clip_seed)), "pain")
    blink = _blink(rng) if name != "blink" and rng.random() < BLINKS else ()
    return tuple(_moment(pain, other, name, frame in blink, frame) for frame in range(FRAMES))


def _whole(rng: np.random.Generator) -> Course:
    """A movement that fills the clip."""
    start, onset, offset = rng.uniform(0.09, 0.2), rng.uniform(0.2, 0.4), rng.uniform(0.5, 0.75)
    end = rng.uniform(1.7, (FRAMES - 1) / FRAMES_PER_SECOND - LONGEST_DELAY)
    return Course(start, onset, end - start - onset - offset, offset)


def _paths(rng: np.random.Generator, course: Course, levels: dict[str, float], name: str) -> dict[str, np.ndarray]:
    """(FRAMES,) intensities of each unit with a level above 0, hundredths."""
    time = np.arange(FRAMES) / FRAMES_PER_SECOND
    rhythm = np.ones(FRAMES)
    if name == "speech":
        rhythm = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(*SYLLABLES) * time + rng.uniform(0, 2 * np.pi))
    paths = {}
    for unit, level in levels.items():
        share = course.at(time, rng.uniform(0, LONGEST_DELAY))
        if level == 0:
            continue
        if unit == "AU43":
            paths[unit] = (share > 0.5).astype(float)
            if name == "blink":
                paths[unit] = np.isin(np.arange(FRAMES), _blink(rng)).astype(float)
        else:
            paths[unit] = np.round(level * share * (rhythm if unit in ("AU10", "AU25", "AU26") else 1), 2)
    return paths


def _blink(rng: np.random.Generator) -> np.ndarray:
    """Numbers of the frames on which the lids are shut: one or two."""
    first = int(rng.integers(3, FRAMES - 3))
    return np.arange(first, first + int(rng.integers(1, 3)))


def _moment(pain: dict[str, np.ndarray], other: dict[str, np.ndarray], name: str, blink: bool, frame: int) -> Moment:
    """A frame on which any unit of the pain moves is one of pain; of two movements of one unit, the larger shows.

    A blink shuts the lids of any frame, and names only those on which nothing else moves.
    """
    levels = {unit: max(float(paths[unit][frame]) for paths in (pain, other) if unit in paths) for unit in pain | other}
    if any(path[frame] for path in pain.values()):
        kind, expression = "pain", "pain"
    elif any(levels.values()):
        kind, expression = "distractor", name
    elif blink:
        kind, expression = "distractor", "blink"
    else:
        kind, expression = "neutral", "neutral"
    if blink:
        levels["AU43"] = 1.0
    aus = tuple(levels.get(unit, 0.0) for unit in AU_NAMES)
    return Moment(
        kind, expression, aus, tuple((u, level) for u, level in levels.items() if u not in AU_NAMES and level > 0)
    )


def _minimum_jerk(x: np.ndarray) -> np.ndarray:
    """0 to 1 as x goes from 0 to 1, with no speed and no acceleration at either end."""
    x = np.clip(x, 0, 1)
    return x * x * x * (10 + x * (6 * x - 15))
