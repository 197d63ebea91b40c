"""Portraits of the right head pass whatever their skin and light; those of another head, place or size do not."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from data_gen import scene
from data_gen.diffusion import checks
from data_gen.diffusion.sitting import sit
from data_gen.scene import Light
from data_gen.textures import beard, hair, paint
from tests.data_gen.diffusion.conftest import SIZE, seat

PEOPLE = range(0, 24, 3)


@pytest.fixture(scope="module")
def portraits(model, renderer):
    """[(sitting, portrait)]: each person with another's skin, under a light of their own."""
    made = []
    for index in PEOPLE:
        sitter, rng = seat(model, renderer, scene.identity(3, index), 256), np.random.default_rng(index)
        other = dataclasses.replace(sitter.person, seed=sitter.person.seed + (777 << 16))
        strange = paint("procedural", other, model, 256)
        skin = dataclasses.replace(
            sitter.base, albedo=strange.albedo, surface=strange.surface, roughness=strange.roughness
        )
        azimuth, elevation, ambient = rng.uniform(-35, 35), rng.uniform(0, 35), rng.uniform(0.3, 0.7)
        light = Light(azimuth, elevation, 0.9, 0.4, ambient, rng.uniform(4200, 6500))
        made.append((sitter.sitting, sitter.render(skin, light)))
    return made


def test_the_right_head_passes(portraits):
    assert [checks.geometry(picture, sitting) for sitting, picture in portraits] == [""] * len(portraits)


@pytest.mark.parametrize("index", [1, 9, 15, 32])
def test_a_full_beard_is_no_missing_skin(model, renderer, index):
    """Nor is it skin that a portrait would be put onto, and the picture of depth has it."""
    person = scene.identity(3, index)
    assert beard.choose(person, hair.style(person)).kind == "full"
    sitter = seat(model, renderer, person, 256)
    dark = dataclasses.replace(sitter.base.hair, texture=sitter.base.hair.texture * np.float32([0.1, 0.1, 0.1, 1]))
    bearded = sitter.render(dataclasses.replace(sitter.base, hair=dark))
    assert checks.geometry(bearded, sitter.sitting) == ""

    marks = sitter.sitting.landmarks
    chin = np.round(0.75 * marks[8] + 0.25 * marks[57]).astype(int)[::-1]  # below the lip, above the beard's border
    shaven = sit(sitter.neutral, model, dataclasses.replace(sitter.base, hair=None), renderer)
    assert shaven.skin[*chin] and not sitter.sitting.skin[*chin]
    assert 0 < shaven.depth[*chin] - sitter.sitting.depth[*chin] < 40


def larger(picture):
    edge = int(0.15 * SIZE)
    return scipy.ndimage.zoom(picture, (1.3, 1.3, 1), order=1)[edge : edge + SIZE, edge : edge + SIZE]


def smaller(picture):
    edge = int(0.125 * SIZE)
    small = scipy.ndimage.zoom(picture, (0.75, 0.75, 1), order=1)
    return np.pad(small, ((edge, edge), (edge, edge), (0, 0)), mode="edge")[:SIZE, :SIZE]


SPOILT = {
    "right": lambda picture: np.roll(picture, SIZE // 20, 1),
    "left": lambda picture: np.roll(picture, -SIZE // 20, 1),
    "up": lambda picture: np.roll(picture, -SIZE // 16, 0),
    "down": lambda picture: np.roll(picture, SIZE // 16, 0),
    "upside down": lambda picture: picture[::-1],
    "half": lambda picture: np.where(np.arange(SIZE)[:, None] < SIZE // 2, picture, 128).astype(np.uint8),
    "black": lambda picture: 0 * picture,
    "noise": lambda picture: np.random.default_rng(0).integers(0, 256, picture.shape).astype(np.uint8),
    "green": lambda picture: picture[..., [1, 0, 2]],
    "larger": larger,
    "smaller": smaller,
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_wrong_picture_is_refused(portraits, name):
    faults = [checks.geometry(SPOILT[name](picture), sitting) for sitting, picture in portraits]
    assert sum(map(bool, faults)) >= len(faults) - 1, faults  # one in eight may slip through: a larger head, mostly


def test_a_detector_has_the_last_word(portraits):
    sitting, picture = portraits[0]
    eyes = np.linalg.norm(sitting.landmarks[36:42].mean(0) - sitting.landmarks[42:48].mean(0))
    assert checks.fault(picture, sitting, lambda _: sitting.landmarks + 0.05 * eyes) == ""
    assert checks.fault(picture, sitting, lambda _: sitting.landmarks + 0.2 * eyes) == "landmarks off"
    assert checks.fault(picture, sitting, lambda _: None) == "no face detected"
    with pytest.raises(ValueError, match=r"shape \(5, 2\); expected \(68, 2\)"):
        checks.fault(picture, sitting, lambda _: sitting.landmarks[:5])


def test_detectors_by_name():
    assert checks.detector("geometry") is None
    assert checks.detector("data_gen.diffusion.checks:geometry") is checks.geometry
    with pytest.raises(ValueError, match="no_such_module"):
        checks.detector("no_such_module:find")
    with pytest.raises(ValueError, match="has no attribute 'find'"):
        checks.detector("data_gen.diffusion.checks:find")
