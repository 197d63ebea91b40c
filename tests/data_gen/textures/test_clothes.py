"""Clothes begin below the chin, stand off the neck and come in all kinds."""

import collections

import numpy as np
import pytest

from data_gen import face_models, scene
from data_gen.face_models import MATERIALS
from data_gen.textures import clothes, paint
from data_gen.textures.clothes import TOPS
from data_gen.textures.procedural import canvas

PLAIN = np.full(3, 0.3)


@pytest.fixture(scope="module")
def model():
    return face_models.load("procedural")


def test_clothes_never_move_the_face(model):
    topology = model.topology
    board = canvas(topology, 64)
    skin = MATERIALS.index("skin")
    not_skin = np.setdiff1d(topology.faces[topology.materials != skin], topology.faces[topology.materials == skin])
    for kind in TOPS:
        worn = clothes.Top(kind, 0.0, PLAIN, PLAIN, "plain")
        moved = clothes.displacement(worn, board.vertices, board.vertex_is_skin, board.bottom)
        moved = np.linalg.norm(moved, axis=1)
        near_edge = clothes.below_edge(worn, board.vertices, board.bottom) < 5
        assert moved[topology.landmarks].max() == 0 and 1 < moved[near_edge].max() < 10, kind
        assert moved[~near_edge].max() < 50, kind
        assert moved[not_skin].max(initial=0) == 0, kind


@pytest.mark.parametrize("kind", TOPS)
def test_cloth_begins_below_the_chin(model, kind):
    board = canvas(model.topology, 64)
    face, worn = board.texels, clothes.Top(kind, 0.0, PLAIN, PLAIN, "plain")
    cloth = clothes.dress(scene.identity(0, 0), worn, face, board.bottom, board.texel_mm)
    chin = face.landmarks[8, 1]
    in_front = (face.points[:, 2] > 20) & (face.points[:, 1] > chin - 5)
    assert cloth.opacity[in_front].max() == 0
    low = board.vertices.points[:, 1] < board.bottom + 15
    assert clothes.below_edge(worn, board.vertices, board.bottom)[low].min() > 5
    assert np.isfinite(cloth.color).all() and cloth.color.min() >= 0 and cloth.color.max() < 1.2
    assert (cloth.shade > 0.5).all() and cloth.shade.max() <= 1


@pytest.mark.parametrize(("texel", "least", "most"), [(0.3, 0.8, 1.0), (4.0, 0.3, 0.8), (9.0, 0.0, 0.05)])
def test_stripes_fade_where_texels_cannot_hold_them(model, texel, least, most):
    """How far the share of the second colour, which light and weave leave alone, goes up and down."""
    board = canvas(model.topology, 256)
    worn = clothes.Top("crew neck", 0.0, np.array([0.2, 0.4, 0.3]), np.array([0.4, 0.2, 0.3]), "stripes")
    cloth = clothes.dress(scene.identity(0, 0), worn, board.texels, board.bottom, np.full(len(board.texel_mm), texel))
    below = clothes.below_edge(worn, board.texels, board.bottom) > clothes.BORDER_MM["crew neck"] + 8
    red, green = cloth.color[below, 0], cloth.color[below, 1]
    share = (2 * red - green) / (red + green)  # 0 where there is only the first colour, 1 of the second
    assert least <= np.ptp(np.percentile(share, [5, 95])) <= most


def test_a_v_neck_is_open_in_front_only(model):
    board = canvas(model.topology, 64)
    x, _, z = board.texels.points.T
    crew, v = (
        clothes.below_edge(clothes.Top(k, 0.0, PLAIN, PLAIN, "plain"), board.texels, board.bottom)
        for k in ("crew neck", "V neck")
    )
    deeper = crew - v
    assert deeper[(np.abs(x) < 3) & (z > 26)].min() > 30
    assert deeper[z < -20].max() < 5


def test_all_tops_are_worn_by_all(model):
    kinds = collections.Counter(clothes.top(scene.identity(0, i)).kind for i in range(400))
    assert set(kinds) == set(TOPS)
    assert max(kinds.values()) < 0.5 * 400


def test_same_person_same_clothes(model):
    first, again = (paint("procedural", scene.identity(0, 7), model, 64) for _ in range(2))
    np.testing.assert_array_equal(first.displacement, again.displacement)
    np.testing.assert_array_equal(first.albedo, again.albedo)
