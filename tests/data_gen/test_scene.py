"""Scenes: balance, splits, seeds and labels, counted over many identities."""

import collections

import numpy as np
import pytest

from data_gen import scene
from data_gen.rig import SHAPES

SEEDS = (0, 1, 7)


def cell(person):
    return person.age_group, person.gender, person.ethnicity


@pytest.mark.parametrize("dataset_seed", SEEDS)
def test_demographic_cells_are_balanced_within_one_at_any_count(dataset_seed):
    counts = collections.Counter()
    for index in range(150):
        counts[cell(scene.identity(dataset_seed, index))] += 1
        spread = max(counts.values()) - (min(counts.values()) if len(counts) == scene.CELLS else 0)
        assert spread <= 1, index
    assert len(counts) == 3 * 2 * 6


def test_age_lies_in_its_group():
    for index in range(100):
        person = scene.identity(0, index)
        low, high = scene.AGE_YEARS[person.age_group]
        assert low <= person.age <= high
        assert person.id == index


def test_identities_do_not_depend_on_how_many_there_are():
    assert scene.identity(0, 40) == scene.identity(0, 40)
    assert scene.identity(0, 40) != scene.identity(1, 40)


@pytest.mark.parametrize("dataset_seed", SEEDS)
def test_splits_are_70_20_10_and_each_sees_every_cell(dataset_seed):
    members = {split: [] for split in scene.SPLITS}
    for index in range(360):
        members[scene.split_of(dataset_seed, index)].append(index)
    assert {split: len(indices) for split, indices in members.items()} == {"train": 252, "validation": 72, "test": 36}
    for split, indices in members.items():
        assert {cell(scene.identity(dataset_seed, index)) for index in indices} == {
            (age, gender, ethnicity) for age in range(3) for gender in range(2) for ethnicity in range(6)
        }, split


@pytest.mark.parametrize("count", [36, 60, 100, 250, 2500])
def test_splits_of_any_count_are_near_70_20_10(count):
    counts = collections.Counter(scene.split_of(0, index) for index in range(count))
    assert counts["train"] / count == pytest.approx(0.7, abs=0.05)
    assert counts["validation"] / count == pytest.approx(0.2, abs=0.05)
    assert counts["test"] / count == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("frame", [(0, 0, 0, 0), (2**24 - 1, 2**24 - 1, 255, 255), (3, 77, 11, 2), (0, 1, 0, 0)])
def test_seeds_pack_and_unpack(frame):
    seed = scene.pack_seed(*frame)
    assert 0 <= seed < 2**64
    assert scene.unpack_seed(seed) == frame
    assert scene.unpack_seed(np.uint64(seed)) == frame


@pytest.mark.parametrize("frame", [(-1, 0, 0, 0), (2**24, 0, 0, 0), (0, 2**24, 0, 0), (0, 0, 256, 0), (0, 0, 0, -1)])
def test_seeds_out_of_range_are_refused(frame):
    with pytest.raises(ValueError, match="expected 0 <="):
        scene.pack_seed(*frame)


@pytest.mark.parametrize("seed", [scene.pack_seed(0, 0, 12, 0), scene.pack_seed(0, 0, 0, 3)])
def test_seeds_of_no_frame_are_refused(seed):
    with pytest.raises(ValueError, match=f"seed {seed} names"):
        scene.scene(seed)


def test_seed_zero_is_a_seed_and_gives_the_first_frame_back():
    first = scene.scenes(0, 0)[0]
    assert first.seed == 0 and scene.scene(0) == first
    assert first.expression_id == 0 and first.view.id == 0


def test_a_frame_comes_back_from_its_seed_and_differs_from_all_others():
    frames = [frame for index in range(3) for frame in scene.scenes(5, index)]
    assert len(frames) == 3 * 12 * 3
    for frame in frames:
        assert scene.scene(frame.seed) == frame
        assert scene.unpack_seed(frame.seed)[0] == 5
    assert len({frame.seed for frame in frames}) == len({(f.light, f.view, f.aus, f.distractors) for f in frames})
    assert scene.scenes(5, 0)[1:] != scene.scenes(6, 0)[1:]


