"""ICT-FaceKit heads: the face model on the real files."""

import dataclasses
import hashlib
import logging
import time
from pathlib import Path

import numpy as np
import pytest

from data_gen import rig, scene
from data_gen.face_models import MATERIALS, ict_convert
from data_gen.face_models.ict import IRIS_RADIUS, IctFace
from painjax.pspi import AU_MAX, AU_NAMES

IDENTITIES = [scene.identity(0, index) for index in range(30)]
EYES = {"R": slice(36, 42), "L": slice(42, 48)}


def test_recorded_checksums_are_those_of_the_files(ict_dir):
    table = Path(__file__).resolve().parents[3] / "tfds_builders" / "pain3d" / "checksums.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert {name: url for url, _, _, name in rows} == ict_convert.source_urls()
    for _, size, digest, name in rows:
        path = ict_dir / name
        assert path.stat().st_size == int(size)
        if name in ("generic_neutral_mesh.obj", "identity099.obj", "noseSneer_R.obj"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_loads_fast_and_without_the_source(ict, ict_dir, monkeypatch, record_property):
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        again = IctFace.load()
        seconds.append(time.process_time() - start)
    record_property("load_seconds", min(seconds))
    logging.getLogger(__name__).info("IctFace.load from the cache: %.2f s", min(seconds))
    assert min(seconds) < 1.0
    np.testing.assert_array_equal(again.neutral(IDENTITIES[0]), ict.neutral(IDENTITIES[0]))


def test_topology(ict):
    topology = ict.topology
    vertices = len(topology.template)
    assert topology.template.dtype == np.float32 and topology.uvs.dtype == np.float32
    assert topology.faces.shape == topology.uv_faces.shape == (len(topology.materials), 3)
    assert sorted(set(topology.faces.ravel().tolist())) == list(range(vertices))  # no vertex without a face
    assert topology.uv_faces.min() == 0 and topology.uv_faces.max() == len(topology.uvs) - 1
    assert (topology.uvs >= 0).all() and (topology.uvs <= 1).all()
    assert set(topology.materials.tolist()) == set(range(len(MATERIALS)))
    assert len(topology.faces) < 40_000


def test_atlas_islands_of_different_parts_do_not_overlap(ict):
    """Every texel of a 512 atlas is covered by one material at most, but for the border texels of an island."""
    topology = ict.topology
    size, owner = 512, np.full((512, 512), -1)
    for corners, material in zip(topology.uvs[topology.uv_faces], topology.materials, strict=True):
        steps = np.linspace(0, 1, 5)
        a, b = (grid.ravel() for grid in np.meshgrid(steps, steps))
        inside = a + b <= 1
        points = corners[0] + a[inside, None] * (corners[1] - corners[0]) + b[inside, None] * (corners[2] - corners[0])
        column, row = np.minimum((points * size).astype(int), size - 1).T
        taken = owner[row, column]
        assert ((taken == -1) | (taken == material)).all(), f"{MATERIALS[material]} at {corners[0]}"
        owner[row, column] = material
    skin = (owner == MATERIALS.index("skin")).sum()
    assert skin > 0.75 * (owner >= 0).sum()


def test_faces_are_counter_clockwise_from_outside(ict):
    topology = ict.topology
    edges = topology.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(edges, axis=0)) == len(edges)  # neighbours run along their common edge in opposite directions
    a, b, c = (topology.template[topology.faces[:, corner]].astype(np.float64) for corner in range(3))
    areas = np.cross(b - a, c - a)
    for material, inside in (("skin", (0, 10, 20)), ("eye", None)):
        chosen = topology.materials == MATERIALS.index(material)
        outward = (a + b + c)[chosen] / 3 - inside if inside else np.array([0, 0, 1.0])
        facing = (areas[chosen] * outward).sum(1)
        assert facing[facing > 0].sum() > 4 * -facing[facing < 0].sum(), material


def test_landmarks_lie_where_anatomy_has_them(ict):
    for identity in IDENTITIES:
        points = ict.neutral(identity)[ict.topology.landmarks]
        x, y, z = points.T
        assert x[0] < x[36] < x[39] < x[27] < x[42] < x[45] < x[16]  # subject's right to left
        assert y[17:27].min() > y[36:48].max() > y[30] > y[33] > y[51] > y[57] > y[8]
        assert z[30] == z.max()  # the tip of the nose
        eyes = np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0))
        assert 52 < eyes < 76  # mm, interpupillary distance of adults: 63 +- 4
        assert 95 < y[[19, 24]].mean() - y[8] < 175
        assert 110 < x[16] - x[0] < 180


