"""Plans: which frames there are, and that a seed gives each back."""

import collections

import numpy as np
import pytest

from data_gen import plan, sessions, views
from data_gen.scene import pack_seed, unpack_seed


def test_frames_of_each_plan():
    counts = {name: len(plan.scenes(0, 3, name)) for name in plan.PLANS}
    assert counts == {"pain": 11 * 3, "distractors": 10 * 3, "clips": 6 * 24}
    assert all(plan.frames_per_identity(name) == count for name, count in counts.items())


def test_an_unknown_plan_is_refused():
    with pytest.raises(ValueError, match="plan is 'smiles'; expected one of pain, distractors, clips"):
        plan.example_seeds(0, 0, "smiles")


@pytest.mark.parametrize(
    "frame",
    [(12, 0), (0, 3), (11, 3), (31, 0), (42, 0), (33, 3), (127, 0), (134, 0), (128, 24), (128, 254), (255, 255)],
)
def test_seeds_of_no_frame_are_refused(frame):
    seed = pack_seed(0, 0, *frame)
    assert not plan.is_example(seed)
    with pytest.raises(
        ValueError, match=f"seed {seed} names expression {frame[0]}, view {frame[1]}, which no plan has"
    ):
        plan.scene(seed)


def test_seed_zero_is_a_seed_and_gives_the_first_frame_back():
    first = plan.scenes(0, 0)[0]
    assert first.seed == 0 and plan.scene(0) == plan.scene(np.uint64(0)) == first
    assert first.expression_id == 0 and first.view.id == 0


@pytest.mark.parametrize("name", plan.PLANS)
def test_a_frame_comes_back_from_its_seed_and_differs_from_all_others(name):
    frames = [frame for index in range(2) for frame in plan.scenes(5, index, name)]
    for frame in frames:
        assert plan.is_example(frame.seed) and plan.scene(frame.seed) == frame
        assert unpack_seed(frame.seed)[0] == 5
    assert len({frame.seed for frame in frames}) == len(frames) == len(set(frames))
    assert plan.scenes(5, 0, name)[1:] != plan.scenes(6, 0, name)[1:]


def test_plans_share_people_sessions_and_cameras():
    pain, distractors, clips = (plan.scenes(0, 7, name)[0] for name in plan.PLANS)
    assert pain.identity == distractors.identity == clips.identity
    assert pain.room == distractors.room == clips.room
    assert pain.view == distractors.view
    assert not {s.seed for n in ("distractors", "clips") for s in plan.scenes(0, 7, n)} & set(
        plan.example_seeds(0, 7, "pain")
    )


def test_one_expression_is_the_same_in_every_view_and_one_camera_the_same_for_every_expression():
    for name in ("pain", "distractors"):
        frames = plan.scenes(0, 4, name)
        by_take = collections.defaultdict(list)
        for frame in frames:
            by_take[frame.expression_id].append(frame)
        for take in by_take.values():
            assert len({(f.aus, f.asymmetry, f.others, f.kind) for f in take}) == 1
            assert [f.view.id for f in take] == [0, 1, 2]
        assert len({frame.view for frame in frames}) == 3
        assert len({(frame.identity, frame.room) for frame in frames}) == 1


@pytest.mark.parametrize("name", plan.PLANS)
def test_the_neutral_reference_is_at_rest_in_the_same_session_before_the_same_camera(name):
    for frame in plan.scenes(0, 2, name):
        reference = plan.scene(plan.reference_seed(frame.seed))
        assert reference.kind == reference.expression == "neutral"
        assert reference.aus == (0.0,) * 6 and reference.others == () and reference.clip is None
        assert (reference.identity, reference.view, reference.room) == (frame.identity, frame.view, frame.room)
        assert reference.light.rig == frame.light.rig and reference.light.kelvin == frame.light.kelvin
        for setting in ("warmth", "tint", "vignette", "jpeg_quality"):
            assert getattr(reference.lens, setting) == getattr(frame.lens, setting)
        assert reference.seed != frame.seed  # which makes the noise


def test_neutral_frames_are_still_unless_asked():
    for index in range(20):
        still, moving = (plan.scene(pack_seed(0, index), neutral_variation=v) for v in (False, True))
        assert still.others == () and still.aus == moving.aus == (0.0,) * 6
        assert moving.others and all(0 <= level < 1 for _, level in moving.others)  # below intensity A
        assert moving.kind == "neutral"


def test_rooms_and_light_belong_together():
    rigs = collections.Counter()
    for index in range(400):
        first = plan.scene(pack_seed(0, index))
        setting = sessions.SETTINGS[first.light.rig]
        rigs[first.light.rig] += 1
        assert first.room.kind in setting.rooms
        assert (first.light.rig in ("sun", "overcast")) == (first.room.kind in ("garden", "street"))
        if first.light.rig == "lamp":
            assert first.light.kelvin < 3300 and first.room.kelvin < 3900 and first.room.brightness < 0.4
        outdoors = first.room.kind in ("garden", "street")
        assert first.room.kelvin == (first.light.kelvin if outdoors else first.light.fill_kelvin)
    assert set(rigs) == set(sessions.RIGS) and min(rigs.values()) > 30
    assert {room for s in sessions.SETTINGS.values() for room in s.rooms} == set(sessions.ROOMS)


def test_a_session_keeps_its_light_but_for_a_little_drift():
    for index in range(20):
        lights = [frame.light for frame in plan.scenes(0, index)]
        assert len(set(lights)) == 11  # the views of an expression share theirs
        azimuths = np.array([light.key_azimuth for light in lights])
        assert np.ptp(azimuths) <= 2 * sessions.AZIMUTH_DRIFT
        for field in ("key", "fill", "ambient", "rim"):
            strengths = np.array([getattr(light, field) for light in lights])
            assert strengths.max() / strengths.min() < 1.07
    clips = plan.scenes(0, 3, "clips")
    assert len({frame.light for frame in clips}) == 6  # pictures of a clip do not flicker


def test_cameras_stay_in_their_ranges():
    for index in range(60):
        for frame in plan.scenes(0, index)[:3]:
            view = frame.view
            assert abs(view.yaw - (0, -40, 40)[view.id]) <= 6 and abs(view.pitch) <= 7 and abs(view.roll) <= 6
            assert views.FOV[0] <= view.fov <= views.FOV[1] and views.FILL[0] <= view.fill <= views.FILL[1]
