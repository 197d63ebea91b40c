"""Refused portraits are painted again, then given up aloud; what is painted stays painted, whoever is killed."""

import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_gen import scene
from data_gen.diffusion import cache, pipelines, prompts, studio
from data_gen.diffusion.config import DiffusionConfig
from data_gen.textures import paint
from tests.data_gen.diffusion.conftest import SIZE, seat

CONFIG = DiffusionConfig("org/model", "org/depth", revision="a", controlnet_revision="b", size=SIZE, tries=3, batch=2)
PEOPLE = [scene.identity(3, i) for i in (0, 3, 6)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path))


class Forger:
    """Paints the right portrait for a seed in `right`, and noise for any other."""

    about = {"pipeline": "forger"}

    def __init__(self, right: dict[int, np.ndarray]):
        self.right, self.asked = right, []

    def check_lengths(self, prompts): ...

    def paint(self, controls, texts, negatives, seeds):
        self.asked.append(list(seeds))
        noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        return [pipelines.Painting(self.right.get(seed, noise)) for seed in seeds]


@pytest.fixture(scope="module")
def portraits(model, renderer):
    made = []
    for person in PEOPLE:
        sitter = seat(model, renderer, person, 256)
        made.append(sitter.render(paint("procedural", person, model, 256)))
    return made


def entry(person, model):
    shaping = studio.shaping(person, model.name, CONFIG)
    return cache.load(shaping, model.neutral(person)[model.topology.landmarks])


def test_redrawn_until_it_passes_and_given_up_aloud(model, portraits, monkeypatch, caplog):
    """The first person's portrait passes at once, the second's at the third try, the third's never."""
    first, second, third = PEOPLE
    forger = Forger({prompts.seed(first, 0): portraits[0], prompts.seed(second, 2): portraits[1]})
    monkeypatch.setattr(pipelines, "load", lambda config: forger)
    with caplog.at_level(logging.WARNING):
        report = studio.paint_missing(PEOPLE, model, CONFIG)
    (fault,) = report.faults
    assert report == studio.Report(found=0, painted=2, procedural=1, faults={fault: 5})
    assert sorted(seed for batch in forger.asked for seed in batch) == sorted(
        [prompts.seed(first, 0)] + [prompts.seed(p, i) for p in (second, third) for i in range(3)]
    )
    assert max(map(len, forger.asked)) == CONFIG.batch
    assert f"Identity {third.id} stays procedural: 3 portraits were refused" in caplog.text
    assert "2 painted, 0 found in the cache, 1 identities left procedural" in str(report)
    np.testing.assert_array_equal(entry(first, model).portrait, portraits[0])
    np.testing.assert_array_equal(entry(second, model).portrait, portraits[1])
    told = entry(second, model).record
    assert (told["tries"], told["faults"], told["seed"]) == (3, [fault] * 2, prompts.seed(second, 2))
    assert entry(third, model).portrait is None
    assert entry(third, model).record["seed"] == prompts.seed(third, 2)

    forger.asked.clear()  # a second run paints nothing, and still says who is procedural
    assert studio.paint_missing(PEOPLE, model, CONFIG) == studio.Report(2, 0, 1, {})
    assert not forger.asked


_PROGRAM = """
import sys
from data_gen import face_models, scene
from data_gen.diffusion import sources, studio
from data_gen.diffusion.config import DiffusionConfig
from tests.data_gen.diffusion import tiny_models
config = sources.pinned(DiffusionConfig(sys.argv[1], sys.argv[2], size=64, steps=1, batch=1, check="none"))
people = [scene.identity(0, i) for i in range(8)]
print(studio.paint_missing(people, face_models.load("procedural"), config))
"""


@pytest.mark.slow
def test_a_studio_killed_at_work_goes_on_where_it_was(tmp_path):
    from tests.data_gen.diffusion import tiny_models

    command = [sys.executable, "-c", _PROGRAM, *tiny_models.write(tmp_path / "models", "sd")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(cache.entries())) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the studio ended before it could be killed"
    kept = {path: path.stat().st_mtime_ns for path in cache.entries()}
    assert 2 <= len(kept) < 8
    for path in kept:
        assert cache.read(path).portrait.shape == (64, 64, 3)

    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{8 - len(kept)} painted, {len(kept)} found in the cache, 0 identities left procedural" in done.stdout
    assert len(list(cache.entries())) == 8
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())

    again = {path: cache.read(path).portrait for path in cache.entries()}
    for path in again:  # whole, and the same as without any kill
        path.unlink()
    subprocess.run(command, capture_output=True, check=True)
    for path, portrait in again.items():
        np.testing.assert_array_equal(cache.read(path).portrait, portrait)
