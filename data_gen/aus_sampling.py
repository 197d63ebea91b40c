"""Which action units a pain expression shows: PSPI first, evenly over the scale, then a way to reach it."""

import numpy as np

from data_gen.scene import stream

EXPRESSIONS = 11  # 0 is neutral, 1..10 are pain

# Of the ways to reach a score, those with closed eyes count this much: drawn evenly they would be half of all frames,
# while people in pain mostly keep their eyes open (AU43 in 29 % of the pain frames of Lucey et al., "Painful data: the
# UNBC-McMaster shoulder pain expression archive", 2011).
CLOSED_EYES_WEIGHT = 0.6

# Units that PSPI does not count but that come with pain (Prkachin & Solomon 2008; Kunz et al. 2019): how often, and
# their greatest intensity.
COMPANIONS = (("AU12", 0.15, 2), ("AU17", 0.12, 2), ("AU20", 0.25, 3), ("AU25", 0.5, 3), ("AU26", 0.3, 3))


def pspi_target(dataset_seed: int, index: int, expression: int) -> int:
    """PSPI of a pain expression (1..10) of identity `index`, 1..16.

    Systematic sampling: a person spans the scale in steps of 1 or 2, and over people all scores are equally common.
    """
    return systematic_pspi(dataset_seed, index, expression - 1, EXPRESSIONS - 1)


def systematic_pspi(dataset_seed: int, index: int, place: int, count: int) -> int:
    """The score of place `place` among `count` that spread evenly over 1..16 for each identity."""
    start = np.modf(index * 0.6180339887498949 + dataset_seed * 0.7548776662466927)[0]
    return int((place + start) * 16 / count) + 1


def pain_aus(seed: int, target: int) -> tuple[float, ...]:
    """Integer FACS intensities of `AU_NAMES` whose PSPI is exactly `target` (1..16).

    Drawn evenly over the ways that brow, eye, nose-and-lip and lids reach the sum (`CLOSED_EYES_WEIGHT` aside); in
    each pair of units either leads equally often and the other lies anywhere below.
    """
    rng = stream(seed, "aus")
    ways = [
        (au4, orbital, levator, closed)
        for au4 in range(6)
        for orbital in range(6)
        for levator in range(6)
        for closed in (0, 1)
        if au4 + orbital + levator + closed == target
    ]
    weights = np.array([CLOSED_EYES_WEIGHT if closed else 1.0 for *_, closed in ways])
    au4, orbital, levator, closed = ways[rng.choice(len(ways), p=weights / weights.sum())]
    au6, au7 = _pair(rng, orbital)
    au9, au10 = _pair(rng, levator)
    return tuple(float(x) for x in (au4, au6, au7, au9, au10, closed))


def companions(seed: int) -> tuple[tuple[str, float], ...]:
    """Units outside PSPI that a pain expression shows besides: mostly a mouth that is not quite shut.

    No score and no heat comes of them; landmarks, mask and heatmap move with the face, as the picture does.
    """
    rng = stream(seed, "companions")
    draws = [(name, rng.random() < share, int(rng.integers(1, top + 1))) for name, share, top in COMPANIONS]
    return tuple((name, float(level)) for name, shown, level in draws if shown)


def resting_variation(seed: int) -> tuple[tuple[str, float], ...]:
    """A neutral frame that is not quite still: traces below intensity A of a smile, parted lips, a raised brow."""
    rng = stream(seed, "resting variation")
    return tuple((name, float(rng.uniform(0, 1))) for name in ("AU1", "AU12", "AU25", "AU26"))


def _pair(rng: np.random.Generator, peak: int) -> tuple[int, int]:
    """Two intensities whose larger one is `peak`, either one leading."""
    other = int(rng.integers(peak + 1))
    return (peak, other) if rng.random() < 0.5 else (other, peak)
