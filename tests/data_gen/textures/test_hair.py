"""Hair, beards and brows: where they may be, what they follow, who wears what."""

import collections
import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial

from data_gen import camera as cameras
from data_gen import face_models, scene
from data_gen.face_models import MATERIALS
from data_gen.render import Renderer
from data_gen.scene import ETHNICITIES, GENDERS, Identity
from data_gen.textures import beard, hair, hairline, hairstyle, paint
from data_gen.textures.haircut import CUTS
from data_gen.textures.hairline import is_ear
from data_gen.textures.procedural import canvas
from data_gen.textures.strand_texture import PATTERNS, strands

SIZE = 64


@pytest.fixture(scope="module", params=["procedural", "ict"])
def model(request):
    return request.getfixturevalue("ict") if request.param == "ict" else face_models.load("procedural")


def person(seed: int, ethnicity: str = "european", gender: str = "female", age: float = 30.0) -> Identity:
    return Identity(0, scene.pack_seed(0, seed), 0, GENDERS.index(gender), ETHNICITIES.index(ethnicity), age)


def crowd(count: int) -> list[Identity]:
    """People of every gender, group and age in turn."""
    cells = [(g, e, a) for a in (24.0, 48.0, 72.0) for g in GENDERS for e in ETHNICITIES]
    return [person(i, cells[i % 36][1], cells[i % 36][0], cells[i % 36][2]) for i in range(count)]


def with_cut(someone: Identity, name: str) -> hair.Hair:
    return dataclasses.replace(hair.style(someone), name=name, cut=CUTS[name], bald=0.0, recession=4.0)


@pytest.fixture(scope="module")
def grown(model):
    """A mesh of every haircut."""
    board, someone = canvas(model.topology, SIZE), person(3)
    return {n: hairstyle.grow(someone, with_cut(someone, n), board.vertices, board.skull) for n in CUTS}


def test_hair_stays_outside_the_head(model, grown):
    """Seen from the middle of the skull, hair lies no deeper than the skin in the same direction, but for a few mm."""
    board = canvas(model.topology, SIZE)
    face = board.vertices
    offset = (face.points - board.skull.center)[board.vertex_is_skin & ~is_ear(face)]
    normal = face.normals[board.vertex_is_skin & ~is_ear(face)]
    away = np.linalg.norm(offset, axis=1)
    outer = (offset * normal).sum(1) > 0.5 * away
    tree = scipy.spatial.cKDTree(offset[outer] / away[outer, None])
    for name, mesh in grown.items():
        nodes = (mesh.positions[:, 1:].reshape(-1, 3) - face.origin) / face.scale - board.skull.center
        nodes = nodes[(nodes[:, 1] > -40) & (nodes[:, 2] < 20)]
        radius = np.linalg.norm(nodes, axis=1)
        skin = away[outer][tree.query(nodes / radius[:, None], k=3)[1]].mean(1)
        assert (radius < skin - 4.0).mean() < 0.02, name


def test_hair_leaves_brows_eyes_and_nose_free(model):
    """From the front under every haircut and beard, on people of every shape; hair is no face in the mask."""
    topology = model.topology
    zeros, bearded = np.zeros(len(topology.template), np.float32), 0
    with Renderer(topology, 112) as renderer:
        for someone in crowd(36)[6::2]:
            head = model.neutral(someone)
            camera = cameras.aim(cameras.FRONTAL, head[topology.landmarks], 112)
            xy, _ = cameras.project(camera, head[topology.landmarks].astype(float))
            column, row = np.floor(xy).astype(int).T
            texture = paint("procedural", someone, model, SIZE)
            renderer.set_texture(dataclasses.replace(texture, hair=None))
            bare = renderer.field(head, zeros, camera)
            renderer.set_texture(texture)
            field = renderer.field(head, zeros, camera)
            np.testing.assert_array_equal(field.mask[row, column][17:48], bare.mask[row, column][17:48])
            np.testing.assert_array_equal(field.depth[row, column][17:48], bare.depth[row, column][17:48])
            assert (field.mask == bare.mask)[row, column][48:].sum() >= 16  # a moustache may touch the upper lip
            assert not (field.mask & ~bare.mask).any()
            bearded += beard.choose(someone, hair.style(someone)) is not None
    assert bearded


