"""Examples against geometry: rays cast through pixels, a camera written out anew, anatomy drawn from landmarks."""

import dataclasses
import functools
import io
import multiprocessing
import os
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data_gen import camera as cameras
from data_gen import face_models, plan, processes, rig
from data_gen.aus_sampling import EXPRESSIONS
from data_gen.face_models import MATERIALS
from data_gen.generate import generate, identity_examples, regenerate, takes
from data_gen.generator_config import GeneratorConfig
from data_gen.heatmap import HEATMAP_FULL_SCALE_MM, displacement
from data_gen.plan import REFERENCE_EXPRESSION, scene
from data_gen.record import jpeg, png
from data_gen.render import Renderer
from data_gen.scene import identity, pack_seed, unpack_seed
from data_gen.views import VIEWS
from painjax.pspi import AU_MAX, AU_NAMES

SIZE = 64


@pytest.fixture(scope="module", params=["procedural", "ict"])
def model_name(request):
    if request.param == "ict":
        request.getfixturevalue("ict_dir")
    return request.param


@pytest.fixture(scope="module")
def model(model_name):
    return face_models.load(model_name)


@pytest.fixture(scope="module")
def examples(model_name):
    return list(generate(GeneratorConfig(model_name, SIZE, texture_size=256), [0], workers=1))


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def geometry(example, model):
    """(neutral, expressive) vertices of an example, from its seed."""
    s = scene(example["seed"])
    return model.neutral(s.identity), model.deform(s.identity, rig.shape_weights(s.aus, s.asymmetry, dict(s.others)))


def pick(examples, expression, view):
    (found,) = [e for _, e in examples if (e["expression_id"], e["view"]["id"]) == (expression, view)]
    return found


def test_every_expression_in_every_view_once(examples):
    assert len({key for key, _ in examples}) == len(examples) == EXPRESSIONS * VIEWS
    assert {(e["expression_id"], e["view"]["id"]) for _, e in examples} == {
        (x, v) for x in range(EXPRESSIONS) for v in range(VIEWS)
    }
    assert all(unpack_seed(e["seed"])[1:] == (0, e["expression_id"], e["view"]["id"]) for _, e in examples)


def test_labels_follow_the_formula_by_hand(examples):
    for _, e in examples:
        au4, au6, au7, au9, au10, au43 = e["aus"]
        assert e["pspi"] == au4 + max(au6, au7) + max(au9, au10) + au43
        assert (e["pspi"] == 0) == (e["expression_id"] == 0)
        assert au43 in (0, 1)


def test_neutral_frames_are_still_and_have_another_reference(examples):
    for view in range(VIEWS):
        neutral = pick(examples, 0, view)
        assert not picture(neutral["heatmap"]).any()
        assert not picture(neutral["heatmap_frontal"]).any()
        assert neutral["neutral_image"] != neutral["image"]
        assert all(pick(examples, x, view)["neutral_image"] == neutral["image"] for x in range(1, EXPRESSIONS))


def test_pain_moves_something(examples):
    assert all(picture(e["heatmap"]).any() for _, e in examples if e["pspi"] > 0)


def camera_by_hand(example, landmarks):
    """World -> camera and focal length, from the view's angles alone: rotate by yaw about y, pitch about x, roll about
    z."""
    view = scene(example["seed"]).view
    yaw, pitch, roll = np.radians([view.yaw, view.pitch, view.roll])
    around_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    around_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation = around_z @ around_x @ around_y
    centre = cameras.aim(view, landmarks, SIZE).pose[:3, 3]  # where the camera stands is the design's choice
    return rotation, centre, SIZE / 2 / np.tan(np.radians(view.fov) / 2)


@pytest.mark.parametrize("view", range(VIEWS))
def test_landmarks_project_onto_their_vertices(examples, model, view):
    example = pick(examples, 7, view)
    neutral, face = geometry(example, model)
    ids = model.topology.landmarks
    rotation, centre, focal = camera_by_hand(example, neutral[ids])
    x, y, z = rotation @ (face[ids] - centre).T
    by_hand = np.stack([SIZE / 2 + focal * x / -z, SIZE / 2 - focal * y / -z], -1)
    np.testing.assert_allclose(example["landmarks"], by_hand, atol=1e-2)