def test_one_expression_is_the_same_in_every_view_and_one_camera_the_same_for_every_expression():
    frames = scene.scenes(0, 4)
    by_take = collections.defaultdict(list)
    for frame in frames:
        by_take[scene.unpack_seed(frame.seed)[2]].append(frame)
    for take in by_take.values():
        assert len(take) == 3
        assert len({(f.aus, f.asymmetry, f.distractors) for f in take}) == 1
        assert [f.view.id for f in take] == [0, 1, 2]
    assert len({frame.view for frame in frames}) == 3
    assert len({frame.identity for frame in frames}) == 1


def test_neutral_frames_have_a_second_take_that_is_no_copy():
    frames = scene.scenes(0, 2)
    neutral = [frame for frame in frames if frame.expression_id == 0]
    assert len(neutral) == 6 and all(frame.aus == (0.0,) * 6 for frame in neutral)
    for first, second in zip(neutral[:3], neutral[3:], strict=True):
        assert first.view == second.view and first.light != second.light


def test_drawn_action_units_make_the_target_score():
    """PSPI by hand, its target by the systematic sample: each person spans the scale in order, AU43 is 0 or 1."""
    for index in range(60):
        scores = []
        for expression in range(1, 11):
            au4, au6, au7, au9, au10, au43 = scene.scene(scene.pack_seed(0, index, expression)).aus
            assert all(level in range(6) for level in (au4, au6, au7, au9, au10)) and au43 in (0, 1)
            scores.append(au4 + max(au6, au7) + max(au9, au10) + au43)
        assert scores == sorted(scores) and scores[0] <= 2 and scores[-1] >= 15
        assert all(1 <= later - earlier <= 2 for earlier, later in zip(scores[:-1], scores[1:], strict=True))


def test_scores_are_uniform_over_the_scale():
    count = 320
    scores = collections.Counter()
    for index in range(count):
        for expression in range(1, 11):
            au4, au6, au7, au9, au10, au43 = scene.scene(scene.pack_seed(0, index, expression)).aus
            scores[int(au4 + max(au6, au7) + max(au9, au10) + au43)] += 1
    assert set(scores) == set(range(1, 17))
    expected = count * 10 / 16
    assert max(abs(n - expected) for n in scores.values()) < 0.03 * expected


def test_every_action_unit_is_seen_alone_and_leading():
    """Either unit of a pair leads about equally often, so that neither can be read off the other."""
    aus = np.array([scene.scene(scene.pack_seed(0, i, e)).aus for i in range(100) for e in range(1, 11)])
    for a, b in ((1, 2), (3, 4)):
        assert (aus[:, a] > aus[:, b]).mean() == pytest.approx((aus[:, b] > aus[:, a]).mean(), abs=0.08)
    assert 0.2 < aus[:, 5].mean() < 0.8
    assert all((aus[:, k] == level).any() for k in range(5) for level in range(6))


def test_cameras_and_lights_stay_in_their_ranges():
    for index in range(50):
        for frame in scene.scenes(0, index):
            view, light = frame.view, frame.light
            assert abs(view.yaw - scene.VIEW_YAWS[view.id]) <= 6 and abs(view.pitch) <= 7
            assert 18 <= view.fov <= 30 and 0.84 <= view.fill <= 0.94
            assert light.key_elevation > 0 and 3800 <= light.kelvin <= 7500
            assert min(light.key, light.fill, light.ambient) > 0.2
            assert abs(frame.asymmetry) <= 0.12
            assert all(name in SHAPES and 0 <= weight <= 0.15 for name, weight in frame.distractors)


def test_streams_of_one_seed_are_independent_and_repeat():
    a, again = (scene.stream(11, "shape").random(1000) for _ in range(2))
    np.testing.assert_array_equal(a, again)
    for other in (scene.stream(11, "age"), scene.stream(12, "shape"), scene.stream(2**40 + 11, "shape")):
        assert abs(np.corrcoef(a, other.random(1000))[0, 1]) < 0.15
