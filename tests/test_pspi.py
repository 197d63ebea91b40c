"""PSPI against its definition, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from painjax.pspi import AU_MAX, AU_NAMES, PSPI_MAX, au_shares, pspi

# AU4, AU6, AU7, AU9, AU10, AU43 -> AU4 + max(AU6, AU7) + max(AU9, AU10) + AU43
BY_HAND = [
    ((0, 0, 0, 0, 0, 0), 0),
    ((5, 5, 5, 5, 5, 1), 16),
    ((1, 2, 3, 4, 5, 0), 1 + 3 + 5),
    ((2, 3, 1, 5, 0, 1), 2 + 3 + 5 + 1),
    ((0, 0, 0, 0, 0, 1), 1),
    ((0, 4, 4, 0, 2, 0), 4 + 2),
    ((2.5, 0.5, 0.25, 0, 1.5, 0), 2.5 + 0.5 + 1.5),
]


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_matches_hand_computed_scores(array):
    aus = array([row for row, _ in BY_HAND], dtype="float32")
    score = pspi(aus)
    assert isinstance(score, type(aus))
    np.testing.assert_array_equal(np.asarray(score), [score for _, score in BY_HAND])


def test_ranges_agree():
    assert len(AU_NAMES) == len(AU_MAX)
    assert pspi(np.array(AU_MAX)) == PSPI_MAX


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_shares_count_closed_eyes_as_much_as_any_unit_at_its_maximum(array):
    aus = array([[5, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 0, 0]], dtype="float32")
    want = [[0.5, 0, 0, 0, 0, 0.5], [0] * 6, [0.1, 0.2, 0.3, 0.4, 0, 0]]
    np.testing.assert_allclose(np.asarray(au_shares(aus)), want, rtol=1e-6)


def test_leading_axes_are_kept():
    assert pspi(np.zeros((2, 3, 6))).shape == (2, 3)


@pytest.mark.parametrize("shape", [(5,), (6, 5), ()])
def test_wrong_number_of_action_units_is_refused(shape):
    with pytest.raises(ValueError, match="AU4, AU6, AU7, AU9, AU10, AU43"):
        pspi(np.zeros(shape))
