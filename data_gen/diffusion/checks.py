"""Whether a portrait shows the head that it was asked for: same outline, skin where skin is, eyes where eyes are.

The limits were set by portraits that our own renderer makes of other skins (all pass) and by the same ones shifted,
scaled, turned and spoilt (`tests/data_gen/diffusion/test_checks.py`). They have not met a real model's mistakes.
"""

import importlib
import itertools
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from data_gen import lighting
from data_gen.diffusion.sitting import Sitting

CHROMA, LIGHTNESS = 0.055, 0.95  # how far skin may be from the middle of the face: shares of r, g, b; log luminance
SKIN_RED, SKIN_GREEN = (0.35, 0.62), (0.22, 0.37)  # shares of red and green of any human skin, in linear light
LEAST_SKIN = 0.70  # share of the geometry's skin that must look like skin
MOST_OUTSIDE = 0.40  # share of the ring around the head's bare outline that may
RING = 0.008, 0.045  # where the ring begins and ends, as shares of the side
LEAST_EYE = 0.22  # contrast within either eye, its 90th minus its 10th percentile, as a share of the cheeks' lightness
LEAST_SYMMETRY = 0.25  # correlation of the face's details with their mirror image
MOST_OFF = 0.015  # how far, as a share of the side, the picture's axis of symmetry may lie from the face's
MOST_OFF_LEVEL = 0.03  # the same for the rows of brows, eyes, nostrils and mouth
FINE, COARSE = 0.008, 0.04  # shares of the side: standard deviations between which details of a face lie
SHIFTS = np.linspace(-0.08, 0.08, 49)  # shares of the side
LEAST_DETAIL = 0.004  # standard deviation of lightness within the face: less is a blank
LANDMARK_ERROR = 0.12  # mean distance of landmarks, as a share of that between the eyes
INNER = slice(17, 68)  # landmarks but those of the jaw, about which detectors disagree
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)

Detector = Callable[[np.ndarray], np.ndarray | None]


def fault(picture: np.ndarray, sitting: Sitting, find: Detector | None = None) -> str:
    """What is wrong with a portrait (S, S, 3) uint8, in a few words; '' if nothing is found."""
    return geometry(picture, sitting) or (landmarks(find(picture), sitting) if find else "")


def geometry(picture: np.ndarray, sitting: Sitting) -> str:
    """`fault` by silhouette, skin and symmetry, without any model."""
    size = len(picture)
    light = (picture / 255.0) ** 2.2
    luminance = light @ np.float64(lighting.LUMINANCE) + 1e-4
    core = sitting.skin & _box(sitting.landmarks[INNER], size)
    if core.sum() < 0.005 * size**2:
        return "hardly any skin in sight"
    if np.sqrt(luminance)[core].std() < LEAST_DETAIL:
        return "blank"
    chroma = light / (light.sum(-1, keepdims=True) + 1e-4)
    for share, (low, high) in zip(np.median(chroma[core], axis=0), (SKIN_RED, SKIN_GREEN), strict=False):
        if not low <= share <= high:
            return "no colour of skin"
    like = like_skin(picture, core)
    above = sitting.skin & (np.arange(size) < sitting.landmarks[8, 1])[:, None]  # below the chin there may be a collar
    if like[above].mean() < LEAST_SKIN:
        return "skin is missing"
    to_skin = scipy.ndimage.distance_transform_edt(~sitting.skin) / size
    ring = np.isinf(sitting.depth) & (to_skin > RING[0]) & (to_skin < RING[1])
    if ring.sum() > 0.002 * size**2 and like[ring].mean() > MOST_OUTSIDE:
        return "skin beside the head"
    lightness = np.sqrt(luminance)
    for eye in (RIGHT_EYE, LEFT_EYE):
        inside = lightness[_box(sitting.landmarks[eye], size)]
        low, high = np.percentile(inside, (10, 90))
        if high - low < LEAST_EYE * np.median(lightness[core]):
            return "no eyes where the eyes are"
    detail = scipy.ndimage.gaussian_filter(lightness, FINE * size)
    detail -= scipy.ndimage.gaussian_filter(lightness, COARSE * size)
    return _symmetry(detail, sitting) or _level(detail, sitting)


