"""Skin tones against colorimetry and dermatology's scale."""

import numpy as np
import pytest

from data_gen.scene import ETHNICITIES, GENDERS, Identity
from data_gen.textures.ita_table import angle, ground_of, table
from data_gen.textures.tone import ITA, TONES, lab, reflectance, tone, typology_angle

ORDER = ("african", "south_asian", "latin_american", "middle_eastern", "east_asian", "european")  # darkest first


@pytest.fixture(scope="module")
def ground():
    return ground_of("procedural", 96)


@pytest.fixture(scope="module")
def groups(ground):
    """ethnicity -> angles of 30 women and 30 men as painted."""
    return {
        name: np.array([angle(person(seed, name, gender), ground) for seed in range(30) for gender in (0, 1)])
        for name in ETHNICITIES
    }


def person(seed: int, ethnicity: str, gender: int = 0, age: float = 40.0) -> Identity:
    return Identity(0, seed, 0, gender, ETHNICITIES.index(ethnicity), age)


def test_lab_of_known_colours():
    """Published CIE L*a*b* (D65) of white, mid grey and the sRGB primaries."""
    rgb = np.array([[1, 1, 1], [0.18, 0.18, 0.18], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    expected = [(100, 0, 0), (49.5, 0, 0), (53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86)]
    np.testing.assert_allclose(lab(rgb), expected, atol=0.06)


def test_typology_angle_by_hand():
    """A skin of L* = 65, a* = 12, b* = 17 has arctan(15 / 17); one of L* = 50 has 0."""
    tristimulus = [0.0, ((65 + 16) / 116) ** 3, 0.0]
    tristimulus[0] = 0.95047 * ((65 + 16) / 116 + 12 / 500) ** 3
    tristimulus[2] = 1.08883 * ((65 + 16) / 116 - 17 / 200) ** 3
    to_rgb = np.linalg.inv(
        [(0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175)] + [(0.0193339, 0.119192, 0.9503041)]
    )
    assert typology_angle(to_rgb @ tristimulus) == pytest.approx(np.degrees(np.arctan(15 / 17)), abs=0.01)


def test_more_pigment_is_darker_and_more_blood_redder():
    levels = np.linspace(0, len(TONES) - 1.1, 50)
    lightness, _, yellow = lab(reflectance(levels, np.full(50, 0.1), 0.1)).T
    assert (np.diff(lightness) < 0).all() and (10 < yellow).all() and (yellow < 26).all()
    pale, flushed = lab(reflectance(np.full(2, 1.0), np.array([0.05, 0.35]), 0.1))
    assert flushed[1] > pale[1] + 3 and flushed[0] < pale[0]
    white, fed = lab(reflectance(np.ones(1), np.full(1, 0.1), 0.0)), lab(reflectance(np.ones(1), np.full(1, 0.1), 0.3))
    assert fed[0, 2] > white[0, 2] + 2 and abs(fed[0, 0] - white[0, 0]) < 2


def test_a_person_has_the_angle_that_was_drawn_for_the_group():
    for name, (mean, deviation) in ITA.items():
        bases = [tone(person(seed, name, seed % 2)) for seed in range(300)]
        angles = [typology_angle(reflectance(np.array([t.melanin]), np.array([t.blood]), t.carotene)[0]) for t in bases]
        assert np.mean(angles) == pytest.approx(mean, abs=4)
        assert np.std(angles) == pytest.approx(deviation, rel=0.2)


def test_groups_stand_in_the_published_order(groups):
    means = [groups[name].mean() for name in ORDER]
    assert means[0] < means[1] - 15 and means[1] < means[2] - 10  # African, South Asian, the four lighter groups
    assert max(means[2:4]) < min(means[4:])
    assert means[4] < means[5]
    assert -40 < means[0] < -15 and 35 < means[5] < 50


def test_neighbouring_groups_overlap(groups):
    for darker, lighter in zip(ORDER, ORDER[1:], strict=False):
        assert np.percentile(groups[darker], 90) > np.percentile(groups[lighter], 10)
    assert groups["african"].max() < groups["european"].min()
    assert all(8 < np.std(angles) + 2 for angles in groups.values())


def test_men_are_a_little_darker(ground):
    for name in ("european", "east_asian"):
        women, men = (np.mean([angle(person(s, name, g), ground) for s in range(60)]) for g in (0, 1))
        assert GENDERS[0] == "female" and -8 < men - women < 0


def test_table_has_every_cell():
    cells = table("procedural", people=1)
    assert len({(c.ethnicity, c.gender, c.age_group) for c in cells}) == 36
    assert all(c.angles.shape == (1,) and -90 < c.angles[0] < 90 for c in cells)