def hit(origin, direction, triangles):
    """First triangle on a ray (Moeller-Trumbore): its index and barycentric weights, or None."""
    a, edge1, edge2 = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(direction, edge2)
    det = (edge1 * p).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = ((origin - a) * p).sum(-1) / det
        q = np.cross(origin - a, edge1)
        v = (q @ direction) / det
        t = (edge2 * q).sum(-1) / det
        inside = (det > 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)  # det > 0: faces the camera
    if not inside.any():
        return None
    first = np.flatnonzero(inside)[np.argmin(t[inside])]
    return first, np.array([1 - u[first] - v[first], u[first], v[first]])


@pytest.mark.parametrize("view", range(VIEWS))
def test_heatmap_pixels_are_the_displacement_that_a_ray_meets(examples, model, view):
    example = pick(examples, 10, view)
    neutral, face = geometry(example, model)
    s = scene(example["seed"])
    pain = model.deform(s.identity, rig.shape_weights(s.aus, s.asymmetry))
    moved = np.linalg.norm(pain - neutral, axis=-1) / HEATMAP_FULL_SCALE_MM
    rotation, centre, focal = camera_by_hand(example, neutral[model.topology.landmarks])
    heatmap, mask = picture(example["heatmap"]), picture(example["mask"])
    faces, skin = model.topology.faces, model.topology.materials == MATERIALS.index("skin")
    triangles = face[faces].astype(np.float64)
    rows, columns = np.divmod(np.random.default_rng(0).choice(SIZE * SIZE, 250, replace=False), SIZE)
    errors, on_head, hidden = [], 0, 0
    for row, column in zip(rows, columns, strict=True):
        direction = rotation.T @ np.array([(column + 0.5 - SIZE / 2) / focal, -(row + 0.5 - SIZE / 2) / focal, -1.0])
        found = hit(centre, direction, triangles)
        on_head += found is not None or mask[row, column] == 0
        hidden += found is not None and mask[row, column] == 0  # by hair, which is no face and no part of `face`
        if found is not None and mask[row, column]:
            expected = np.clip(moved[faces[found[0]]] @ found[1], 0, 1) if skin[found[0]] else 0.0
            errors.append(abs(heatmap[row, column] / 255 - expected))
    assert on_head >= 0.97 * len(rows)  # a ray through the middle of a silhouette pixel may just miss
    assert hidden <= 0.2 * len(rows)
    assert len(errors) > 80
    assert np.median(errors) < 0.006 and np.quantile(errors, 0.9) < 0.05, np.quantile(errors, [0.5, 0.9, 1])


@pytest.mark.parametrize("view", range(VIEWS))
def test_mask_covers_the_face(examples, view):
    for expression in (0, 5, 10):
        example = pick(examples, expression, view)
        outline = Image.new("L", (SIZE, SIZE))
        inner = example["landmarks"][17:68][example["landmarks_visible"][17:68]]
        hull = inner[np.argsort(np.arctan2(*(inner - inner.mean(0)).T))]
        ImageDraw.Draw(outline).polygon([tuple(p) for p in hull], fill=255)
        face = np.asarray(outline) > 0
        assert (picture(example["mask"])[face] > 0).mean() > 0.97


def test_the_camera_sees_the_side_it_stands_on(examples):
    """From the subject's right, the right eye is seen; the far end of the jaw line is not."""
    right, left = pick(examples, 0, 1), pick(examples, 0, 2)
    assert right["view"]["yaw"] < 0 < left["view"]["yaw"]
    assert right["landmarks_visible"][36:42].mean() > 0.8 and left["landmarks_visible"][42:48].mean() > 0.8
    assert not right["landmarks_visible"][16] and not left["landmarks_visible"][0]