def test_identities_differ_and_repeat(ict):
    first, second = (ict.neutral(identity) for identity in IDENTITIES[:2])
    np.testing.assert_array_equal(first, ict.neutral(scene.identity(0, 0)))
    assert first.dtype == np.float32 and first.shape == ict.topology.template.shape
    assert np.abs(first - second).max() > 3


def test_coefficients_are_group_averages_and_a_normal_draw_without_extremes(ict):
    people = [scene.identity(3, index) for index in range(216)]  # every group six times
    drawn = np.stack([ict.coefficients(person) for person in people])
    assert np.abs(drawn).max() < 4.0
    assert np.abs(drawn.mean(0)).max() < 0.35
    assert 0.85 < drawn.std() < 1.0  # of N(0, 1) cut at 2: 0.880, and the spread between groups


def test_groups_differ_as_anthropometry_says(ict):
    """The same person in two groups: distances on the neutral face differ by the tabled averages, within 40 %."""

    def mean(distance, **group):
        people = [dataclasses.replace(person, age=48.0, **group) for person in IDENTITIES[:8]]
        return np.mean([distance(ict.neutral(person)[ict.topology.landmarks]) for person in people])

    def nose_width(points):
        return points[35, 0] - points[31, 0]

    def jaw_width(points):
        return points[[11, 12], 0].mean() - points[[4, 5], 0].mean()

    african, european = (scene.ETHNICITIES.index(name) for name in ("african", "european"))
    assert mean(nose_width, ethnicity=african) - mean(nose_width, ethnicity=european) == pytest.approx(7.9, rel=0.4)
    assert mean(jaw_width, gender=1) - mean(jaw_width, gender=0) == pytest.approx(8.5, rel=0.4)


def test_no_sampled_head_is_a_monster(ict):
    """Lengths of 288 people by gender against published adults, and nobody far from everybody.

    Means of Farkas (1994) and Dodgson (2004), North American and pooled, female then male; a mean may lie within 1.2 of
    the published standard deviations (groups of six ethnicities and all ages are pooled here), a person within 4.5.
    """
    people = [scene.identity(5, index) for index in range(288)]
    marks = np.stack([ict.neutral(person)[ict.topology.landmarks] for person in people]).astype(np.float64)
    male = np.array([scene.GENDERS[person.gender] == "male" for person in people])

    def apart(a, b):
        return np.linalg.norm(marks[:, a].mean(1) - marks[:, b].mean(1), axis=1)

    published = {  # length: measured, female mean, male mean, standard deviation
        "interpupillary distance": (apart([36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47]), 62.0, 64.5, 3.6),
        "face height, nasion to chin": (apart([27], [8]), 111.4, 121.0, 6.0),
        "nose height": (apart([27], [33]), 49.5, 53.5, 3.4),
        "mouth width": (apart([48], [54]), 50.0, 53.5, 3.6),
        "outer canthi": (apart([36], [45]), 88.0, 91.0, 4.2),
        "lid opening": (marks[:, [37, 38, 43, 44], 1].mean(1) - marks[:, [40, 41, 46, 47], 1].mean(1), 9.5, 9.2, 1.3),
    }
    for name, (length, female_mean, male_mean, deviation) in published.items():
        for mine, mean in ((~male, female_mean), (male, male_mean)):
            assert abs(length[mine].mean() - mean) < 1.2 * deviation, name
            assert np.abs(length[mine] - mean).max() < 4.5 * deviation, name
    assert published["face height, nasion to chin"][0][male].mean() > 6 + (
        published["face height, nasion to chin"][0][~male].mean()
    )


def test_age_lowers_the_jowls_and_nothing_inside_the_mouth(ict):
    teeth = np.unique(ict.topology.faces[ict.topology.materials == MATERIALS.index("teeth")])
    fields = ict._folds
    assert fields[0, ict.topology.landmarks[5], 1] < -0.3 > fields[0, ict.topology.landmarks[11], 1]
    assert teeth.min() >= fields.shape[1]


