"""Action units crease the skin where FACS says that they do."""

import dataclasses

import numpy as np
import pytest

from data_gen import camera as cameras
from data_gen import face_models, rig
from data_gen.face_models import MATERIALS, FaceModel
from data_gen.render import Renderer
from data_gen.scene import ETHNICITIES, GENDERS, Identity, Light
from data_gen.textures import Texture, wrinkle_depths
from data_gen.textures.anatomy import locate
from data_gen.textures.atlas import bake
from data_gen.textures.folds import patches
from data_gen.textures.packing import WrinkleFrame
from data_gen.textures.packing import wrinkles as pack
from data_gen.textures.wrinkles import wrinkles
from painjax.pspi import AU_NAMES

SIZE, SEEN = 512, 160
CREASING = ("AU4", "AU6", "AU7", "AU9", "AU10")
OTHERS = ("AU1", "AU2", "AU12", "AU15", "AU17", "AU20")


@pytest.fixture(scope="module", params=["procedural", "ict"])
def model(request) -> FaceModel:
    return request.getfixturevalue("ict") if request.param == "ict" else face_models.load("procedural")


@pytest.fixture(scope="module")
def sheet():
    """(atlas, anatomy and folds of its texels) of the procedural face."""
    topology = face_models.load("procedural").topology
    atlas = bake(topology, SIZE)
    face = locate(topology, atlas.positions, atlas.normals)
    return atlas, face, patches(face, atlas.materials == MATERIALS.index("skin"))


def person(seed: int, age: float) -> Identity:
    return Identity(0, seed, 0, GENDERS.index("female"), ETHNICITIES.index("european"), age)


def depths(model: FaceModel, asymmetry: float = 0.0, **intensities: float) -> np.ndarray:
    """(V,) the deeper of both layers."""
    aus = [intensities.pop(name, 0.0) for name in AU_NAMES]
    return wrinkle_depths(model, aus, asymmetry, intensities).max(1)


def places(model: FaceModel) -> dict[str, np.ndarray]:
    """(V,) masks of where an action unit may crease the skin, from the landmarks alone: generous discs."""
    points = model.topology.template
    marks = points[model.topology.landmarks]

    def near(landmarks: list[int], radius: float) -> np.ndarray:
        return (np.linalg.norm(points[:, None, :2] - marks[landmarks, :2], axis=-1) < radius).any(1)

    brows, root, nose = near([21, 22], 26), near([27, 28], 22), near([28, 29, 31, 35], 20)
    eyes, lids = near([36, 45], 40), near([40, 41, 46, 47], 30)
    fold = near([31, 35, 48, 54], 34)
    return {
        "AU4": brows | root,
        "AU6": eyes | lids | fold,
        "AU7": eyes | lids,
        "AU9": root | nose | lids | fold,
        "AU10": fold,
        "AU43": np.zeros(len(points), bool),
        "AU1": points[:, 1] > marks[17:27, 1].mean(),
        "AU2": points[:, 1] > marks[17:27, 1].mean(),
        "AU12": eyes | lids | fold,
        "AU15": near([48, 54], 38),
        "AU17": near([57, 8, 48, 54], 38),
        "AU20": fold | near([48, 54], 38),
    }


@pytest.mark.parametrize("au", (*CREASING, "AU43", *OTHERS))
def test_a_unit_creases_its_region_only(model, au):
    deep = depths(model, **{au: 1.0 if au == "AU43" else 5.0})
    where = places(model)[au]
    assert deep[~where].max(initial=0) < 0.05
    if au != "AU43":
        assert deep.max() > 0.8 if au in CREASING else deep.max() > 0.4


@pytest.mark.parametrize("au", (*CREASING, *OTHERS))
def test_depth_grows_with_intensity_from_nothing(model, au):
    steps = np.stack([depths(model, **{au: level}) for level in (0, 1, 2, 3, 4, 5)])
    assert (steps[0] == 0).all() and (steps <= 1).all()
    assert (np.diff(steps, axis=0) >= 0).all()
    peak = steps[:, steps[-1].argmax()]
    assert (np.diff(peak) > 0.08 * peak[-1]).all()  # each step shows


@pytest.mark.parametrize("au", (*CREASING, *OTHERS))
def test_each_side_is_creased_as_far_as_it_moves(model, au):
    """Asymmetry leaves the stronger side as it is and the weaker one the lean of its unit, in skin as in shape."""
    x = model.topology.template[:, 0]
    (lean,) = [row.lean for row in (*rig.TABLE, *rig.OTHERS) if row.au == au]
    both = depths(model, **{au: 2.0})
    for asymmetry in (1.0, 0.12, -0.12, -1.0):
        deep, towards = depths(model, asymmetry=asymmetry, **{au: 2.0}), x * np.sign(asymmetry)
        np.testing.assert_array_equal(deep[towards > 8], both[towards > 8])
        weaker = (1 - lean * abs(asymmetry)) / (1 + lean * abs(asymmetry))
        assert deep[towards < -8].max() == pytest.approx(np.sqrt(weaker) * both[towards < -8].max(), rel=1e-5)