# Anatomy, as ellipses around 68-point landmarks: (points whose mean is the centre, radii in eye distances).
# Both sides are drawn. Sources: FACS manual, appearance changes of each unit.
REGIONS = {
    "AU4": [((17, 18, 19, 20, 21), (0.62, 0.62)), ((21, 22), (0.5, 0.75)), ((22, 23, 24, 25, 26), (0.62, 0.62))],
    "AU6": [
        ((41, 40), (0.75, 0.45)),
        ((36, 2, 31), (0.75, 0.75)),
        ((47, 46), (0.75, 0.45)),
        ((45, 14, 35), (0.75, 0.75)),
    ],
    "AU7": [((36, 37, 38, 39, 40, 41), (0.55, 0.4)), ((42, 43, 44, 45, 46, 47), (0.55, 0.4))],
    "AU9": [((27, 28, 29, 30, 33), (0.75, 1.0)), ((31, 35, 51), (0.75, 0.55)), ((21, 22, 27), (0.7, 0.5))],
    "AU10": [((50, 51, 52, 62), (0.8, 0.45)), ((31, 48), (0.6, 0.7)), ((35, 54), (0.6, 0.7)), ((31, 35), (0.6, 0.4))],
    "AU43": [((36, 37, 38, 39, 40, 41), (0.55, 0.45)), ((42, 43, 44, 45, 46, 47), (0.55, 0.45))],
}


@pytest.mark.parametrize("au", AU_NAMES)
def test_each_action_unit_acts_in_its_anatomical_region(model, au):
    size = 128
    aus = [top if name == au else 0 for name, top in zip(AU_NAMES, AU_MAX, strict=True)]
    with Renderer(model.topology, size) as renderer:
        for index in range(3):
            person = identity(0, index)
            neutral, face = model.neutral(person), model.deform(person, rig.shape_weights(aus))
            landmarks = neutral[model.topology.landmarks]
            frontal = cameras.aim(cameras.FRONTAL, landmarks, size)
            heat = renderer.field(face, displacement(neutral, face, model.topology), frontal).values
            xy, _ = cameras.project(frontal, landmarks)
            unit = np.linalg.norm(xy[36:42].mean(0) - xy[42:48].mean(0))
            grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
            inside = np.zeros((size, size), bool)
            for points, radii in REGIONS[au]:
                inside |= (((grid - xy[list(points)].mean(0)) / (np.array(radii) * unit)) ** 2).sum(-1) < 1
            assert heat.max() > 0.15
            assert heat[inside].sum() >= 0.8 * heat.sum(), f"{au}: {heat[inside].sum() / heat.sum():.2f}"


def test_an_example_comes_back_from_its_seed_whatever_the_configs_own(examples, model_name):
    """In this process, by the number alone, as TFDS gives it back."""
    for _, example in (examples[0], examples[17]):
        config = GeneratorConfig(model_name, SIZE, texture_size=256, dataset_seed=9)
        again = regenerate(config, np.uint64(example["seed"]))
        assert again.keys() == example.keys()
        for field in example:
            np.testing.assert_equal(again[field], example[field], err_msg=field)


@pytest.mark.parametrize(
    "seed", [pack_seed(0, 0, REFERENCE_EXPRESSION, 1), pack_seed(0, 0, 12, 0), pack_seed(0, 0, 128, 255)]
)
def test_a_seed_of_no_example_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed {seed} names"):
        regenerate(GeneratorConfig("procedural", SIZE, texture_size=256), seed)


@pytest.mark.slow
def test_processes_that_die_in_a_build_are_replaced_and_the_examples_are_the_same(caplog):
    config = GeneratorConfig("procedural", 16, texture_size=16)
    frames, others = generate(config, [0, 1, 2], workers=1), multiprocessing.active_children()
    got = [next(frames)]
    (process,) = set(multiprocessing.active_children()) - set(others)
    process.kill()
    got += frames
    np.testing.assert_equal(got, [frame for index in range(3) for frame in identity_examples(config, index)])
    assert caplog.text.count("A rendering process died; new ones go on with identity 1.") == 1


