"""Shards divide the identities: nobody twice, nobody left out."""

import pytest

from data_gen.scene import SPLITS, split_of
from data_gen.shards import Shard, holders


@pytest.mark.parametrize(("count", "total"), [(1, 6), (3, 6), (6, 6), (7, 72), (16, 2500)])
def test_everybody_is_in_one_shard(count, total):
    shares = [Shard(i, count).identities(total) for i in range(count)]
    assert sorted(i for share in shares for i in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1 and min(map(len, shares)) >= 1


def test_more_shards_than_identities_are_refused():
    with pytest.raises(ValueError, match="6 identities cannot fill 8 shards.*Take 6 at most"):
        Shard(0, 8).identities(6)


def test_the_name_of_a_shard():
    assert Shard.parse("3/8") == Shard(3, 8) and str(Shard(3, 8)) == "3/8"


@pytest.mark.parametrize("text", ["8/8", "1/0", "-1/8", "3", "3/8/2", "a/b", "3 / 8", ""])
def test_what_names_no_shard_is_refused(text):
    with pytest.raises(ValueError, match="shard.*expected i/n"):
        Shard.parse(text)


@pytest.mark.parametrize("count", [1, 5, 72])
def test_holders_are_the_shards_with_somebody_of_the_split(count):
    for split in SPLITS:
        having = [
            i for i in range(count) if any(split_of(0, person) == split for person in Shard(i, count).identities(72))
        ]
        assert holders(count, 0, 72, split) == having
