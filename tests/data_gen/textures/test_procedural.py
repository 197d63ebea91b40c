"""What must be true of painted people, whatever they look like."""

import dataclasses

import numpy as np
import pytest

from data_gen import face_models, scene
from data_gen.face_models import MATERIALS
from data_gen.scene import ETHNICITIES, GENDERS, Identity
from data_gen.textures import Texture, paint
from data_gen.textures.procedural import canvas

SIZE = 256


@pytest.fixture(scope="module")
def model():
    return face_models.load("procedural")


def person(seed: int, ethnicity: str = "european", gender: str = "female", age: float = 30.0) -> Identity:
    return Identity(0, seed, 0, GENDERS.index(gender), ETHNICITIES.index(ethnicity), age)


def mean_linear(texture: Texture, where: np.ndarray) -> np.ndarray:
    srgb = texture.albedo[where] / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).mean(0)


def region(model, name: str) -> np.ndarray:
    """(T, T) bool of the texels in a region of the face."""
    board = canvas(model.topology, SIZE)
    face, atlas = board.texels, board.atlas
    skin = atlas.materials == MATERIALS.index("skin")
    x, y = face.points[:, 0], face.points[:, 1]
    where = {
        "cheek": skin & (np.abs(np.abs(x) - 36) < 10) & (np.abs(y + 38) < 9) & (face.front > 0.5),
        "lips": skin & (face.lips > 2.0) & (face.mouth_line > 2.0),
        "brow": skin & (np.abs(face.brow_across) < 1.5) & (face.brow_along > 12) & (face.brow_along < 25),
        "eye": atlas.materials == MATERIALS.index("eye"),
        "face": skin & (face.front > 0.9) & (y < 40),
        "scalp": skin & (y > 95),
    }[name]
    covered = np.zeros((SIZE, SIZE), bool)
    covered[np.unravel_index(np.unique(atlas.source, return_index=True)[1], (SIZE, SIZE))] = True
    return atlas.image(where) & covered


def test_same_identity_same_texture(model):
    first, again = (paint("procedural", scene.identity(0, 4), model, SIZE) for _ in range(2))
    for field in dataclasses.fields(Texture):
        if field.name != "hair":
            np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    for name in ("positions", "normals", "widths", "columns", "light", "tone", "hangs", "texture"):
        np.testing.assert_array_equal(getattr(first.hair, name), getattr(again.hair, name))


def test_identities_differ(model):
    textures = [paint("procedural", person(seed), model, SIZE) for seed in range(4)]
    tones = [mean_linear(t, region(model, "cheek"))[1] for t in textures]
    assert len(set(np.round(tones, 4))) == len(tones)


def test_groups_differ_in_tone_and_overlap_within(model):
    cheek = region(model, "cheek")

    def lightness(group: str) -> np.ndarray:
        return np.array([mean_linear(paint("procedural", person(s, group), model, SIZE), cheek)[1] for s in range(6)])

    light, dark = lightness("european"), lightness("african")
    assert light.min() > dark.max() and light.mean() > 2 * dark.mean()
    assert light.std() > 0.01 and dark.std() > 0.005


@pytest.mark.parametrize("group", ETHNICITIES)
def test_skin_is_skin_coloured(model, group):
    red, green, blue = mean_linear(paint("procedural", person(7, group), model, SIZE), region(model, "face"))
    assert 0.04 < red < 0.75
    assert red > 1.2 * green > 1.2 * blue


def test_lips_are_redder_and_brows_darker_than_cheeks(model):
    for seed in range(4):
        texture = paint("procedural", person(seed, "east_asian"), model, SIZE)
        cheek, lips, brow = (mean_linear(texture, region(model, r)) for r in ("cheek", "lips", "brow"))
        assert lips[0] / lips[1] > 1.15 * cheek[0] / cheek[1]
        assert brow.mean() < 0.7 * cheek.mean()


def test_age_brings_creases(model):
    """Height, and so the slopes of the surface map, grow with age on the same person."""
    face = region(model, "face")
    young, old = (
        np.abs(paint("procedural", person(2, age=a), model, SIZE).surface[face][:, :2].astype(int) - 128).mean()
        for a in (22.0, 82.0)
    )
    assert old > 1.1 * young


def test_eyes_have_a_dark_pupil_and_a_lighter_sclera(model):
    luminance = paint("procedural", person(1, "european"), model, SIZE).albedo[region(model, "eye")].mean(-1)
    assert luminance.min() < 30 and luminance.max() > 130


def test_unknown_backend_is_named(model):
    with pytest.raises(ValueError, match="texture backend is 'crayons'; expected one of procedural"):
        paint("crayons", scene.identity(0, 0), model, 64)