def test_a_build_whose_processes_die_at_once_is_given_up_aloud(monkeypatch):
    """As on a machine that has not the memory for them."""
    monkeypatch.setattr(processes, "begin", functools.partial(os._exit, 1))
    with pytest.raises(RuntimeError, match="A rendering process died.*PAINJAX_WORKERS"):
        next(generate(GeneratorConfig("procedural", 16, texture_size=16), [0, 1], workers=2))


def test_two_workers_make_the_same_examples(examples, model_name):
    again = list(generate(GeneratorConfig(model_name, SIZE, texture_size=256), [0, 1], workers=2))
    assert [key for key, _ in again[: len(examples)]] == [key for key, _ in examples]
    for (key, a), (_, b) in zip(examples, again, strict=False):
        for field in a:
            np.testing.assert_equal(a[field], b[field], err_msg=f"{key} {field}")


@pytest.mark.slow
def test_a_reader_that_stops_early_does_not_wait_for_everybody():
    frames = generate(GeneratorConfig("procedural", 32, texture_size=64), range(1000), workers=1)
    next(frames)
    start = time.monotonic()
    frames.close()
    assert time.monotonic() - start < 60  # the 999 others would take many minutes


def test_pictures_survive_encoding():
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    np.testing.assert_array_equal(picture(png(ramp)), np.round(ramp * 255))
    colour = np.repeat((ramp * 255).astype(np.uint8)[..., None], 3, -1)
    assert np.abs(picture(jpeg(colour, 92)).astype(int) - colour).max() <= 4


def test_what_is_recorded_is_what_the_scene_says(examples):
    for _, e in examples:
        s = scene(e["seed"])
        assert (e["kind"], e["expression"], e["light"]["rig"], e["room"]["kind"]) == (
            s.kind, s.expression, s.light.rig, s.room.kind,
        )  # fmt: skip
        assert dict(s.others) == {n: v for n, v in zip(rig.OTHER_AUS, e["other_aus"], strict=True) if v}
        assert e["identity"]["age_years"] == pytest.approx(s.identity.age)
        assert e["lens"]["jpeg_quality"] == s.lens.jpeg_quality and "clip" not in e
        for part in ("view", "light", "room", "lens"):
            for name, value in e[part].items():
                if isinstance(value, np.float32) and name != "distance_mm":
                    assert value == pytest.approx(getattr(getattr(s, part), name), rel=1e-6)


def test_faces_are_well_exposed(examples):
    """Neither drowned nor burnt, in any view or expression: of the head's pixels, by their luma."""
    for _, e in examples:
        luma = picture(e["image"]) @ (0.299, 0.587, 0.114)
        head = luma[picture(e["mask"]) > 0]
        assert 60 < np.median(head) < 200
        assert (head > 250).mean() < 0.01


def test_distance_is_from_the_camera_to_the_middle_of_the_head(examples, model):
    for view in range(VIEWS):
        e = pick(examples, 0, view)
        neutral = model.neutral(identity(0, 0))
        camera = cameras.aim(scene(e["seed"]).view, neutral[model.topology.landmarks], SIZE)
        aimed_at = camera.pose[:3, 3] - e["view"]["distance_mm"] * camera.pose[:3, 2]
        assert np.linalg.norm(aimed_at - neutral.mean(0)) < 90


@pytest.mark.parametrize(("name", "chosen"), [("distractors", [4, 20]), ("clips", [30, 143])])
def test_examples_of_the_other_plans_come_back_from_their_seeds(model_name, name, chosen):
    """By their seeds alone: the picture, its labels, and a neutral reference before the same camera."""
    seeds = plan.example_seeds(0, 1, name)
    config = GeneratorConfig(model_name, 48, texture_size=128)  # the seed says which plan it is of
    for seed in (seeds[i] for i in chosen):
        e, s = regenerate(config, seed), scene(seed)
        au4, au6, au7, au9, au10, au43 = e["aus"]
        assert e["pspi"] == pytest.approx(au4 + max(au6, au7) + max(au9, au10) + au43)
        assert e["seed"] == seed and tuple(e["aus"]) == pytest.approx(s.aus) and e["kind"] == s.kind
        assert picture(e["heatmap"]).any() == (e["aus"] > 0.2).any()  # what moves outside PSPI is no heat
        assert e["image"] != e["neutral_image"]
        if name == "clips":
            assert e["clip"] == {
                "id": 6 + (s.expression_id - 128),
                "frame": s.clip.frame,
                "time_s": np.float32(s.clip.time),
            }


