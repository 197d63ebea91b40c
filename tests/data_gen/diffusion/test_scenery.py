"""Frames with the real pipelines and random weights around their faces: labels, faces, records, whatever the batch."""

import dataclasses
import logging

import numpy as np
import pytest

from data_gen import generate, plan, record, scene
from data_gen.contact_sheet import decoded
from data_gen.diffusion import album, pipelines, prompts, scenery
from data_gen.diffusion.backdrop import Shot
from data_gen.diffusion.config import ControlConfig, DiffusionConfig, InpaintConfig
from data_gen.generator_config import GeneratorConfig
from tests.data_gen.diffusion.test_painter import same_labels

SIZE = 64
PLAIN = GeneratorConfig("procedural", SIZE, texture_size=256, dataset_seed=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from tests.data_gen.diffusion import tiny_models

    where = tmp_path_factory.mktemp("models")
    return (*tiny_models.write(where, "sd"), tiny_models.write_controlnet(where / "normal", "sd", seed=1))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of processes that paint: tests share the cores
    pipelines._loaded.clear()


def painted(folders, check="none", batch=5, **changes) -> GeneratorConfig:
    model, depth, normal = folders
    backdrop = InpaintConfig(**{"size": 64, "steps": 2, "tries": 2, "batch": batch} | changes)
    diffusion = DiffusionConfig(
        model, depth, size=64, steps=1, tries=1, batch=2, check=check, backdrop=backdrop,
        more_controls=(ControlConfig("normal", normal),),
    )  # fmt: skip
    return dataclasses.replace(PLAIN, texture_backend="diffusion", diffusion=diffusion)


@pytest.fixture
def encoded(monkeypatch):
    """The pictures that go to the encoder of frames, in order."""
    pictures, jpeg = [], record.jpeg

    def keep(picture, quality):
        if quality != scenery.QUALITY:
            pictures.append(picture)
        return jpeg(picture, quality)

    monkeypatch.setattr(record, "jpeg", keep)
    return pictures


def without(config: GeneratorConfig) -> GeneratorConfig:
    return dataclasses.replace(config, diffusion=dataclasses.replace(config.diffusion, backdrop=None))


SOME = [plan.example_seeds(2, 0, "pain")[i] for i in (0, 13, 26)]  # frontal, from the right, from the left


def some(config: GeneratorConfig) -> dict:
    return dict(generate._examples(config, 0, SOME))


def test_faces_and_labels_are_those_of_the_frames_without_backdrops(folders, encoded):
    """Up to the picture that is encoded, behind lens and noise; painted larger than the frame is."""
    config = painted(folders, size=128)
    frames, around = some(config), encoded[:]
    encoded.clear()
    plain = some(without(config))
    _, _, needed = plan.needed(SOME, config.neutral_variation)
    assert len(around) == len(encoded) == len(needed) == 6
    for key, frame in frames.items():
        same_labels(frame, plain[key])
        assert "backdrop" not in plain[key]
        told = frame["backdrop"]
        assert set(told) == {"kept", *record.BACKDROP}
        assert told["painted"] and told["neutral_painted"] and told["tries"] == 1 and not told["faults"]
        assert told["seed"] == prompts.backdrop_seed(scene.identity(2, 0), 0)
        assert told["model"] == folders[0] and told["revision"].startswith("sha256:")
        assert frame["portrait"]["more_controls"].startswith(f"normal: {folders[2]} sha256:")
        face, place = decoded(told["kept"]) > 0, [s.seed for s in needed].index(int(frame["seed"]))
        np.testing.assert_array_equal(around[place][face], encoded[place][face])
        assert (around[place] != encoded[place]).any(-1)[~face].mean() > 0.9
        assert face.mean() > 0.1


def test_a_frame_is_the_same_alone_and_in_other_batches(folders, monkeypatch, tmp_path):
    frames = some(painted(folders))
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "another"))
    key = list(frames)[1]
    alone = generate.regenerate(painted(folders, batch=2), SOME[1])
    difference = np.abs(decoded(alone["image"]).astype(int) - decoded(frames[key]["image"]))
    # Another size of batch takes another kernel, whose last bit may round a colour to the next, and thereby one of the
    # cosines that a block of JPEG is encoded with. Another photograph would differ everywhere.
    assert difference.mean() < 0.5 and difference.max() <= 20
    same_labels(alone, frames[key])