def test_zero_weights_are_the_neutral_face_exactly(ict):
    zero = rig.shape_weights([0] * 6)
    for identity in IDENTITIES[:5]:
        np.testing.assert_array_equal(ict.deform(identity, zero), ict.neutral(identity))


def test_every_shape_moves_the_face_and_unknown_ones_are_refused(ict):
    neutral = ict.neutral(IDENTITIES[0])
    for shape in rig.SHAPES:
        assert np.abs(ict.deform(IDENTITIES[0], {shape: 1.0}) - neutral).max() > 2, shape
    with pytest.raises(ValueError, match="'browUp_L' is unknown"):
        ict.deform(IDENTITIES[0], {"browUp_L": 1.0})


def test_sides_are_the_subjects(ict):
    neutral = ict.neutral(IDENTITIES[0])
    for shape in rig.SHAPES:
        moved = np.linalg.norm(ict.deform(IDENTITIES[0], {shape: 1.0}) - neutral, axis=1)
        left = moved[neutral[:, 0] > 0].sum() / moved.sum()
        if shape.endswith("_L"):
            assert left > 0.8, shape
        if shape.endswith("_R"):
            assert left < 0.2, shape


@pytest.mark.parametrize("au", AU_NAMES)
def test_each_action_unit_moves_its_own_region(ict, au):
    """At least 80 % of the skin's displacement, weighted by its area in a frontal view, is where anatomy puts it."""
    aus = [AU_MAX[k] if name == au else 0 for k, name in enumerate(AU_NAMES)]
    for identity in IDENTITIES[:10]:
        neutral = ict.neutral(identity)
        moved = np.linalg.norm(ict.deform(identity, rig.shape_weights(aus)) - neutral, axis=1)
        heat = moved * _frontal_area(ict.topology, neutral)
        inside = _region(au, neutral, neutral[ict.topology.landmarks])
        assert heat[inside].sum() > 0.8 * heat.sum()
        assert 4.0 < moved.max() < 16.0  # mm: visible, and no more than skin can travel


def _region(au, points, landmarks):
    """Anatomy by landmarks; lengths in units of the distance between the eyes."""
    eyes = np.stack([landmarks[side].mean(0) for side in EYES.values()])
    unit = np.linalg.norm(eyes[0] - eyes[1])
    x, y = np.abs(points[:, 0] - landmarks[30, 0]) / unit, points[:, 1]
    eye_y, lip_y = eyes[:, 1].mean(), landmarks[57, 1]

    def around(drop, out):
        centres = eyes[:, :2] + unit * np.array([[-out, -drop], [out, -drop]])
        return np.min([np.linalg.norm(points[:, :2] - centre, axis=1) for centre in centres], axis=0) / unit

    return {
        "AU4": y > eye_y,  # corrugator and procerus: brows, glabella, forehead
        "AU6": around(0.3, 0.15) < 0.75,  # orbicularis, orbital part: the cheek below and beside the eye
        "AU7": around(0, 0) < 0.6,  # orbicularis, palpebral part
        "AU9": (x < 0.7) & (y < landmarks[17:27, 1].mean() + 0.15 * unit) & (y > lip_y),  # levator alaeque nasi
        "AU10": (x < 0.7) & (y < eye_y - 0.15 * unit) & (y > lip_y),  # levator labii superioris
        "AU43": around(0, 0) < 0.4,  # the lids
    }[au]


def _frontal_area(topology, points):
    faces = topology.faces[topology.materials == MATERIALS.index("skin")]
    a, b, c = (points[faces[:, corner]].astype(np.float64) for corner in range(3))
    area = np.maximum(np.cross(b - a, c - a)[:, 2], 0) / 2
    return np.bincount(faces.ravel(), np.repeat(area / 3, 3), len(points))


@pytest.mark.parametrize("aus", [[0, 0, 0, 0, 0, 1], [0, 0, 5, 0, 0, 1], [5, 5, 5, 5, 5, 1]])
def test_lids_close_on_everybody_and_the_eye_stays_behind_them(ict, aus):
    for identity in IDENTITIES:
        points = ict.deform(identity, rig.shape_weights(aus))
        for side, lids in ict._lids.items():
            opening = np.linalg.norm(lids.opening(points.astype(np.float64)), axis=1)
            assert opening[3:-3].max() < 0.5, (identity.id, side)  # mm, all but the very corners
        eye = points[ict.topology.landmarks[36:48]][:, 1].reshape(2, 6)
        assert (np.abs(eye[:, [1, 2]].mean(1) - eye[:, [4, 5]].mean(1)) < 1.0).all()  # the same by landmarks, in y
        assert not _eye_is_seen(ict.topology, points), identity.id
    assert _eye_is_seen(ict.topology, ict.neutral(IDENTITIES[0]))


