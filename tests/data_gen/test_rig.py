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
OTHERS = ("AU1", "AU2", "AU5", "AU12", "AU15", "AU17", "AU20", "AU25", "AU26", "AU27")
A, B, C, D, E = 0.12, 0.28, 0.54, 0.82, 1.0  # share of the full excursion by FACS letter


def aus(**levels):
    return [levels.get(name, 0) for name in AU_NAMES]


def test_a_neutral_face_has_no_weight():
    weights = rig.shape_weights([0] * 6, asymmetry=0.1)
    assert set(weights) == {f"{stem}_{side}" for stem in SHAPE_OF.values() for side in "LR"}
    assert set(weights.values()) == {0.0}
    assert set(rig.shape_weights([0] * 6, others=dict.fromkeys(OTHERS, 0.0)).values()) == {0.0}


def test_the_table_is_complete_and_offers_what_face_models_have():
    assert [row.au for row in rig.TABLE] == list(AU_NAMES) and rig.OTHER_AUS == OTHERS
    assert all(row.reason and row.source and 0 <= row.lean <= 1 for row in (*rig.TABLE, *rig.OTHERS))
    assert set(rig.shape_weights([0] * 6, others=dict.fromkeys(OTHERS, 1.0))) == set(rig.SHAPES)
    assert len(set(rig.SHAPES)) == len(rig.SHAPES)


@pytest.mark.parametrize("name", AU_NAMES)
def test_one_unit_alone_moves_its_shape_as_far_as_its_letter_says(name):
    top = AU_MAX[AU_NAMES.index(name)]
    letters = {0: 0, 1: A, 2: B, 2.5: (B + C) / 2, 3: C, 4: D, 5: E} if top == 5 else {0: 0, 1: 1}
    for level, share in letters.items():
        for shape, weight in rig.shape_weights(aus(**{name: level})).items():
            assert weight == pytest.approx(share if shape.startswith(SHAPE_OF[name]) else 0.0, abs=1e-12), shape


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        # Of AU6 and AU7 the weaker adds 0.6 of itself: the sum of 1 and 1 is 1.6, each 0.8 of itself.
        ({"AU6": 5, "AU7": 5}, {"cheekSquint": 0.8, "eyeSquint": 0.8}),
        ({"AU6": 5, "AU7": 2}, {"cheekSquint": (1 + 0.6 * B) / (1 + B), "eyeSquint": B * (1 + 0.6 * B) / (1 + B)}),
        # Of AU9 and AU10 the weaker adds half of itself.
        ({"AU9": 5, "AU10": 5}, {"noseSneer": 0.75, "mouthUpperUp": 0.75}),
        (
            {"AU9": 1, "AU10": 3},
            {"noseSneer": A * (C + 0.5 * A) / (C + A), "mouthUpperUp": C * (C + 0.5 * A) / (C + A)},
        ),
        # Half of AU7 shows under closed lids.
        ({"AU7": 4, "AU43": 1}, {"eyeSquint": 0.5 * D, "eyeBlink": 1.0}),
    ],
)
def test_pairs_by_hand(levels, expected):
    weights = rig.shape_weights(aus(**levels))
    for shape in SHAPE_OF.values():
        for side in "LR":
            assert weights[f"{shape}_{side}"] == pytest.approx(expected.get(shape, 0.0), abs=1e-12)


def test_more_of_a_unit_shows_more():
    """Each unit's own shape rises strictly; the joint pull of units on one muscle never falls."""
    for first, second in (("AU6", "AU7"), ("AU7", "AU6"), ("AU9", "AU10"), ("AU10", "AU9"), ("AU4", "AU43")):
        for a, b, closed in itertools.product(np.arange(0, 5, 0.5), (0, 1) if second == "AU43" else range(6), (0, 1)):
            less = rig.shape_weights(aus(**{"AU43": closed} | {first: a, second: b}))
            more = rig.shape_weights(aus(**{"AU43": closed} | {first: a + 0.5, second: b}))
            own, other = f"{SHAPE_OF[first]}_L", f"{SHAPE_OF[second]}_L"
            assert more[own] > less[own]
            assert more[own] + more[other] >= less[own] + less[other] - 1e-12