def test_hair_hides_the_head_from_the_field(model, grown):
    """Long hair takes pixels from the mask and comes nearer to the camera than what it hides."""
    topology = model.topology
    camera = cameras.aim(cameras.FRONTAL, topology.template[topology.landmarks], 112)
    zeros = np.zeros(len(topology.template), np.float32)
    texture = paint("procedural", person(3), model, SIZE)
    with Renderer(topology, 112) as renderer:
        renderer.set_texture(dataclasses.replace(texture, hair=None))
        bare = renderer.field(topology.template, zeros, camera)
        renderer.set_texture(dataclasses.replace(texture, hair=grown["long middle"]))
        field = renderer.field(topology.template, zeros, camera)
    lost = bare.mask & ~field.mask
    assert lost.mean() > 0.02
    assert (field.depth[lost] < bare.depth[lost]).all()


def test_hair_rides_on_the_head(model, grown):
    """Moving the head moves every node with it, and only skin carries hair."""
    skin = np.unique(model.topology.faces[model.topology.materials == MATERIALS.index("skin")])
    for mesh in grown.values():
        moved = mesh.binding @ np.tile(np.array([3.0, -2.0, 1.0]), (len(model.topology.template), 1))
        np.testing.assert_allclose(moved, np.tile([3.0, -2.0, 1.0], (len(moved), 1)), atol=1e-4)
        assert np.isin(np.unique(mesh.binding.indices), skin).all()


def test_beard_grows_around_the_lips_and_moves_with_the_jaw(model):
    board, someone = canvas(model.topology, SIZE), person(1, gender="male")
    face = board.vertices
    for kind in beard.LENGTH_MM:
        where = beard.density(kind, face)
        assert where.max() > 0.8
        assert where[face.lips > 0].max() == 0
        assert where[face.points[:, 1] > face.landmarks[30, 1]].max() < (
            0.2 if kind in ("moustache", "goatee") else 1.1
        )
    own = beard.Beard("full", 15.0, hair.style(someone))
    mesh = beard.grow(someone, own, model.topology, face, np.zeros((2, 2, 4), np.float32), 5)
    fallen = np.zeros_like(model.topology.template)
    fallen[face.points[:, 1] < face.landmarks[48:60, 1].mean()] = (0.0, -10.0, 0.0)
    drop = (mesh.binding @ fallen).reshape(*mesh.positions.shape)[:, 0, 1]
    chin = mesh.positions[:, 0, 1] < model.topology.template[model.topology.landmarks[57], 1] - 5
    np.testing.assert_allclose(drop[chin], -10.0, atol=1e-3)


def test_a_goatee_is_in_one_piece(model):
    """Over the chin from side to side, and not below the jaw."""
    board = canvas(model.topology, SIZE)
    face = board.texels
    (x, y, z), where = face.points.T, beard.density("goatee", face)
    chin_y, lower_y = face.landmarks[[8, 57], 1]
    across = (np.abs(x) < 22.5) & (y < lower_y - 10) & (y > chin_y + 4) & (z > 20)
    assert across.sum() > 15 and where[across].min() > 0.5
    assert where[(np.abs(x) > 22) & (y < chin_y - 6)].max() < 0.1


def test_fringes_end_above_the_brows_and_not_along_a_ruler(model):
    """The middle of the tips of each 5 mm wanders."""
    board, wander = canvas(model.topology, SIZE), []
    face = board.vertices
    for seed in (3, 4, 5):
        mesh = hairstyle.grow(person(seed), with_cut(person(seed), "fringe"), face, board.skull)
        x, y, z = ((mesh.positions[:, -1] - face.origin) / face.scale).T
        y = y - face.landmarks[17:27, 1].max()
        fringe = (np.abs(x) < 40) & (z > 40) & (y < 30)
        assert y[fringe].min() > 0.6 * hairstyle.BROW_CLEARANCE
        wander.append(scipy.ndimage.median(y[fringe], np.round(x[fringe] / 5), np.arange(-7, 8)).std())
    assert np.mean(wander) > 2.3  # mm


