"""The face stays as it was rendered, and it is nothing but the face."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage

from data_gen import camera as cameras
from data_gen import lens, scene
from data_gen.diffusion import backdrop
from data_gen.diffusion.backdrop import Shot
from data_gen.render import Field
from data_gen.scene import Lens, View, stream
from data_gen.textures import Texture, beard, hair, paint
from tests.data_gen.diffusion.conftest import SIZE, STUDIO

STRONG = Lens(exposure=0.3, warmth=0.2, tint=-0.1, defocus=3.0, noise=0.02, vignette=0.3)
PEOPLE = (1, 6, 8)  # one with a full beard and a fringe, long hair, and none on the crown


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A person before a camera."""

    person: scene.Identity
    texture: Texture
    landmarks: np.ndarray
    camera: cameras.Camera
    field: Field
    coverage: np.ndarray
    draw: Callable

    @property
    def face(self) -> np.ndarray:
        return backdrop.kept(self.field, self.coverage)


@pytest.fixture(scope="module", params=[(i, yaw) for i in PEOPLE for yaw in (0, 40)], ids=str)
def seen(request, model, renderer):
    """`draw` renders with a texture over a level of grey."""
    index, yaw = request.param
    person = scene.identity(0, index)
    neutral, texture = model.neutral(person), paint("procedural", person, model, 256)
    camera = cameras.aim(View(0, yaw, 0, 24, 0.6), neutral[model.topology.landmarks], SIZE)

    def draw(texture, grey):
        renderer.set_texture(texture, neutral)
        room = np.full((SIZE, SIZE, 3), grey, np.uint8)
        return renderer.color(renderer.pose(neutral), camera, STUDIO, room)

    renderer.set_texture(texture, neutral)
    bare = backdrop.face_vertices(texture, len(neutral))
    field = renderer.field(renderer.pose(neutral), bare, camera)
    head = renderer.color(renderer.pose(neutral), camera, STUDIO, None)
    return Seen(person, texture, neutral[model.topology.landmarks], camera, field, head[..., 3], draw)


def test_no_room_shows_in_what_is_kept(seen):
    """Over black and over white the kept pixels are the same; those of the outline are not."""
    black, white = seen.draw(seen.texture, 0), seen.draw(seen.texture, 255)
    differs = (black != white).any(-1)
    assert (differs & seen.field.mask).any() and not (differs & seen.face).any()


def test_neither_clothes_nor_scalp_are_kept(seen):
    """Painted green where hair grows or cloth lies, the texture shows hardly any green in what is kept."""
    soft = seen.texture.surface[..., 2:].astype(np.float32) / 255  # 0: hair or cloth
    green = np.round(seen.texture.albedo * soft + np.float32([0, 255, 0]) * (1 - soft)).astype(np.uint8)
    picture = seen.draw(dataclasses.replace(seen.texture, albedo=green), 128).astype(int)
    strange = picture[..., 1] > picture[..., 0] + 60
    assert strange[~seen.face].sum() > 500
    xy, _ = cameras.project(seen.camera, seen.landmarks.astype(np.float64))
    places = [np.arange(SIZE)[:, None] < xy[17:27, 1].min() - 0.06 * SIZE]  # above the brows, which are hair too
    if beard.choose(seen.person, hair.style(seen.person)) is None:
        places.append(np.arange(SIZE)[:, None] > xy[8, 1] + 0.03 * SIZE)  # below the chin
    for place in places:
        kept = seen.face & place
        assert (strange & kept).sum() < 0.12 * kept.sum()


def test_the_face_is_kept(seen):
    """Brows, eyes, nose and lips wherever they show, and most of what is no hair."""
    xy, depth = cameras.project(seen.camera, seen.landmarks.astype(np.float64))
    column, row = np.floor(xy[27:48]).astype(int).T
    shown = seen.field.mask[row, column] & (depth[27:48] < seen.field.depth[row, column] + 2)
    assert shown.sum() > 8
    assert seen.face[row, column][shown].mean() > 0.9  # on a head that is turned, one may lie on its outline
    assert seen.face.sum() > 0.95 * (seen.field.values > 0.98).sum()