@pytest.mark.slow
def test_a_build_on_several_processes_paints_first_and_once(folders, caplog):
    config = painted(folders, batch=6, steps=1, strength=1.0)
    with caplog.at_level(logging.INFO):
        frames = dict(generate.generate(config, [0], workers=2))
        assert "backdrops: 36 painted, 0 found in the cache, 0 frames left" in caplog.text
        (path,) = album.files()
        assert len(album.read(path).frames) == 36
        again = dict(generate.generate(config, [0], workers=1))
    assert "backdrops: 0 painted, 36 found in the cache, 0 frames left" in caplog.text
    np.testing.assert_equal(again, frames)


def test_paintings_that_are_refused_leave_the_frames_as_rendered_aloud(folders, encoded, caplog):
    """Random weights do not give a face back: with checks, every frame falls back and says so."""
    config = painted(folders, check="geometry")
    with caplog.at_level(logging.WARNING):
        frames, pictures = some(config), encoded[:]
    assert "Identity 0: 6 of 6 frames keep their rendered background: 2 paintings of each" in caplog.text
    encoded.clear()
    plain = some(without(config))
    np.testing.assert_equal(pictures, encoded)
    for key, frame in frames.items():
        told = frame["backdrop"]
        assert frame["image"] == plain[key]["image"] and (decoded(told["kept"]) == 255).all()
        assert not told["painted"] and not told["neutral_painted"]
        assert told["tries"] == 2 and told["faults"] == "face is lost; face is lost"


class Forger:
    """Gives shots back with grey around the face, but nothing that is finite for seeds in `broken`."""

    about = {"pipeline": "forger"}

    def __init__(self, broken):
        self.broken, self.asked = broken, []

    def check_lengths(self, prompts): ...

    def paint(self, controls, texts, negatives, seeds, starts):
        self.asked.append(list(zip(seeds, map(id, starts), strict=True)))
        assert {*texts} == {texts[0]} and all(len(pictures) == 1 for pictures in controls)
        noise = np.random.default_rng(0).integers(90, 140, starts[0].picture.shape).astype(np.uint8)
        return [
            pipelines.Painting(None, "not finite") if (seed, i) in self.broken
            else pipelines.Painting(np.where(start.missing[..., None], noise, start.picture))
            for i, (seed, start) in enumerate(zip(seeds, starts, strict=True))
        ]  # fmt: skip


def test_only_refused_paintings_are_painted_again(monkeypatch, caplog):
    """The second of three frames is refused once, the third always."""
    person = scene.identity(2, 3)
    first, second = (prompts.backdrop_seed(person, attempt) for attempt in range(2))
    forger = Forger({(first, 1), (first, 2), (second, 1)})
    monkeypatch.setattr(pipelines, "load", lambda config, inpaint: forger)
    depth, kept = np.full((64, 64), 500.0, np.float32), np.zeros((64, 64), bool)
    kept[16:48, 16:48] = True
    shot = Shot(np.full((64, 64, 3), 120, np.uint8), kept, depth, 24.0, np.zeros((0, 2)))
    config = DiffusionConfig("a/b", "c/d", backdrop=InpaintConfig(size=64, tries=2))
    with caplog.at_level(logging.WARNING):
        made, about = scenery.paint([shot] * 3, person, 32, config)
    assert [len(asked) for asked in forger.asked] == [3, 2] and about == forger.about
    assert [(each.seed, each.faults, each.tries) for each in made] == [
        (first, (), 1), (second, ("not finite",), 2), (second, ("not finite",) * 2, 2),
    ]  # fmt: skip
    assert decoded(made[0].painting).shape == (32, 32, 3) and made[2].painting is None
    assert "Identity 3: 1 of 3 frames keep their rendered background" in caplog.text
    report = scenery.Report()
    for each in made:
        report.count(each)
    assert str(report) == (
        "backdrops: 2 painted, 0 found in the cache, 1 frames left with their rendered background; paintings refused: "
        "not finite 3"
    )
