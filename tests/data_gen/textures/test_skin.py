"""Skin layer by layer: regions where anatomy has them, marks, pores and lips, on both face models."""

import numpy as np
import pytest

from data_gen import face_models
from data_gen.face_models import MATERIALS
from data_gen.scene import ETHNICITIES, Identity
from data_gen.textures.anatomy import locate
from data_gen.textures.atlas import bake
from data_gen.textures.skin import skin
from data_gen.textures.skin_ground import SkinGround

SIZE = 384


@pytest.fixture(scope="module", params=["procedural", "ict"])
def ground(request) -> SkinGround:
    """Of the skin alone."""
    model = request.getfixturevalue("ict") if request.param == "ict" else face_models.load("procedural")
    atlas = bake(model.topology, SIZE)
    mine = atlas.materials == MATERIALS.index("skin")
    return SkinGround(locate(model.topology, atlas.positions[mine], atlas.normals[mine]))


def person(seed: int, ethnicity: str = "european", gender: int = 0, age: float = 30.0) -> Identity:
    return Identity(0, seed, 0, gender, ETHNICITIES.index(ethnicity), age)


def test_regions_are_soft_masks_around_their_landmarks(ground):
    """Each region's centre of weight, the face folded along the midline, lies near the landmarks that name it."""
    face, marks = ground.face, ground.face.landmarks
    cheek = (marks[[35, 45, 54], :2].mean(0) + marks[14, :2]) / 2
    centers = {
        "nose tip": (0.0, marks[30, 1]),
        "wings": marks[35, :2],
        "chin": (0.0, marks[[8, 57], 1].mean()),
        "lid margin": marks[42:48, :2].mean(0),
        "cheeks": cheek,
    }
    for name, region in ground.regions.items():
        assert 0 < region.weight.min() and region.weight.max() <= 1.0, name
        assert len(np.unique(region.index)) == len(region.index) > 0, name
    for name, expected in centers.items():
        region = ground.regions[name]
        points = np.stack([np.abs(face.points[region.index, 0]), face.points[region.index, 1]], -1)
        center = np.average(points, axis=0, weights=region.weight)
        reach = 15.0 if name in ("nose tip", "chin", "cheeks") else 8.0
        assert np.abs(center - expected).max() < reach, name


def test_lids_lips_and_scalp_have_no_pores_and_noses_have(ground):
    face, index = ground.face, ground.regions["pores"].index
    size = np.zeros(len(face.points))
    size[index] = ground.pores
    assert size[face.lips > 0.5].max() == 0 and size[np.abs(face.eye) < 3].max() < 0.05
    tip = np.linalg.norm(face.points - face.landmarks[30], axis=-1) < 12
    assert size[tip].mean() > 0.05 and size[face.points[:, 1] > 100].max(initial=0) == 0


def test_lips_are_redder_smoother_and_sharply_bounded(ground):
    face = ground.face
    inside, outside = face.lips > 2.0, (face.lips < -2.0) & (face.lips > -6.0)
    inside &= face.mouth_line > 2.0
    for seed in range(4):
        layers = skin(person(seed), ground)
        assert layers.blood[inside].mean() > layers.blood[outside].mean() + 0.25
        assert layers.roughness[inside].mean() < layers.roughness[outside].mean() - 0.05


def test_skin_varies_within_a_face_and_between_faces(ground):
    """No plaster: at 1 mm a young cheek varies by 1 to 6 per cent, and no two people have the same spots."""
    face = ground.face
    cheek = (np.abs(face.points[:, 0] - 38) < 9) & (np.abs(face.points[:, 1] + 38) < 8) & (face.front > 0.5)
    colors = [skin(person(seed), ground).color()[cheek, 1] for seed in range(4)]
    for color in colors:
        assert 0.01 < color.std() / color.mean() < 0.08
    assert abs(np.corrcoef(colors[0], colors[1])[0, 1]) < 0.9


def test_age_brings_bags_spots_and_cracks(ground):
    bag = ground.regions["eye bag"]
    for seed in range(3):
        young, old = (skin(person(seed, age=age), ground) for age in (20.0, 80.0))
        assert old.height[bag.index].mean() > 1.5 * young.height[bag.index].mean()
        front = ground.face.front > 0.5
        assert old.height[front].std() > 1.1 * young.height[front].std()


def test_same_person_same_skin(ground):
    first, again, other = (skin(person(seed), ground).color() for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.005
    assert np.isfinite(first).all() and first.dtype == np.float32