@pytest.mark.parametrize("hairy", [True, False])
def test_hair_amid_the_face_is_kept_with_it(hairy):
    """Two rows of it across a face, and a hole; what is no hair, as cloth, is not."""
    values, mask = np.ones((64, 64), np.float32), np.ones((64, 64), bool)
    values[:4] = 0
    mask[:4] = False
    for rows, columns in ((slice(20, 22), slice(None)), (slice(40, 50), slice(30, 40))):
        mask[rows, columns] = not hairy
        values[rows, columns] = 0
    amid = backdrop.kept(Field(values, mask, np.ones((64, 64), np.float32)), np.full((64, 64), 255, np.uint8))
    assert amid[10].all() and not amid[:4].any()
    assert amid[20:22, 5:-5].all() == hairy and amid[45, 35] == hairy


@pytest.mark.parametrize("effects", [Lens(), STRONG])
def test_whatever_is_painted_the_face_is_that_of_the_render(sitter, effects):
    """Behind the lens and its noise too, bit for bit."""
    picture, rng = sitter.render(sitter.base), np.random.default_rng(0)
    face = sitter.sitting.skin
    expected = lens.develop(picture, effects, stream(5, "noise"))
    for painting in (rng.integers(0, 256, picture.shape).astype(np.uint8), np.zeros_like(picture), 255 - picture):
        got = backdrop.develop(picture, painting, face, effects, 5)
        np.testing.assert_array_equal(got[face], expected[face])
        assert (got != expected).any(-1)[~face].mean() > 0.9


def test_far_from_the_face_the_frame_is_the_painting_through_the_same_lens(sitter):
    picture, face = sitter.render(sitter.base), sitter.sitting.skin
    painting = np.full_like(picture, (40, 90, 160))
    got = backdrop.develop(picture, painting, face, STRONG, 5)
    expected = lens.develop(painting, STRONG, stream(5, "noise"))
    np.testing.assert_array_equal(got[:20, :20], expected[:20, :20])


def test_a_painting_that_is_off_in_colour_meets_the_face_without_a_seam(sitter):
    """A model gives everything back 12 levels too dark: at the face's outline nothing of that is left."""
    picture, face = sitter.render(sitter.base).clip(20, 235), sitter.sitting.skin
    darker = (picture - 12).astype(np.uint8)
    got = backdrop._matched(picture, darker, face).astype(int)
    beside = scipy.ndimage.binary_dilation(face) & ~face
    assert np.abs(got - picture)[beside].mean() < 3
    np.testing.assert_array_equal(got[:20, :20], darker[:20, :20])


def test_faults(sitter):
    picture = sitter.render(sitter.base)
    shot = Shot(picture, sitter.sitting.skin, sitter.sitting.depth, 18.0, sitter.sitting.landmarks)
    assert backdrop.fault(picture, shot) == ""
    assert backdrop.fault(np.where(shot.kept[..., None], picture, 255 - picture), shot) == ""
    assert backdrop.fault(np.where(shot.kept[..., None], picture, np.uint8(7)), shot) == "blank"
    assert backdrop.fault(255 - picture, shot) == "face is lost"
    assert backdrop.fault(np.zeros_like(picture), shot) == "blank"


def test_a_painting_is_brought_to_the_size_of_the_frame():
    ramp = np.repeat(np.repeat(np.linspace(0, 255, 128)[None, :, None], 128, 0), 3, -1).round().astype(np.uint8)
    small = backdrop.fitted(ramp, 32)
    assert small.shape == (32, 32, 3)
    np.testing.assert_allclose(small[5, 2:-2, 0], ramp[0].reshape(32, 4, 3).mean(1)[2:-2, 0], atol=1)
    assert backdrop.fitted(ramp, 128) is ramp