def test_a_clip_is_still_but_for_the_face():
    """Beside the head its frames differ by noise alone."""
    config = GeneratorConfig("procedural", 48, texture_size=128, plan="clips")
    first, second = (regenerate(config, pack_seed(0, 1, 128, frame)) for frame in (0, 10))
    beside = (picture(first["mask"]) == 0) & (picture(second["mask"]) == 0)
    change = np.abs(picture(first["image"]).astype(int) - picture(second["image"]))[beside]
    assert np.median(change) <= 3
    assert first["image"] != second["image"]


def test_resting_faces_move_when_asked():
    still, moving = (
        regenerate(GeneratorConfig("procedural", 48, texture_size=128, neutral_variation=v), pack_seed(0, 1))
        for v in (False, True)
    )
    assert still["pspi"] == moving["pspi"] == 0 and not picture(moving["heatmap"]).any()
    assert not still["other_aus"].any() and moving["other_aus"].any()
    assert np.abs(still["landmarks"] - moving["landmarks"]).max() > 0.05


def test_references_are_still_even_where_resting_faces_move():
    """A neutral frame that moves is not the reference of the person's other frames any more."""
    still = GeneratorConfig("procedural", 48, texture_size=128)
    moving = dataclasses.replace(still, neutral_variation=True)
    found = dict(identity_examples(moving, 1))
    for expression, view in ((0, 0), (0, 1), (4, 0), (7, 1)):
        seed = pack_seed(0, 1, expression, view)
        expected = regenerate(still, seed)
        assert found[f"000001_{expression:03d}_{view:03d}"]["neutral_image"] == expected["neutral_image"]
        assert (regenerate(moving, seed)["image"] == expected["image"]) == (expression > 0)
    distractor = pack_seed(0, 1, plan.FIRST_DISTRACTOR)
    assert regenerate(moving, distractor)["neutral_image"] == regenerate(still, distractor)["neutral_image"]


def test_scenes_made_by_hand_stand_each_in_its_own_room():
    config = GeneratorConfig("procedural", 48, texture_size=128)
    here = scene(pack_seed(0, 1))
    there = dataclasses.replace(here, room=dataclasses.replace(here.room, kind="office", brightness=0.5))
    alone = [take for s in (here, there) for _, take in takes(config, [s])]
    together = [take for _, take in takes(config, [here, there])]
    assert [take["image"] for take in together] == [take["image"] for take in alone]
    assert alone[0]["image"] != alone[1]["image"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face_model": "daz"}, "face_model is 'daz'; expected one of procedural, ict"),
        ({"plan": "smiles"}, "plan is 'smiles'; expected one of pain, distractors, clips"),
        ({"texture_backend": "photo"}, "texture_backend is 'photo'; expected one of procedural"),
        ({"image_size": 0}, "image_size is 0; expected a whole number from 16 to 4096"),
        ({"image_size": 224.0}, r"image_size is 224\.0; expected a whole number"),
        ({"texture_size": 100_000}, "texture_size is 100000; expected a whole number from 16"),
        ({"dataset_seed": -1}, "dataset_seed is -1; expected a whole number from 0 to 16777215"),
    ],
)
def test_settings_of_which_nothing_can_come_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(**({"face_model": "procedural", "image_size": 64} | change))


@pytest.mark.parametrize("aus", [(6, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 2), (np.nan, 0, 0, 0, 0, 0), (0, -1, 0, 0, 0, 0)])
def test_intensities_out_of_range_are_refused(aus):
    with pytest.raises(ValueError, match=r"AU\d+ is .*; expected 0( |\.\.)"):
        rig.shape_weights(aus)
