import numpy as np

from data_gen.textures.background import background


def test_same_seed_same_room_other_seed_another():
    first = background(0, 64)
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, background(0, 64))
    assert np.abs(first.astype(int) - background(1, 64)).mean() > 3


def test_out_of_focus():
    """No edges: neighbouring pixels differ by a few grey levels at most."""
    for seed in range(8):
        picture = background(seed, 128).astype(int)
        assert np.quantile(np.abs(np.diff(picture, axis=1)), 0.999) < 16


def test_rooms_vary():
    means = [background(seed, 32).mean() for seed in range(24)]
    assert np.std(means) > 15
