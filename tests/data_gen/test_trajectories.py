"""Clips as movements: when they start, how fast they go, what the lids do."""

import collections

import numpy as np
import pytest

from data_gen import plan, trajectories
from data_gen.aus_sampling import systematic_pspi
from painjax.pspi import AU_NAMES, pspi

PEOPLE = 24


@pytest.fixture(scope="module")
def clips():
    """{(identity, clip): 24 scenes}."""
    found = collections.defaultdict(list)
    for index in range(PEOPLE):
        for s in plan.scenes(0, index, "clips"):
            found[index, s.expression_id - plan.FIRST_CLIP].append(s)
    return found


def aus_of(frames):
    return np.array([s.aus for s in frames])  # [24, 6]


def test_two_seconds_at_twelve_frames(clips):
    assert len(clips) == PEOPLE * trajectories.CLIPS
    for frames in clips.values():
        assert [s.clip.frame for s in frames] == list(range(24))
        np.testing.assert_allclose([s.clip.time for s in frames], np.arange(24) / 12)
        assert len({(s.clip.id, s.view, s.asymmetry, s.light, s.lens) for s in frames}) == 1
    assert len({frames[0].clip.id for frames in clips.values()}) == len(clips)


def test_clips_start_and_end_at_rest(clips):
    for frames in clips.values():
        assert frames[0].kind == "neutral" and frames[0].others == () and not any(frames[0].aus)
        assert max(frames[-1].aus[:5]) < 1.5 and frames[-1].aus[5] == 0


def test_pain_clips_reach_their_score_exactly_and_all_scores_occur(clips):
    peaks, exact = collections.Counter(), 0
    for (index, number), frames in clips.items():
        if trajectories.PROGRAMS[number] == "pain":
            place = (trajectories.PAINFUL.index(number) + index) % 4
            target = systematic_pspi(0, index, place, 4)
            peak = pspi(aus_of(frames)).max()
            assert target <= peak <= target + 1, (index, number)  # a blink on top counts one
            exact += peak == target
            peaks[target] += 1
    assert set(peaks) == set(range(1, 17)) and exact > 0.6 * peaks.total()


def test_movements_are_smooth_and_rise_faster_than_they_fall(clips):
    rises, falls = [], []
    for (_, number), frames in clips.items():
        if trajectories.PROGRAMS[number] != "pain":
            continue
        aus = aus_of(frames)[:, :5]
        peak = aus.max(0)
        steps = np.diff(aus, axis=0)
        assert (np.abs(steps) <= 0.85 * peak + 0.011).all()  # no unit jumps in a frame
        for unit in np.flatnonzero(peak):
            path = aus[:, unit]
            top = np.flatnonzero(path >= peak[unit] - 0.01)
            assert (np.diff(path[: top[0] + 1]) >= 0).all() and (np.diff(path[top[-1] :]) <= 0).all()
            rises.append(((path > 0.05 * peak[unit]) & (np.arange(24) < top[0])).sum())
            falls.append(((path > 0.05 * peak[unit]) & (np.arange(24) > top[-1])).sum())
    assert np.mean(rises) < 0.7 * np.mean(falls)


def test_lids_are_open_or_shut_and_blinks_last_a_frame_or_two(clips):
    blinks = 0
    for (_, number), frames in clips.items():
        lids = aus_of(frames)[:, AU_NAMES.index("AU43")]
        assert set(lids) <= {0.0, 1.0}
        blinking = [s for s in frames if s.expression == "blink"]
        assert len(blinking) <= 2 and all(s.aus == (0, 0, 0, 0, 0, 1) and s.others == () for s in blinking)
        blinks += bool(blinking)
        if trajectories.PROGRAMS[number] == "pain":
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lids, [0]]))))[::2]
            assert len(runs) <= 2
    assert blinks


def test_each_frame_is_named_by_what_moves(clips):
    for (_, number), frames in clips.items():
        program, kinds = trajectories.PROGRAMS[number], {s.kind for s in frames}
        own = {"pain": {"pain"}, "distractor": {"distractor"}, "mixed": {"distractor", "pain"}}[program] | {"neutral"}
        assert own <= kinds <= own | {"distractor"}  # a blink while nothing else moves is a distractor in any clip
        for s in frames:
            assert (s.kind == "neutral") == (not any(s.aus) and not s.others)
            assert (s.expression in ("neutral", "pain")) == (s.kind != "distractor")
    names = {s.expression for frames in clips.values() for s in frames}
    assert names == set(plan.EXPRESSION_NAMES)


def test_a_blink_before_or_after_the_pain_is_no_pain(clips):
    """Pain begins once and ends once, whatever the lids do besides; a smile with a blink is a smile."""
    smiles_with_blink = 0
    for (_, number), frames in clips.items():
        if trajectories.PROGRAMS[number] == "distractor":
            continue
        pain = np.array([s.kind == "pain" for s in frames])
        assert np.abs(np.diff(pain.astype(int))).sum() <= 2
        before = frames[: int(np.argmax(pain))]
        smiles_with_blink += sum(s.expression == "smile" and s.aus[5] == 1 for s in before)
    assert smiles_with_blink


def test_a_speaking_mouth_opens_several_times(clips):
    spoken = [f for f in clips.values() if any(s.expression == "speech" for s in f)]
    openings = []
    for frames in spoken:
        path = np.array([dict(s.others).get("AU25", 0.0) for s in frames])
        inner = path[1:-1]
        openings.append(((inner > path[:-2]) & (inner >= path[2:])).sum())
    assert spoken and np.mean(openings) >= 3
