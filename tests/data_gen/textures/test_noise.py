import numpy as np
import pytest

from data_gen.scene import stream
from data_gen.textures.noise import DEVIATION, Fields, noise, smoothstep


@pytest.mark.parametrize(("dimensions", "half"), [(1, 20000), (2, 300), (3, 100)])
def test_deviation(dimensions, half):
    points = np.random.default_rng(0).uniform(-half, half, (20000, dimensions))
    values = noise(stream(1, "noise"), points, 5.0)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.1 * DEVIATION
    assert values.std() == pytest.approx(DEVIATION, rel=0.05)


def test_smooth_below_the_wavelength_and_free_above_it():
    x = np.linspace(0, 4000, 40001)[:, None]
    values = noise(stream(1, "noise"), x, 10.0)
    assert np.abs(np.diff(values)).max() < 0.15 * DEVIATION  # steps of a hundredth of the wavelength
    apart = np.corrcoef(values[:-3000:300], values[3000::300])[0, 1]
    assert abs(apart) < 0.25


def test_nowhere_is_no_noise():
    assert noise(stream(1, "noise"), np.zeros((0, 3)), 5.0).shape == (0,)


def test_smoothstep_by_hand():
    np.testing.assert_allclose(smoothstep(0.0, 2.0, np.array([-1.0, 0, 0.5, 1, 2, 3])), [0, 0, 0.15625, 0.5, 1, 1])
    np.testing.assert_allclose(smoothstep(2.0, 0.0, np.array([0.5])), [0.84375])


def test_mixed_fields_are_noise_of_their_own():
    """Mixtures have the deviation of noise, the same stream gives the same one, and another stream another one."""
    fields = Fields(np.random.default_rng(0).uniform(-150, 150, (20000, 3)).astype(np.float32))
    first, again, *others = (fields.mixed(stream(seed, "skin"), 6.0) for seed in (1, 1, 2, 3, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert first.std() == pytest.approx(DEVIATION, rel=0.05)
    assert min(abs(np.corrcoef(first, other)[0, 1]) for other in others) < 0.6