def test_eyes_without_au43_stay_open(ict):
    for identity in IDENTITIES:
        neutral = ict.neutral(identity).astype(np.float64)
        squinting = ict.deform(identity, rig.shape_weights([5, 5, 5, 5, 5, 0])).astype(np.float64)
        for lids in ict._lids.values():
            middle = slice(len(lids.upper) // 2 - 2, len(lids.upper) // 2 + 3)
            at_rest, now = lids.opening(neutral)[middle, 1], lids.opening(squinting)[middle, 1]
            assert at_rest.min() > 5 and (now > 0.15 * at_rest).all() and (now < 0.7 * at_rest).all()


def _eye_is_seen(topology, points):
    """Draws frontal depth maps of skin and eyeballs, 3 points to the millimetre: is an eyeball in front of the skin?"""
    seen = False
    faces = {m: topology.faces[topology.materials == MATERIALS.index(m)] for m in ("skin", "eye")}
    for side in EYES.values():
        centre = points[topology.landmarks[side]].mean(0)
        near = {m: f[(np.abs(points[f].mean(1)[:, :2] - centre[:2]) < [18, 7]).all(1)] for m, f in faces.items()}
        depth = {m: _depth_map(points[f].astype(np.float64), centre) for m, f in near.items()}
        seen |= bool((depth["eye"] > depth["skin"] + 0.05).sum() > 2)
    return seen


def _depth_map(triangles, centre, per_mm=3, half=(14, 4)):
    height, width = 2 * half[1] * per_mm, 2 * half[0] * per_mm
    depth = np.full((height, width), -np.inf)
    flat = (triangles[:, :, :2] - centre[:2] + half) * per_mm
    here = ((flat.max(1) > 0) & (flat.min(1) < [width, height])).all(1)
    flat, triangles = flat[here], triangles[here]
    for (a, b, c), z in zip(flat, triangles[:, :, 2], strict=True):
        low = np.maximum(np.floor(np.min([a, b, c], 0)).astype(int), 0)
        high = np.minimum(np.ceil(np.max([a, b, c], 0)).astype(int) + 1, [width, height])
        double_area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if (high <= low).any() or abs(double_area) < 1e-9:
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        u = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / double_area
        v = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / double_area
        inside = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6)
        surface = np.where(inside, z[0] + u * (z[1] - z[0]) + v * (z[2] - z[0]), -np.inf)
        window = depth[low[1] : high[1], low[0] : high[0]]
        np.maximum(window, surface, out=window)
    return depth


def test_eyeballs_are_round_and_follow_the_face(ict):
    """The template's eyeballs looked at by eye material; each identity's are shifted and scaled copies of them."""
    topology = ict.topology
    eye = np.unique(topology.faces[topology.materials == MATERIALS.index("eye")])
    for sign, side in ((-1, "R"), (1, "L")):
        ball = eye[np.sign(topology.template[eye, 0]) == sign]
        rest = topology.template[ball].astype(np.float64)
        pole = rest[rest[:, 2].argmax()]
        assert np.linalg.norm(pole[:2] - topology.template[topology.landmarks[EYES[side]]].mean(0)[:2]) < IRIS_RADIUS
        for identity in IDENTITIES[:10]:
            neutral = ict.neutral(identity).astype(np.float64)
            points = neutral[ball]
            scale = np.sqrt(points.var(0).sum() / rest.var(0).sum())
            np.testing.assert_allclose(points - points.mean(0), scale * (rest - rest.mean(0)), atol=1e-3)
            lid = neutral[topology.landmarks[EYES[side]]].mean(0)
            assert np.linalg.norm(points[rest[:, 2].argmax()][:2] - lid[:2]) < 8
            closed = ict.deform(identity, rig.shape_weights([5, 5, 5, 5, 5, 1]))
            np.testing.assert_array_equal(closed[ball], neutral[ball].astype(np.float32))


def test_deform_is_fast(ict):
    weights = rig.shape_weights([3, 3, 3, 3, 3, 1])
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        ict.deform(IDENTITIES[0], weights)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
