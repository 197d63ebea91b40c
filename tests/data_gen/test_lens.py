"""The lens against the arithmetic of light."""

import time

import numpy as np
import pytest

from data_gen.lens import develop
from data_gen.scene import Lens, stream

SIZE = 96


def linear(picture):
    value = picture / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def grey(value, size=SIZE):
    return np.full((size, size, 3), value, np.uint8)


def shot(picture, seed=0, **settings):
    return develop(picture, Lens(**settings), stream(seed, "noise"))


def test_a_perfect_lens_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(shot(picture), picture)


@pytest.mark.parametrize("stops", [-0.2, 0.15])
def test_a_stop_of_exposure_doubles_the_light(stops):
    ratio = linear(shot(grey(110), exposure=stops)).mean() / linear(grey(110)).mean()
    assert ratio == pytest.approx(2**stops, rel=0.02)


def test_white_balance_moves_colours_and_leaves_the_light():
    red, green, blue = linear(shot(grey(110), warmth=0.1)).mean((0, 1)) / linear(grey(110)).mean()
    assert red / blue == pytest.approx(2**0.1, rel=0.03) and green == pytest.approx(1, rel=0.02)
    red, green, blue = linear(shot(grey(110), tint=0.05)).mean((0, 1)) / linear(grey(110)).mean()
    assert green / red == pytest.approx(2**0.05, rel=0.03) and red == pytest.approx(blue)


def test_corners_lose_what_the_vignette_says():
    light = linear(shot(grey(140), vignette=0.2))[..., 1] / linear(grey(140)).mean()
    assert light[SIZE // 2, SIZE // 2] == pytest.approx(1, rel=0.02)
    assert light[0, 0] == pytest.approx(0.8, abs=0.02)
    np.testing.assert_array_equal(light, light[::-1, ::-1])


def test_noise_at_middle_grey_and_in_the_dark():
    def spread(value):
        return shot(grey(value, 224), noise=0.008).std((0, 1)).mean() / 255

    assert spread(118) == pytest.approx(0.008, rel=0.1)  # 118 is 0.18 of white
    light_noise = [linear(shot(grey(v, 224), noise=0.008)).std() for v in (40, 118, 230)]
    assert light_noise == sorted(light_noise)  # shot noise grows with the light
    assert shot(grey(118), noise=0.008).mean() == pytest.approx(118, abs=0.2)


def test_noise_is_the_frames_own():
    first, again, other = (shot(grey(118), seed, noise=0.01) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3


def test_defocus_scales_with_the_picture():
    """A white line blurs by a share of the side: twice the pixels at twice the size."""
    widths = []
    for size in (224, 448):
        picture = grey(0, size)
        picture[:, size // 2 : size // 2 + 2 * size // 224] = 200
        row = shot(picture, defocus=6.0)[size // 2, :, 0].astype(float)
        x = np.arange(size)
        middle = (row * x).sum() / row.sum()
        widths.append(np.sqrt((row * (x - middle) ** 2).sum() / row.sum()))
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.1)
    assert widths[0] == pytest.approx(np.hypot(6e-3 * 224, 2 / np.sqrt(12)), rel=0.15)


def test_quick():
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    spent = []
    for seed in range(5):
        start = time.process_time()
        shot(picture, seed, exposure=0.1, warmth=0.1, defocus=1.5, noise=0.006, vignette=0.1)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.01  # 3 ms on an idle core