def test_weights_stay_in_range_over_the_whole_grid():
    everything = dict.fromkeys(OTHERS, 5.0)
    for levels in itertools.product((0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 2.5, 5), (0, 1)):
        for asymmetry in (-1.0, 0.0, 1.0):
            assert all(0 <= weight <= 1 for weight in rig.shape_weights(levels, asymmetry, everything).values())


def test_asymmetry_leans_to_the_left_side_and_spares_the_eyelids():
    weights = rig.shape_weights([2, 2, 0, 2, 0, 1], asymmetry=0.1, others={"AU12": 2, "AU26": 3})
    for stem, lean in (("browDown", 0.6), ("cheekSquint", 0.8), ("noseSneer", 1), ("mouthSmile", 1), ("eyeBlink", 0)):
        left, right = weights[f"{stem}_L"], weights[f"{stem}_R"]
        assert left / right == pytest.approx((1 + 0.1 * lean) / (1 - 0.1 * lean)), stem
        assert left == pytest.approx(1 if stem == "eyeBlink" else B)  # the score is the stronger side's
    mirrored = rig.shape_weights([2, 2, 0, 2, 0, 1], asymmetry=-0.1)
    assert mirrored["noseSneer_R"] == weights["noseSneer_L"] and mirrored["noseSneer_L"] == weights["noseSneer_R"]


def test_activations_are_the_sides_of_the_table_by_hand():
    acting = rig.activations([2, 5, 5, 0, 3, 1], asymmetry=-0.1, others={"AU12": 4, "AU26": 5})
    assert set(acting) == {*AU_NAMES, "AU12", "AU26"}
    for au, level, lean in (
        ("AU4", B, 0.6), ("AU6", 0.8, 0.8), ("AU7", 0.8 * 0.5, 0.8), ("AU9", 0, 1), ("AU10", C, 1), ("AU43", 1, 0),
        ("AU12", D, 1), ("AU26", 1, 0),
    ):  # fmt: skip
        weaker = level * (1 - 0.1 * lean) / (1 + 0.1 * lean)
        assert acting[au] == pytest.approx((weaker, level)), au


def test_other_units_leave_the_pain_units_alone():
    pain = rig.shape_weights([3, 2, 4, 1, 2, 0], 0.1)
    both = rig.shape_weights([3, 2, 4, 1, 2, 0], 0.1, {"AU1": 3, "AU12": 5, "AU27": 5})
    assert all(both[shape] == weight for shape, weight in pain.items())


def test_units_that_share_a_shape_or_a_muscle():
    jaw = [rig.shape_weights([0] * 6, others={"AU26": a, "AU27": b})["jawOpen"] for a, b in ((5, 0), (0, 5), (5, 5))]
    assert jaw[0] < 0.6 and jaw[1:] == pytest.approx([1.0, 1.0])  # a dropped jaw adds nothing to a stretched mouth
    assert rig.shape_weights([0] * 5 + [1], others={"AU5": 5})["eyeWide_L"] == 0.0  # closed is closed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"aus": [0, 0, 0, 0, 0, 5]}, r"AU43 is 5\.0; expected 0 \(lids open\) or 1"),
        ({"aus": [0, 0, 0, 0, 0, 0.5]}, r"AU43 is 0\.5; expected 0 \(lids open\) or 1"),
        ({"aus": [5.1, 0, 0, 0, 0, 0]}, "AU4 is 5.1; expected 0..5"),
        ({"aus": [0, -1, 0, 0, 0, 0]}, "AU6 is -1.0; expected 0..5"),
        ({"aus": [0, 0, float("nan"), 0, 0, 0]}, "AU7 is nan"),
        ({"aus": [0] * 5}, r"shape \(5,\); expected \(6,\)"),
        ({"asymmetry": float("nan")}, "asymmetry is nan; expected -1..1"),
        ({"asymmetry": 1.5}, "asymmetry is 1.5"),
        ({"others": {"AU12": 6}}, "AU12 is 6; expected 0..5"),
        ({"others": {"AU3": 1}}, "action unit 'AU3' is unknown; expected one of AU1, AU2"),
        ({"others": {"AU4": 1}}, "action unit 'AU4' is unknown"),
    ],
)
def test_wrong_input_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        rig.shape_weights(**({"aus": [0] * 6} | wrong))