def test_beards_thin_out_at_their_border(model):
    board, someone = canvas(model.topology, SIZE), person(1, gender="male")
    face, skin = board.vertices, np.flatnonzero(board.vertex_is_skin)
    mesh = beard.grow(
        someone, beard.Beard("full", 17.0, hair.style(someone)), model.topology, face, np.zeros((2, 2, 4)), 5
    )
    length = np.linalg.norm(np.diff(mesh.positions, axis=1), axis=-1).sum(1) / face.scale
    root = (mesh.positions[:, 0] - face.origin) / face.scale
    dense = beard.density("full", face)[skin][scipy.spatial.cKDTree(face.points[skin]).query(root)[1]]
    chin = (np.abs(root[:, 0]) < 40) & (root[:, 1] < face.landmarks[57, 1])  # no sideburns, no moustache
    border, middle = chin & (dense < 0.75), chin & (dense > 0.9)
    assert dense[chin].min() > 0.3  # no whisker of its own
    assert 0 < border.sum() < 0.1 * middle.sum()
    assert length[border].mean() < 0.9 * length[middle].mean()
    assert mesh.widths[border].mean() < 0.95 * mesh.widths[middle].mean()


def test_same_person_same_hair(model):
    board, someone = canvas(model.topology, SIZE), person(11, "south_asian", "male")
    first, again = (hairstyle.grow(someone, hair.style(someone), board.vertices, board.skull) for _ in range(2))
    for field in dataclasses.fields(first):
        if field.name != "binding":
            np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    np.testing.assert_array_equal(first.binding.data, again.binding.data)
    np.testing.assert_array_equal(first.binding.indices, again.binding.indices)


def test_who_wears_what():
    """Every gender and group wears several cuts, nearly every cut is worn by several groups; balding and beards are
    men's and grey is a matter of age."""
    worn, groups = collections.defaultdict(set), collections.defaultdict(set)
    grey = collections.defaultdict(list)
    people = crowd(36 * 25)
    for someone in people:
        look = hair.style(someone)
        gender, group = GENDERS[someone.gender], ETHNICITIES[someone.ethnicity]
        worn[gender, group].add(look.name)
        groups[look.name].add(group)
        grey[someone.age].append(look.grey)
        assert gender == "male" or (look.bald == 0 and beard.choose(someone, look) is None)
        assert look.bald == 0 or someone.age > 30
    assert min(len(cuts) for cuts in worn.values()) >= 5
    assert set(groups) == {*CUTS, "balding"}
    assert all(len(g) >= 2 or name == "afro" for name, g in groups.items())
    young, middle, old = (np.mean(grey[age]) for age in (24.0, 48.0, 72.0))
    assert young < 0.02 < middle < 0.4 < old
    shares = [beard.choose(p, hair.style(p)) is not None for p in people if GENDERS[p.gender] == "male"]
    assert 0.15 < np.mean(shares) < 0.45


