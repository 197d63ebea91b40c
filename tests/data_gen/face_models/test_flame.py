"""The FLAME head, on a file in FLAME's layout whose true deformations are known: it is made of ICT's geometry."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from data_gen import face_models, rig, scene
from data_gen.face_models import MATERIALS, flame, flame_file, ict_convert
from data_gen.face_models.flame import MM, FlameFace
from data_gen.face_models.ict import LANDMARKS
from data_gen.generate import GeneratorConfig, identity_examples
from painjax.pspi import AU_MAX, AU_NAMES
from tests.data_gen.face_models import flame_like
from tests.data_gen.face_models.measures import covered
from tests.data_gen.test_geometry import DRAWS, EVIDENCE, QUICK, Face, check, one_unit

PEOPLE = [scene.identity(0, index) for index in range(12)]
BLINK = {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0}


@pytest.fixture(scope="module")
def folder(ict, tmp_path_factory):
    """A folder with a model, and a cache of its own."""
    folder = tmp_path_factory.mktemp("flame")
    source = ict_convert.load_cache(ict_convert.newest_cache())
    (folder / "generic_model.pkl").write_bytes(flame_like.pickled(flame_like.arrays(source)))
    return folder


@pytest.fixture(scope="module")
def face(folder, ict):
    arrays = flame_file.read(folder / "generic_model.pkl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAINJAX_CACHE", str(folder / "cache"))
        return FlameFace(arrays, ict)


@pytest.fixture(scope="module")
def truth(ict):
    """ICT vertex -> (3,) mm in the test head's frame."""
    source = ict_convert.load_cache(ict_convert.newest_cache())
    return lambda vertices: MM * flame_like.place(source, np.asarray(vertices))


def test_landmarks_are_where_they_are_in_truth(face, truth):
    error = np.linalg.norm(face.topology.template[face.topology.landmarks] - truth(LANDMARKS), axis=1)
    assert np.median(error) < 1.0 and error.max() < 4.0
    assert len(set(face.topology.landmarks.tolist())) == 68


@pytest.mark.parametrize("au", AU_NAMES)
def test_action_units_move_the_landmarks_as_in_truth(face, ict, au):
    weights = rig.shape_weights([AU_MAX[k] if name == au else 0 for k, name in enumerate(AU_NAMES)])
    source = (ict.average(weights) - ict.topology.template)[ict.topology.landmarks].astype(np.float64)
    expected = MM * (source / 10.0) @ flame_like.WARP.T  # mm -> the source's cm -> the test head
    got = face.average(weights) - face.topology.template
    got = got[face.topology.landmarks]
    length = np.linalg.norm(expected, axis=1)
    moving = length > max(1.0, 0.25 * length.max())
    cosine = (got * expected).sum(1) / np.maximum(np.linalg.norm(got, axis=1) * length, 1e-9)
    assert np.average(cosine[moving], weights=length[moving]) > 0.95
    assert np.linalg.norm(got[moving]) / np.linalg.norm(expected[moving]) == pytest.approx(1, abs=0.25)


