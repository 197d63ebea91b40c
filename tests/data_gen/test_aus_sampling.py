"""The joint table of action units: balance by counting, scores by hand."""

import collections

import numpy as np
import pytest

from data_gen import aus_sampling, plan
from data_gen.distractors import DISTRACTORS, PROTOTYPES, distractor
from data_gen.rig import OTHER_AUS, shape_weights
from data_gen.scene import pack_seed
from data_gen.statistics import faces, statistics, table
from painjax.pspi import AU_NAMES


@pytest.fixture(scope="module")
def pain():
    return [s for s in faces(0, range(160), "pain") if s.kind == "pain"]


def score(aus):
    au4, au6, au7, au9, au10, au43 = aus
    return au4 + max(au6, au7) + max(au9, au10) + au43


def test_drawn_action_units_make_the_target_score():
    """PSPI by hand, its target by the systematic sample: each person spans the scale in order, AU43 is 0 or 1."""
    for index in range(60):
        scores = []
        for expression in range(1, 11):
            aus = plan.scene(pack_seed(0, index, expression)).aus
            assert all(level in range(6) for level in aus[:5]) and aus[5] in (0, 1)
            scores.append(score(aus))
        assert scores == sorted(scores) and scores[0] <= 2 and scores[-1] >= 15
        assert all(1 <= later - earlier <= 2 for earlier, later in zip(scores[:-1], scores[1:], strict=True))


def test_scores_are_uniform_over_the_scale(pain):
    scores = collections.Counter(int(score(s.aus)) for s in pain)
    assert set(scores) == set(range(1, 17))
    expected = len(pain) / 16
    assert max(abs(n - expected) for n in scores.values()) < 0.04 * expected


def test_every_unit_at_every_intensity_and_no_unit_readable_from_another(pain):
    aus = np.array([s.aus for s in pain])
    for unit in range(5):
        shares = np.bincount(aus[:, unit].astype(int), minlength=6) / len(aus)
        assert shares.min() > 0.05 and shares.max() < 0.45
    assert 0.25 < aus[:, 5].mean() < 0.5
    correlation = np.corrcoef(aus, rowvar=False)[np.triu_indices(6, 1)]
    assert 0.1 < correlation.min() and correlation.max() < 0.65
    for a, b in ((1, 2), (3, 4)):  # either leads about equally often
        assert (aus[:, a] > aus[:, b]).mean() == pytest.approx((aus[:, b] > aus[:, a]).mean(), abs=0.08)
    for a in range(6):  # each unit without each other one
        for b in set(range(6)) - {a}:
            assert ((aus[:, a] > 0) & (aus[:, b] == 0)).mean() > 0.03


def test_what_comes_with_pain_is_no_part_of_its_score(pain):
    shares = collections.Counter(name for s in pain for name, _ in s.others)
    assert set(shares) == {name for name, *_ in aus_sampling.COMPANIONS} <= set(OTHER_AUS)
    for name, share, top in aus_sampling.COMPANIONS:
        levels = [dict(s.others)[name] for s in pain if name in dict(s.others)]
        assert set(levels) == set(range(1, top + 1))
        assert len(levels) / len(pain) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("name", DISTRACTORS)
def test_distractors_show_their_units_and_are_labelled_by_them(name):
    takes = [distractor(seed, name) for seed in range(200)]
    for aus, others in takes:
        levels = dict(zip(AU_NAMES, aus, strict=True)) | dict(others)
        assert set(dict(others)) <= set(OTHER_AUS) and aus[5] in (0, 1)
        assert all(level == int(level) for level in levels.values())
        for unit, level in levels.items():
            low, high = PROTOTYPES[name].get(unit, (0, 0))
            assert low <= level <= high
        shape_weights(aus, 0.1, dict(others))  # which refuses what it does not know
    assert len(set(takes)) > (1 if name != "blink" else 0)


def test_scores_of_distractors_by_hand():
    for seed in range(50):
        smile, _ = distractor(seed, "smile")
        assert score(smile) == smile[1] >= 1  # AU6
        assert score(distractor(seed, "surprise")[0]) == 0
        assert score(distractor(seed, "blink")[0]) == 1
        frown, _ = distractor(seed, "concentration")
        assert score(frown) == frown[0] + frown[2]
        disgust, others = distractor(seed, "disgust")
        assert score(disgust) == max(disgust[3], disgust[4]) and dict(others)["AU17"] >= 1
        assert {"AU1", "AU2", "AU5", "AU26"} <= set(dict(distractor(seed, "surprise")[1]))


def test_an_unknown_distractor_is_refused():
    with pytest.raises(ValueError, match="distractor is 'grin'; expected one of smile, laugh"):
        distractor(0, "grin")


def test_the_table_counts_what_it_is_given(pain):
    counts = statistics(pain)
    aus = np.array([s.aus for s in pain])
    assert counts.levels[0, 3] == (aus[:, 0] == 3).sum() and (counts.levels.sum(1) == len(pain)).all()
    assert counts.together[1, 4] == ((aus[:, 1] > 0) & (aus[:, 4] > 0)).sum()
    assert counts.pspi[0] == 0 and counts.pspi[7] == sum(score(a) == 7 for a in aus)
    assert counts.expressions.sum() == len(pain)
    text = table(counts)
    assert text.startswith(f"{len(pain)} faces") and all(name in text for name in AU_NAMES)
