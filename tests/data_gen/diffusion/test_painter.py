"""The backend in the generator: what it changes is the skin's colours, and nothing that a label says."""

import dataclasses
import logging

import numpy as np
import pytest

from data_gen import scene
from data_gen.contact_sheet import decoded
from data_gen.diffusion import cache, painter, studio
from data_gen.diffusion.config import DiffusionConfig
from data_gen.generate import generate, identity_examples, regenerate
from data_gen.generator_config import GeneratorConfig
from data_gen.record import PORTRAIT
from data_gen.textures import paint
from tests.data_gen.diffusion.conftest import SIZE, seat

CONFIG = DiffusionConfig("org/model", "org/depth", revision="a", controlnet_revision="b", size=SIZE)
PLAIN = GeneratorConfig("procedural", 64, texture_size=256, dataset_seed=2)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("data_gen.diffusion.sources.pinned", lambda config: config)


@pytest.fixture
def folders(tmp_path):
    from tests.data_gen.diffusion import tiny_models

    return tiny_models.write(tmp_path / "models", "sd")


def keep(person, model, sitter, portrait) -> None:
    told = {"painted": portrait is not None, "tries": 2, "faults": ["blank"], "seed": 11, "about": {}}
    marks = sitter.neutral[model.topology.landmarks]
    cache.save(studio.shaping(person, model.name, CONFIG), cache.Entry(portrait, sitter.sitting, marks, told))


def test_a_portrait_becomes_the_texture_and_says_where_it_is_from(model, renderer):
    person = scene.identity(0, 6)
    sitter = seat(model, renderer, person)
    other = paint("procedural", dataclasses.replace(person, seed=person.seed + (777 << 16)), model, 512)
    keep(person, model, sitter, sitter.render(dataclasses.replace(sitter.base, albedo=other.albedo)))
    got = painter.paint(person, model, 512, CONFIG)
    assert set(got.origin) == set(PORTRAIT)
    assert got.origin["painted"] and got.origin["prompt"].startswith("passport photo of a 37 year old East Asian woman")
    assert (got.origin["seed"], got.origin["tries"], got.origin["revision"]) == (11, 2, "a")
    changed = (got.albedo != sitter.base.albedo).any(-1)
    assert changed.mean() > 0.1
    for name in ("roughness", "surface", "wrinkles", "displacement"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sitter.base, name))


def test_an_identity_without_a_portrait_is_procedural_and_says_so(model, renderer):
    person = scene.identity(0, 6)
    sitter = seat(model, renderer, person)
    keep(person, model, sitter, None)
    got = painter.paint(person, model, 512, CONFIG)
    np.testing.assert_array_equal(got.albedo, sitter.base.albedo)
    assert not got.origin["painted"]


LABELS = ("heatmap", "heatmap_frontal", "mask", "aus", "pspi", "landmarks", "landmarks_visible", "seed")


def same_labels(a, b) -> None:
    for name in LABELS:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def painted_config(folders, **changes) -> GeneratorConfig:
    settings = DiffusionConfig(*folders, **{"size": 64, "steps": 1, "tries": 2, "batch": 2, "check": "none"} | changes)
    return dataclasses.replace(PLAIN, texture_backend="diffusion", diffusion=settings)


@pytest.mark.slow
def test_a_build_with_random_weights_changes_pictures_and_no_label(folders, monkeypatch):
    monkeypatch.undo()  # the real pins
    monkeypatch.setenv("PAINJAX_CACHE", folders[0] + "_cache")
    config = painted_config(folders)
    frames = dict(generate(config, [0, 1], workers=2))
    plain = dict(identity_examples(PLAIN, 0) + identity_examples(PLAIN, 1))
    assert list(frames) == list(plain)
    for key, frame in frames.items():
        same_labels(frame, plain[key])
        assert frame["portrait"]["painted"] and frame["portrait"]["tries"] == 1
        assert frame["portrait"]["revision"].startswith("sha256:")
        assert "portrait" not in plain[key]
    key = next(iter(frames))
    assert (decoded(frames[key]["image"]) != decoded(plain[key]["image"])).any()
    again = regenerate(config, int(frames[key]["seed"]))
    assert again["image"] == frames[key]["image"] and again["portrait"] == frames[key]["portrait"]


@pytest.mark.slow
def test_pictures_that_are_no_faces_leave_the_identity_procedural_aloud(folders, monkeypatch, caplog):
    monkeypatch.undo()
    monkeypatch.setenv("PAINJAX_CACHE", folders[0] + "_cache")
    with caplog.at_level(logging.WARNING):
        frames = dict(generate(painted_config(folders, check="geometry"), [0], workers=1))
    assert "1 identities left procedural; pictures refused:" in caplog.text
    for key, plain in identity_examples(PLAIN, 0):
        assert frames[key]["image"] == plain["image"]
        assert not frames[key]["portrait"]["painted"] and frames[key]["portrait"]["tries"] == 2
