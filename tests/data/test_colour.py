import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from painjax.data.colour import blur, erase


def test_blur_is_a_gaussian_inside_the_picture_and_keeps_what_is_even():
    picture = np.zeros((64, 64, 1), np.float32)
    picture[32, 32] = 1
    key = jax.random.key(4)
    deviation = float(jax.random.uniform(key)) * 0.05 * 64
    assert deviation > 1
    expected = ndimage.gaussian_filter(picture[..., 0], deviation, truncate=8)
    np.testing.assert_allclose(blur(jnp.asarray(picture), key, 0.05)[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(blur(jnp.full((64, 64, 3), 0.3), key, 0.05), 0.3, atol=1e-5)


def test_almost_no_blur_changes_nothing():
    picture = np.random.default_rng(0).random((16, 16, 3), np.float32)
    np.testing.assert_allclose(blur(jnp.asarray(picture), jax.random.key(0), 1e-9), picture, atol=1e-6)


def test_erasing_hides_one_rectangle_in_one_colour_as_often_as_asked():
    picture = jnp.full((50, 50, 3), 2.0)  # no colour is
    keys = jax.random.split(jax.random.key(0), 400)
    erased = np.asarray(jax.vmap(lambda key: erase(picture, key, 0.3))(keys))
    hidden = (erased != 2).all(axis=-1)
    assert 0.2 < hidden.any(axis=(1, 2)).mean() < 0.4
    for mask, pixels in zip(hidden, erased, strict=True):
        if mask.any():
            rows, columns = mask.any(axis=1), mask.any(axis=0)
            np.testing.assert_array_equal(mask, rows[:, None] & columns[None, :])
            assert 4 <= rows.sum() <= 21 and 4 <= columns.sum() <= 21
            assert len(np.unique(pixels[mask], axis=0)) == 1
