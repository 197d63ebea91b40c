"""PSPI against its definition, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from painjax.pspi import AU_MAX, AU_NAMES, PSPI_MAX, pspi

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


def test_leading_axes_are_kept():
    assert pspi(np.zeros((2, 3, 6))).shape == (2, 3)


@pytest.mark.parametrize("shape", [(5,), (6, 5), ()])
def test_wrong_number_of_action_units_is_refused(shape):
    with pytest.raises(ValueError, match="AU4, AU6, AU7, AU9, AU10, AU43"):
        pspi(np.zeros(shape))