def test_creases_are_as_deep_as_the_root_of_the_excursion_and_heed_other_units(model):
    """By hand, with the shares of `rig.EXCURSION`: AU9 alone on the sides of the nose, AU4 alone between the brows."""
    x, y = model.topology.template[:, 0], model.topology.template[:, 1]
    nose = (
        (np.abs(x) > 8) & (np.abs(x) < 14) & (np.abs(y - model.topology.template[model.topology.landmarks[28], 1]) < 6)
    )
    for level, excursion in ((1, 0.12), (2, 0.28), (3, 0.54), (4, 0.82), (5, 1.0)):
        full, part = (depths(model, AU9=a)[nose].max() for a in (5, level))
        assert part == pytest.approx(np.sqrt(excursion) * full, rel=0.02)
    full, joined = depths(model, AU9=5)[nose].max(), depths(model, AU9=5, AU10=5)[nose].max()
    assert joined == pytest.approx(np.sqrt(0.75) * full, rel=0.02)  # they pull one tissue
    tight, shut = depths(model, AU7=5), depths(model, AU7=5, AU43=1)
    assert (shut[tight > 0.1] < 0.8 * tight[tight > 0.1]).all()  # closed lids need no tightening


def test_depths_are_smooth_over_the_face(model):
    deep = wrinkle_depths(model, (5, 5, 5, 5, 5, 0))
    skin = model.topology.faces[model.topology.materials == MATERIALS.index("skin")]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]]])
    length = np.linalg.norm(np.diff(model.topology.template[edges], axis=1)[:, 0], axis=-1)
    step = np.abs(np.diff(deep[edges], axis=1)[:, 0]).max(-1)
    assert np.percentile(step / length, 99) < 0.25  # per mm


def test_units_must_be_six(model):
    with pytest.raises(ValueError, match=r"aus has shape \(2,\); expected \(6,\)"):
        wrinkle_depths(model, (1, 2))


def test_a_furrow_is_a_valley_between_bulges(sheet):
    """Across the brows' inner ends, many people: deep lines, raised skin beside them, more of it than elsewhere."""
    _, face, folds = sheet
    patch = folds["glabella", 0]
    row = patch.index[(np.abs(patch.s - 3) < 1.5) & (patch.inside > 0.9)]
    for seed in range(6):
        height = wrinkles(person(seed, 25.0), face, folds)[0].height[0, row]
        assert height.min() < -0.8 and height.max() > 0.25
        lowest = face.points[row[height.argmin()], 0]
        distance = np.abs(face.points[row, 0] - lowest)
        assert height[distance < 0.7].max() < height[(distance > 2) & (distance < 6)].max() - 0.6


def test_young_faces_crease_clearly_and_only_old_ones_stay_creased(sheet):
    _, face, folds = sheet
    for seed in range(4):
        (young, rested), (old, worn) = (wrinkles(person(seed, age), face, folds) for age in (20.0, 80.0))
        for (name, side), patch in folds.items():
            deepest = young.height[:, patch.index].min()
            assert deepest < -0.25, (name, side)
        assert -old.height.min() > -young.height.min()
        assert rested.height.min() > -0.4 and worn.height.min() < -0.7


def test_same_person_same_wrinkles_and_others_others(sheet):
    _, face, folds = sheet
    first, again, other = (wrinkles(person(seed, 50.0), face, folds)[0].height for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


@pytest.mark.parametrize("au", CREASING)
def test_the_picture_shows_the_unit(au, sheet):
    """With the face held still, wrinkles change the pixels of the unit's region, mostly to darker, and no other."""
    model = face_models.load("procedural")
    topology = model.topology
    atlas, face, folds = sheet
    full, _ = wrinkles(person(3, 40.0), face, folds)
    grey = np.full((SIZE, SIZE, 3), 180, np.uint8)
    texture = Texture(albedo=grey, wrinkles=pack(atlas, WrinkleFrame.of(atlas, folds), full))
    camera = cameras.aim(dataclasses.replace(cameras.FRONTAL), topology.template[topology.landmarks], SEEN)
    light = Light(key_azimuth=30.0, key_elevation=40.0, key=1.0, fill=0.4, ambient=0.4, kelvin=5500.0)
    background = np.zeros((SEEN, SEEN, 3), np.uint8)
    aus = [5.0 if name == au else 0.0 for name in AU_NAMES]
    where = places(model)[au].astype(np.float32)
    with Renderer(topology, SEEN) as renderer:
        renderer.set_texture(texture)
        pictures = [
            renderer.color(topology.template, camera, light, background, depth).astype(int)
            for depth in (None, wrinkle_depths(model, aus))
        ]
        region = renderer.field(topology.template, where, camera).values > 0
    change = (pictures[1] - pictures[0]).mean(-1)
    assert np.abs(change[~region]).max() <= 1
    assert change.min() < -25 and (change < -8).sum() > 40
    assert change[np.abs(change) > 3].mean() < 0