@pytest.mark.parametrize("pattern", PATTERNS)
def test_strands_end_in_points(pattern):
    """A wisp is opaque in its middle and thins out to nothing at its tip and its edges."""
    tone, opacity = strands(pattern)
    assert 0 <= opacity.min() and opacity.max() <= 1
    rows = opacity.mean(1)
    assert rows[len(rows) // 2] > 0.5 > 10 * rows[-1]
    assert opacity[:, 0].max() < 0.1
    assert 0.3 < tone.std() < 1.5


def test_short_hair_reaches_the_ears_and_does_not_come_through_them(model):
    """Before and above the ear hair is painted down to it; none grows on it, and no short wisp ends in it."""
    board, someone = canvas(model.topology, 256), person(5, gender="male")
    texels, look = board.texels, with_cut(someone, "crop")
    _, hairy, _ = hairline.paint_scalp(someone, look, texels, np.full((len(texels.points), 3), 0.4))
    x, y, z = texels.points.T
    ear_y = texels.landmarks[[0, 16], 1].mean()
    outer = (np.abs(x) > 50) & (texels.normals[:, 0] * x > 0)
    assert np.median(hairy[outer & (z > -18) & (z < 6) & (y > ear_y) & (y < ear_y + 15)]) > 0.7
    assert hairy[is_ear(texels)].max() == 0
    for name in ("crop", "buzz", "quiff"):
        mesh = hairstyle.grow(someone, with_cut(someone, name), board.vertices, board.skull)
        _, y, z = ((mesh.positions - texels.origin) / texels.scale).reshape(-1, 3).T
        assert not ((z < -20) & (z > -50) & (y < ear_y - 3) & (y > ear_y - 40)).any(), name


def test_painted_hair_is_no_face_in_the_mask(model):
    """Under a crop, where wisps leave gaps, no pixel of the mask lies inside the painted hair; heat is unchanged."""
    topology, someone = model.topology, person(5, gender="male")
    camera = cameras.aim(cameras.FRONTAL, topology.template[topology.landmarks], 224)
    board, values = canvas(topology, SIZE), np.linspace(0.2, 0.8, len(topology.template), dtype=np.float32)
    look = with_cut(someone, "crop")
    bare = dataclasses.replace(paint("procedural", someone, model, SIZE), hair=None, painted_hair=None)
    cut = dataclasses.replace(
        bare,
        hair=hairstyle.grow(someone, look, board.vertices, board.skull),
        painted_hair=hairline.painted(look, board.vertices, board.vertex_is_skin),
    )
    with Renderer(topology, 224) as renderer:
        renderer.set_texture(bare)
        head = renderer.field(topology.template, values, camera)
        renderer.set_texture(cut)
        field = renderer.field(topology.template, values, camera)
        renderer.set_texture(dataclasses.replace(cut, painted_hair=None))
        unpainted = renderer.field(topology.template, values, camera)
    np.testing.assert_array_equal(field.values, np.where(field.mask, head.values, 0))
    np.testing.assert_array_equal(field.depth, unpainted.depth)
    assert not (field.mask & ~unpainted.mask).any()
    pieces = [np.bincount(scipy.ndimage.label(mask)[0].ravel())[1:] for mask in (field.mask, unpainted.mask)]
    specks = [sum(sizes[sizes < 200]) for sizes in pieces]  # pixels
    assert specks[0] < 0.2 * specks[1]


def test_a_beard_is_face_in_the_mask(model):
    """A full beard takes nothing from a field, neither its values nor its depth, and is seen in the picture."""
    topology, someone = model.topology, person(1, gender="male")
    camera = cameras.aim(cameras.FRONTAL, topology.template[topology.landmarks], 112)
    board, values = canvas(topology, SIZE), np.linspace(0.2, 0.8, len(topology.template), dtype=np.float32)
    own = beard.Beard("full", 15.0, hair.style(someone))
    mesh = beard.grow(someone, own, topology, board.vertices, hairstyle.strand_colors(own.hair), 5)
    bare = dataclasses.replace(paint("procedural", someone, model, SIZE), hair=None)
    light = scene.Light(key_azimuth=0, key_elevation=20, key=1.0, fill=0.5, ambient=0.5, kelvin=5500)
    background = np.zeros((112, 112, 3), np.uint8)
    with Renderer(topology, 112) as renderer:
        renderer.set_texture(bare)
        head = renderer.field(topology.template, values, camera)
        shaved = renderer.color(topology.template, camera, light, background)
        renderer.set_texture(dataclasses.replace(bare, hair=mesh))
        field = renderer.field(topology.template, values, camera)
        worn = renderer.color(topology.template, camera, light, background)
    assert (np.abs(worn.astype(int) - shaved).max(-1) > 8).sum() > 100
    for name in ("values", "mask", "depth"):
        np.testing.assert_array_equal(getattr(field, name), getattr(head, name))
