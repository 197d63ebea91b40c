"""Scenes: balance, splits, seeds and labels, counted over many identities."""

import collections
import dataclasses

import numpy as np
import pytest

from data_gen import scene

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


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_numbers_that_are_no_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"expected 0 <= seed < 2\*\*64"):
        scene.unpack_seed(seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age_group": 3}, r"age_group is 3; expected one of 0 \(young\)"),
        ({"gender": -1}, r"gender is -1; .*1 \(male\)"),
        ({"ethnicity": "european"}, r"ethnicity is 'european'; .*2 \(european\)"),
        ({"age": float("nan")}, r"age is nan years; expected 18\.\.85"),
        ({"age": 12.0}, r"age is 12\.0 years"),
    ],
)
def test_unknown_demographics_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(scene.identity(0, 0), **change)


def test_streams_of_one_seed_are_independent_and_repeat():
    a, again = (scene.stream(11, "shape").random(1000) for _ in range(2))
    np.testing.assert_array_equal(a, again)
    for other in (scene.stream(11, "age"), scene.stream(12, "shape"), scene.stream(2**40 + 11, "shape")):
        assert abs(np.corrcoef(a, other.random(1000))[0, 1]) < 0.15