def like_skin(picture: np.ndarray, core: np.ndarray) -> np.ndarray:
    """(S, S) bool: where a picture has the colour and lightness that it has on the skin of `core`, (S, S) bool."""
    light = (picture / 255.0) ** 2.2
    chroma = light / (light.sum(-1, keepdims=True) + 1e-4)
    log = np.log(light @ np.float64(lighting.LUMINANCE) + 1e-4)
    off = np.abs(chroma - np.median(chroma[core], axis=0)).max(-1)
    return (off < CHROMA) & (np.abs(log - np.median(log[core])) < LIGHTNESS)


def landmarks(found: np.ndarray | None, sitting: Sitting) -> str:
    """`fault` by 68 detected landmarks (68, 2), pixel xy in the markup of `Topology.landmarks`; None: no face."""
    if found is None:
        return "no face detected"
    if np.shape(found) != (68, 2):
        raise ValueError(f"The landmark detector returned shape {np.shape(found)}; expected (68, 2), or None.")
    eyes = np.linalg.norm(sitting.landmarks[LEFT_EYE].mean(0) - sitting.landmarks[RIGHT_EYE].mean(0))
    distance = np.linalg.norm(np.asarray(found)[INNER] - sitting.landmarks[INNER], axis=1).mean()
    return "landmarks off" if distance > LANDMARK_ERROR * eyes else ""


def detector(check: str) -> Detector | None:
    """The detector that `DiffusionConfig.check` names: a function from a portrait (S, S, 3) uint8 to the 68 landmarks
    (68, 2) of its face in pixels, or None where it finds no face.

    Raises:
      ValueError: if there is no such function.
    """
    module, _, function = check.partition(":")
    if not function:
        return None
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"diffusion.check is {check!r}, but {error}; expected module:function of a detector."
        ) from error


def _symmetry(detail: np.ndarray, sitting: Sitting) -> str:
    """Slides the mirrored face over the face: where they agree best, the axis of symmetry is."""
    size, points = len(detail), sitting.landmarks[INNER]
    axis = sitting.landmarks[27:31, 0].mean() - 0.5  # of pixel centres, along the nose
    across = np.arange(-np.ptp(points[:, 0]) / 2, np.ptp(points[:, 0]) / 2)
    rows = np.arange(points[:, 1].min() - 0.02 * size, points[:, 1].max() + 0.02 * size)
    shifts = SHIFTS * size
    agreement = [
        _correlation(_at(detail, rows, axis + shift + across), _at(detail, rows, axis + shift - across))
        for shift in shifts
    ]
    if max(agreement) < LEAST_SYMMETRY:
        return "not symmetrical"
    return "off centre" if abs(shifts[np.argmax(agreement)]) > MOST_OFF * size else ""


def _level(detail: np.ndarray, sitting: Sitting) -> str:
    """Slides the face up and down over the dark lines that every face has: brows, eyes, nostrils and mouth."""
    size, points = len(detail), sitting.landmarks
    drawn = np.zeros((size, size))
    for line in (slice(17, 22), slice(22, 27), RIGHT_EYE, LEFT_EYE, slice(31, 36), slice(60, 65)):
        xs, ys = np.concatenate([np.linspace(a, b, 24) for a, b in itertools.pairwise(points[line])]).T
        inside = (xs >= 0) & (xs < size) & (ys >= 0) & (ys < size)
        np.add.at(drawn, (ys[inside].astype(int), xs[inside].astype(int)), 1.0)
    drawn = scipy.ndimage.gaussian_filter(drawn, FINE * size)
    (left, top), (right, bottom) = points[INNER].min(0) - 0.02 * size, points[INNER].max(0) + 0.02 * size
    rows, columns, shifts = np.arange(top, bottom), np.arange(left, right), SHIFTS * size
    expected = -_at(drawn, rows, columns)
    agreement = [_correlation(_at(detail, rows + shift, columns), expected) for shift in shifts]
    return "too high or too low" if abs(shifts[np.argmax(agreement)]) > MOST_OFF_LEVEL * size else ""


def _at(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    at = np.broadcast_arrays(rows[:, None], columns[None])
    return scipy.ndimage.map_coordinates(picture, at, order=1, mode="nearest").ravel()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def _box(points: np.ndarray, size: int) -> np.ndarray:
    """(S, S) bool: pixels within the bounding box of points (n, 2) xy."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    centers = np.arange(size) + 0.5
    return ((centers > top) & (centers < bottom))[:, None] & ((centers > left) & (centers < right))
