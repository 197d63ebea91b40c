"""The AU table: ranges, monotony, and the weights computed by hand."""

import itertools

import numpy as np
import pytest

from data_gen import rig
from painjax.pspi import AU_MAX, AU_NAMES

SHAPE_OF = {
    "AU4": "browDown", "AU6": "cheekSquint", "AU7": "eyeSquint", "AU9": "noseSneer", "AU10": "mouthUpperUp",
    "AU43": "eyeBlink",
}  # fmt: skip
FULL = {"AU4": 1.0, "AU6": 1.0, "AU7": 1.0, "AU9": 0.8, "AU10": 0.7, "AU43": 1.0}


def aus(**levels):
    return [levels.get(name, 0) for name in AU_NAMES]


def test_a_neutral_face_has_no_weight():
    weights = rig.shape_weights([0] * 6, asymmetry=0.1)
    assert set(weights) == {f"{stem}_{side}" for stem in SHAPE_OF.values() for side in "LR"}
    assert set(weights.values()) == {0.0}


def test_every_shape_is_one_that_face_models_offer():
    assert set(rig.shape_weights([0] * 6)) <= set(rig.SHAPES)
    assert len(set(rig.SHAPES)) == len(rig.SHAPES)
    assert {row.au for row in rig.TABLE} == set(AU_NAMES) and all(row.reason for row in rig.TABLE)


@pytest.mark.parametrize("name", AU_NAMES)
def test_one_unit_alone_moves_its_shape_in_proportion(name):
    top = AU_MAX[AU_NAMES.index(name)]
    for level in np.linspace(0, top, 11):
        weights = rig.shape_weights(aus(**{name: level}))
        for shape, weight in weights.items():
            expected = FULL[name] * level / top if shape.startswith(SHAPE_OF[name]) else 0.0
            assert weight == pytest.approx(expected, abs=1e-12), shape


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        # Of AU6 and AU7 the weaker adds 0.6 of itself: the sum of 1 and 1 is 1.6, each 0.8 of itself.
        ({"AU6": 5, "AU7": 5}, {"cheekSquint": 0.8, "eyeSquint": 0.8}),
        # 1 and 0.4 make 1 + 0.6 * 0.4 = 1.24 instead of 1.4.
        ({"AU6": 5, "AU7": 2}, {"cheekSquint": 1.24 / 1.4, "eyeSquint": 0.4 * 1.24 / 1.4}),
        # Of AU9 and AU10 the weaker adds 0.2 of itself.
        ({"AU9": 5, "AU10": 5}, {"noseSneer": 0.8 * 0.6, "mouthUpperUp": 0.7 * 0.6}),
        ({"AU9": 1, "AU10": 3}, {"noseSneer": 0.8 * 0.2 * 0.64 / 0.8, "mouthUpperUp": 0.7 * 0.6 * 0.64 / 0.8}),
        # Half of AU7 shows under closed lids.
        ({"AU7": 4, "AU43": 1}, {"eyeSquint": 0.4, "eyeBlink": 1.0}),
    ],
)
def test_pairs_by_hand(levels, expected):
    weights = rig.shape_weights(aus(**levels))
    for shape in SHAPE_OF.values():
        for side in "LR":
            assert weights[f"{shape}_{side}"] == pytest.approx(expected.get(shape, 0.0), abs=1e-12)


def test_more_of_a_unit_never_shows_less():
    """Each unit's own shape, and the joint pull of units on one muscle, never falls as the unit rises."""
    groups = (("AU6", "AU7"), ("AU9", "AU10"))
    for first, second in groups:
        for a, b in itertools.product(range(5), range(6)):
            less = rig.shape_weights(aus(**{first: a, second: b}))
            more = rig.shape_weights(aus(**{first: a + 1, second: b}))
            own, other = f"{SHAPE_OF[first]}_L", f"{SHAPE_OF[second]}_L"
            assert more[own] > less[own]
            pull_less = less[own] / FULL[first] + less[other] / FULL[second]
            assert more[own] / FULL[first] + more[other] / FULL[second] >= pull_less - 1e-12


def test_weights_stay_in_range_over_the_whole_grid():
    for levels in itertools.product((0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 1)):
        for asymmetry in (-1.0, 0.0, 1.0):
            assert all(0 <= weight <= 1 for weight in rig.shape_weights(levels, asymmetry).values())


def test_asymmetry_leans_to_the_left_side_and_spares_the_eyelids():
    weights = rig.shape_weights([2, 2, 0, 2, 0, 1], asymmetry=0.1)
    for stem in ("browDown", "cheekSquint", "noseSneer"):
        assert weights[f"{stem}_L"] / weights[f"{stem}_R"] == pytest.approx(1.1 / 0.9)
    assert weights["eyeBlink_L"] == weights["eyeBlink_R"] == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0, 0, 0, 0, 0, 5], "AU43 is 5.0; expected 0..1"),
        ([5.1, 0, 0, 0, 0, 0], "AU4 is 5.1; expected 0..5"),
        ([0, -1, 0, 0, 0, 0], "AU6 is -1.0; expected 0..5"),
        ([0, 0, float("nan"), 0, 0, 0], "AU7 is nan"),
        ([0] * 5, r"shape \(5,\); expected \(6,\)"),
    ],
)
def test_wrong_intensities_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        rig.shape_weights(wrong)
