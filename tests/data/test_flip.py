import numpy as np
import pytest

from configs import teacher
from painjax.data.flip import is_flipped


@pytest.mark.parametrize(("chance", "low", "high"), [(0, 0, 0), (0.5, 1900, 2100), (0.1, 300, 500), (1, 4000, 4000)])
def test_frames_are_mirrored_as_often_as_asked(chance, low, high):
    config = teacher.get_config("test")
    config.data.augment.flip = float(chance)
    assert low <= sum(is_flipped(config, i) for i in range(4000)) <= high


def test_positions_and_seeds_draw_apart():
    config = teacher.get_config("test")
    first = np.array([is_flipped(config, i) for i in range(200)])
    np.testing.assert_array_equal(first, [is_flipped(config, i) for i in range(200)])
    config.seed = 1
    second = np.array([is_flipped(config, i) for i in range(200)])
    for draws, others in ((first, second), (first[1:], first[:-1])):
        assert 0.35 < (draws == others).mean() < 0.65