def test_topology_keeps_the_contract(face):
    t = face.topology
    assert t.faces.shape == t.uv_faces.shape == (len(t.materials), 3)
    assert t.template.dtype == t.uvs.dtype == np.float32 and t.faces.dtype == np.int32
    assert sorted(set(t.faces.ravel().tolist())) == list(range(len(t.template)))
    assert t.uvs.min() >= 0 and t.uvs.max() <= 1
    assert set(np.unique(t.materials)) == {MATERIALS.index(name) for name in MATERIALS}
    edges = np.concatenate([t.faces[:, [0, 1]], t.faces[:, [1, 2]], t.faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)  # neighbours run along their common edge in opposite directions
    own = t.materials != MATERIALS.index("teeth")  # which keep the layout that they have on the ICT head
    a, b, c = (t.uvs[t.uv_faces[own, k]].astype(np.float64) for k in range(3))
    d, e = b - a, c - a
    assert (d[:, 0] * e[:, 1] - d[:, 1] * e[:, 0] > 0).all()
    for q in np.random.default_rng(0).uniform(size=(1000, 2)):
        sides = [(u - q)[:, 0] * (v - q)[:, 1] - (u - q)[:, 1] * (v - q)[:, 0] for u, v in ((a, b), (b, c), (c, a))]
        assert (np.min(sides, axis=0) > 1e-9).sum() <= 1  # no place of the atlas belongs to two triangles
    boxes = [t.uvs[t.uv_faces[t.materials == k]].reshape(-1, 2) for k in range(len(MATERIALS))]
    boxes = np.array([[*box.min(0), *box.max(0)] for box in boxes])[1:]  # of all but the skin, which lies above them
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert (one[:2] >= other[2:]).any() or (other[:2] >= one[2:]).any()


def test_normals_point_outwards(face):
    t = face.topology
    p = t.template.astype(np.float64)
    a, b, c = (p[t.faces[:, k]] for k in range(3))
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
    front = (t.materials == MATERIALS.index("skin")) & (middle[:, 2] > p[t.landmarks[27], 2])
    assert normal[front, 2].sum() > 0
    for ball in (middle[:, 0] > 0, middle[:, 0] < 0):
        ball = ball & (t.materials == MATERIALS.index("eye"))
        away = middle[ball] - [middle[ball, 0].mean(), middle[ball, 1].mean(), middle[ball, 2].min()]
        assert ((normal[ball] * away).sum(1) > 0).mean() > 0.95


def gap(lids, points):
    """(n,) mm: how far the upper margin stands above the lower one, anywhere between the corners."""
    x, y = points[:, 0], points[:, 1]
    upper = lids.upper[np.argsort(x[lids.upper])]
    lower = lids.lower[np.argsort(x[lids.lower])]
    low, high = max(x[upper[0]], x[lower[0]]), min(x[upper[-1]], x[lower[-1]])
    at = np.linspace(0.8 * low + 0.2 * high, 0.2 * low + 0.8 * high, 40)
    return np.interp(at, x[upper], y[upper]) - np.interp(at, x[lower], y[lower])


def test_lids_close_on_everybody_and_stay_open_otherwise(face):
    narrowed = rig.shape_weights([5, 5, 5, 5, 5, 0])
    for person in PEOPLE:
        rest, shut, narrow = (face.deform(person, weights) for weights in ({}, BLINK, narrowed))
        for lids in face._lids.values():
            middle = slice(15, 25)
            assert gap(lids, shut)[middle].max() < 0.5
            assert gap(lids, narrow)[middle].min() > 0.8
            assert gap(lids, rest)[middle].min() > gap(lids, narrow)[middle].min()


def test_no_eyeball_comes_through_its_closed_lids(face):
    t = face.topology
    eye, skin = (t.faces[t.materials == MATERIALS.index(name)] for name in ("eye", "skin"))
    for person in PEOPLE[:4]:
        v = face.deform(person, BLINK).astype(np.float64)
        used = np.unique(eye)
        middle = np.where(v[used, 0] > 0, *(v[used][v[used, 0] * side > 0].mean(0)[0] for side in (1, -1)))
        pole = used[(np.abs(v[used, 0] - middle) < 7) & (v[used, 2] > v[used, 2].max() - 3)]
        assert len(pole) > 20
        near = skin[(np.abs(v[skin][:, :, 2] - v[pole, 2].mean()) < 25).all(1)]
        assert covered(v[pole], v, near).all()


def test_expressions_keep_the_surface_whole(face):
    """What the other face models must pass."""
    check(Face(face), QUICK)


@pytest.mark.slow
def test_expressions_keep_the_surface_whole_on_many(face):
    """As for the other face models, but that the worst face of a thousand has 1.4 % broken triangles, in the fold of
    its closed lids."""
    check(Face(face), DRAWS, worst_face=0.015)


@pytest.mark.parametrize("name", EVIDENCE)
def test_landmarks_move_more_with_more_of_a_unit(face, name):
    measured = Face(face)
    levels = (0, 1) if name == "AU43" else range(6)
    seen = [
        EVIDENCE[name](measured, face.deform(PEOPLE[2], rig.shape_weights(aus, 0.0, others)).astype(np.float64))
        for aus, others in (one_unit(name, level) for level in levels)
    ]
    assert (np.diff(seen) > 0).all() and seen[-1] - seen[0] > 1.0


def test_shapes_combine_from_zero_and_unknown_ones_are_refused(face):
    for person in PEOPLE[:3]:
        np.testing.assert_array_equal(face.deform(person, rig.shape_weights([0] * 6)), face.neutral(person))
    assert np.abs(face.neutral(PEOPLE[0]) - face.neutral(PEOPLE[1])).max() > 3
    for shape in rig.SHAPES:
        moved = np.linalg.norm(face.average({shape: 1.0}) - face.topology.template, axis=1)
        assert moved.max() > 1, shape
        if shape[-2:] in ("_L", "_R"):
            left = moved[face.topology.template[:, 0] > 0].sum() / moved.sum()
            assert (left > 0.75) if shape.endswith("L") else (left < 0.25), shape
    with pytest.raises(ValueError, match="'browUp' is unknown"):
        face.deform(PEOPLE[0], {"browUp": 1.0})


def test_parted_lips_show_a_closed_dark_bag(face):
    t = face.topology
    bag = t.faces[t.materials == MATERIALS.index("mouth")]
    skin = t.faces[t.materials == MATERIALS.index("skin")]
    rim = np.intersect1d(bag, skin)
    assert len(rim) > 20
    edges = np.concatenate([bag[:, [0, 1]], bag[:, [1, 2]], bag[:, [2, 0]]])
    back = {(b, a) for a, b in edges.tolist()}
    border = [a for a, b in edges.tolist() if (a, b) not in back]
    assert set(border) == set(rim.tolist())  # it opens at the lips only
    open_mouth = face.average({"jawOpen": 1.0})
    assert open_mouth[bag].reshape(-1, 3)[:, 2].min() < open_mouth[rim, 2].min() - 10


def nothing(arrays):
    """A transfer that moves nothing."""
    moved = np.zeros((len(rig.SHAPES), len(arrays.template), 3), np.float32)
    return flame.Transferred(moved, np.arange(68), np.full((68, 3), 1 / 3))


def test_the_transfer_is_computed_once_and_again_for_another_file(folder, ict, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(folder / "other cache"))
    monkeypatch.setenv("PAINJAX_FLAME_FILE", str(folder))
    calls, made = [], nothing(flame_file.read(folder / "generic_model.pkl"))
    monkeypatch.setattr(flame, "_transfer", lambda *_: calls.append(1) or made)
    expressed = dict.fromkeys(rig.SHAPES, ict.topology.template)
    arrays = flame_file.read(flame_file.find_file())
    first, second = (flame.transferred(arrays, ict.topology, expressed) for _ in range(2))
    assert len(calls) == 1
    np.testing.assert_array_equal(first.moved, second.moved)
    assert [p.suffix for p in (folder / "other cache").iterdir()] == [".npz"]  # nothing half-written is left
    flame.transferred(dataclasses.replace(arrays, template=arrays.template * 1.01), ict.topology, expressed)
    flame.transferred(arrays, ict.topology, expressed | {"jawOpen": ict.average({"jawOpen": 0.5})})
    flame.transferred(dataclasses.replace(arrays, eyes=(arrays.eyes[0][1:], arrays.eyes[1])), ict.topology, expressed)
    for change in ({"faces": ict.topology.faces[1:]}, {"landmarks": ict.topology.landmarks[::-1]}):
        flame.transferred(arrays, dataclasses.replace(ict.topology, **change), expressed)
    assert len(calls) == 6


def test_a_damaged_transfer_is_computed_again_and_said_so(folder, ict, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(folder / "damaged cache"))
    arrays = flame_file.read(folder / "generic_model.pkl")
    made = nothing(arrays)
    monkeypatch.setattr(flame, "_transfer", lambda *_: made)
    expressed = dict.fromkeys(rig.SHAPES, ict.topology.template)
    flame.transferred(arrays, ict.topology, expressed)
    (path,) = (folder / "damaged cache").iterdir()
    sound = path.read_bytes()
    other = io.BytesIO()
    np.savez(other, moved=made.moved)
    for damage in (b"", sound[: len(sound) // 2], sound[:-30], other.getvalue()):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match=rf"{path.name} is damaged .* made anew"):
            got = flame.transferred(arrays, ict.topology, expressed)
        np.testing.assert_array_equal(got.moved, made.moved)
        np.testing.assert_array_equal(flame.transferred(arrays, ict.topology, expressed).moved, made.moved)


def test_prepare_fills_the_cache_and_names_it(folder, face, ict, monkeypatch):
    """`face` has filled the cache."""
    monkeypatch.setenv("PAINJAX_FLAME_FILE", str(folder))
    monkeypatch.setenv("PAINJAX_CACHE", str(folder / "cache"))
    monkeypatch.setattr(flame, "_transfer", lambda *_: pytest.fail("transferred again"))
    monkeypatch.setattr(flame.IctFace, "load", lambda: ict)
    assert (folder / "cache" / f"{flame.prepare()}.npz").is_file()


def test_landmarks_of_the_file_are_taken_as_they_are(folder, ict, truth, monkeypatch):
    """With `flame_static_embedding.pkl` beside the model, its 51 points are the model's landmarks 17..67."""
    monkeypatch.setenv("PAINJAX_CACHE", str(folder / "cache"))
    arrays = flame_file.read(folder / "generic_model.pkl")
    middles = MM * arrays.template[arrays.faces].mean(1)
    skin = np.flatnonzero(~np.isin(arrays.faces, np.concatenate(arrays.eyes)).any(1))
    triangles = skin[[np.linalg.norm(middles[skin] - point, axis=1).argmin() for point in truth(LANDMARKS[17:])]]
    known = (triangles, np.full((51, 3), 1 / 3))
    got = FlameFace(dataclasses.replace(arrays, embedding=known), ict).topology
    off_lids = np.r_[17:36, 48:68]
    error = np.linalg.norm(got.template[got.landmarks[off_lids]] - middles[triangles[off_lids - 17]], axis=1)
    assert error.max() < 0.01


def test_the_whole_generator_runs_on_it(folder, face, ict_dir, monkeypatch):
    monkeypatch.setenv("PAINJAX_FLAME_FILE", str(folder))
    assert "flame" in face_models.FACE_MODELS and face_models.load("flame").name == "flame"
    config = GeneratorConfig("flame", 96, texture_size=256)
    examples = identity_examples(config, 3)
    assert len(examples) > 20
    for _, example in examples:
        image, mask, heat = (np.asarray(Image.open(io.BytesIO(example[k]))) for k in ("image", "mask", "heatmap"))
        assert image.shape == (96, 96, 3) and image.std() > 15
        assert 0.15 < (mask > 0).mean() < 0.9
        assert example["landmarks_visible"].sum() > 30
        assert (heat.max() > 20) == (example["pspi"] > 0) or example["pspi"] <= 1
