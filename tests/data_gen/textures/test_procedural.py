"""What must be true of painted people, whatever they look like."""

import dataclasses

import numpy as np
import pytest

from data_gen import camera as cameras
from data_gen import face_models, scene
from data_gen.face_models import MATERIALS
from data_gen.render import Renderer
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
    for name in ("positions", "attributes", "faces", "texture"):
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


def test_clothes_never_move_the_face(model):
    topology = model.topology
    moved = np.linalg.norm(paint("procedural", person(0), model, 64).displacement, axis=1)
    assert moved[topology.landmarks].max() == 0 and moved.max() < 10
    not_skin = np.setdiff1d(topology.faces[topology.materials != 0], topology.faces[topology.materials == 0])
    assert moved[not_skin].max(initial=0) == 0


def test_hair_leaves_the_features_free(model):
    """Brows, eyes, nose and mouth stay in sight from the front under every haircut, and hair is no face in the mask."""
    topology = model.topology
    camera = cameras.aim(cameras.FRONTAL, topology.template[topology.landmarks], 112)
    xy, _ = cameras.project(camera, topology.template[topology.landmarks[17:]].astype(float))
    column, row = np.floor(xy).astype(int).T
    zeros, styles = np.zeros(len(topology.template), np.float32), 0
    with Renderer(topology, 112) as renderer:
        for seed in range(10):
            for gender in GENDERS:
                texture = paint("procedural", person(seed, gender=gender), model, 64)
                styles += texture.hair is not None
                renderer.set_texture(dataclasses.replace(texture, hair=None))
                bare = renderer.field(topology.template, zeros, camera)
                renderer.set_texture(texture)
                field = renderer.field(topology.template, zeros, camera)
                assert field.mask[row, column].all()
                np.testing.assert_array_equal(field.depth[row, column], bare.depth[row, column])
                assert not (field.mask & ~bare.mask).any()
                assert (field.values == 0).all()
    assert styles > 10


def test_hair_rides_on_the_head(model):
    """Moving the head moves every strand with it."""
    hair = next(t.hair for t in (paint("procedural", person(s), model, 64) for s in range(5)) if t.hair is not None)
    moved = hair.binding @ np.tile(np.array([3.0, -2.0, 1.0]), (len(model.topology.template), 1))
    np.testing.assert_allclose(moved, np.tile([3.0, -2.0, 1.0], (hair.positions.shape[1], 1)), atol=1e-4)
    skin = np.unique(model.topology.faces[model.topology.materials == 0])
    assert np.isin(np.unique(hair.binding.indices), skin).all()


def test_unknown_backend_is_named(model):
    with pytest.raises(ValueError, match="texture backend is 'crayons'; expected one of procedural"):
        paint("crayons", scene.identity(0, 0), model, 64)
