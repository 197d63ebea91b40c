"""The generator's benchmark: what it reports, and that its parts add up."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data_gen import face_models, plan, rooms, stage_times
from data_gen.generator_config import GeneratorConfig
from data_gen.naive_loop import NaiveLoop
from data_gen.textures import Texture

ROOT = Path(__file__).resolve().parents[2]
CONFIG = GeneratorConfig("procedural", 64, texture_size=64)


def test_stages_are_those_of_the_issue_and_leave_little_unaccounted():
    seconds = stage_times.identity_seconds(CONFIG, 1)
    assert {"deform", "texture", "render", "heatmap", "encode", "other"} <= set(seconds)
    assert all(value >= 0 for value in seconds.values())
    assert seconds["other"] < 0.5 * sum(seconds.values())


def naive_frame():
    model, scene = face_models.load("procedural"), plan.scenes(0, 1)[4]
    neutral = model.neutral(scene.identity)
    texture = Texture(np.full((64, 64, 3), 180, np.uint8))
    surroundings = rooms.panorama(scene.identity.seed, scene.room)
    return NaiveLoop(model, 64).frame(scene, neutral, texture, surroundings)


def test_naive_loop_draws_a_face():
    """In a process of its own: where pyrender's own renderer ends, it takes all contexts of its process with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        frame = pool.submit(naive_frame).result()
    assert frame["landmarks"].shape == (68, 2) and frame["landmarks_visible"].sum() > 40
    assert frame["image"][:2] == b"\xff\xd8" and frame["mask"][:4] == b"\x89PNG"


@pytest.mark.slow
def test_json_has_what_the_issue_asks_for():
    command = "-m data_gen.benchmark --size=32 --texture_size=64 --identities=1 --workers=1 --json".split()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert {"frames_per_second", "ratio_vs_naive_per_core", "workers", "stages"} <= set(result)
    assert {"deform", "texture", "render", "heatmap", "encode", "write"} <= set(result["stages"])
    assert result["frame_ms"] == pytest.approx(
        sum(ms for name, ms in result["stage_ms"].items() if name != "write"), rel=1e-6
    )
    assert result["workers"] == 1 and result["peak_memory_mib"] < 2048


def test_nonsense_is_refused():
    from data_gen.benchmark import benchmark

    with pytest.raises(ValueError, match="identities is 0 and workers is 1; expected at least 1 of each"):
        benchmark(CONFIG, 0, 1)
