import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import student, teacher
from painjax.data import transforms


@pytest.fixture
def config():
    return student.get_config("test")


def still(config):
    """Switches every augmentation off."""
    with config.unlocked():
        config.data.augment.update({name: 0.0 for name in config.data.augment})
        config.data.drop_neutral = 0.0
    return config


def make_batch(n=6, size=32, channels=("image", "neutral_image", "heatmap")):
    rng = np.random.default_rng(0)
    width = {"image": 3, "neutral_image": 3, "heatmap": 1}
    pixels = {name: rng.integers(0, 256, (n, size, size, width[name]), dtype=np.uint8) for name in channels}
    numbers = {"index": np.arange(n, dtype=np.int32) + 10, "row": np.arange(n, dtype=np.int32)}
    numbers |= {"pspi": np.zeros(n, np.float32)}
    return pixels | numbers | {"flip": np.zeros(n, bool)}


def test_evaluation_only_normalises(config):
    batch = make_batch()
    out = transforms.prepare(batch, config)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(out["image"], (batch["image"] / 255 - mean) / std, atol=1e-5)
    np.testing.assert_allclose(out["neutral"], (batch["neutral_image"] / 255 - mean) / std, atol=1e-5)
    np.testing.assert_allclose(out["heatmap"], batch["heatmap"] / 255, atol=1e-6)
    assert out["neutral_valid"].all()


def test_imported_weights_bring_their_own_normalisation_of_pictures(config):
    figures = {"image_mean": (0.5, 0.4, 0.3), "image_std": (0.5, 0.25, 0.125)}
    with config.unlocked():
        config.data.update(figures)
    batch = make_batch()
    for data in (config.data, ConfigDict(json.loads(config.data.to_json()))):  # as given, and as saved
        config.data = data
        out = transforms.prepare(batch, config)
        for name, field in (("image", "image"), ("neutral", "neutral_image")):
            expected = (batch[field] / 255 - np.array([0.5, 0.4, 0.3])) / np.array([0.5, 0.25, 0.125])
            np.testing.assert_allclose(out[name], expected, atol=1e-5)
        np.testing.assert_allclose(out["heatmap_input"], (batch["heatmap"] / 255 - 0.1) / 0.2, atol=1e-5)
        assert hash(transforms.normalisation(data, "image")) is not None  # fit for a static argument of jit


def test_the_teacher_gets_the_heatmap_as_its_image():
    config = teacher.get_config("test")
    batch = make_batch(channels=("heatmap",))
    out = transforms.prepare(batch, config)
    np.testing.assert_allclose(out["image"], (batch["heatmap"] / 255 - 0.1) / 0.2, atol=1e-5)
    np.testing.assert_array_equal(out["image"], out["heatmap_input"])
    assert out["neutral"] is None and out["neutral_valid"] is None


def test_other_sizes_are_scaled_to_the_models(config):
    batch = make_batch(n=1, size=64)
    batch["image"][:] = 51
    out = transforms.prepare(batch, config)
    assert out["image"].shape == (1, 32, 32, 3) and out["heatmap"].shape == (1, 32, 32, 1)
    np.testing.assert_allclose(out["image"][0, :, :, 0], (0.2 - 0.485) / 0.229, atol=1e-5)


def test_augmentation_of_strength_zero_changes_nothing(config):
    batch = make_batch()
    plain, augmented = (transforms.prepare(batch, still(config), key) for key in (None, jax.random.key(0)))
    for name in ("image", "neutral", "heatmap"):
        np.testing.assert_allclose(augmented[name], plain[name], atol=1e-5)


def test_a_flip_mirrors_all_pictures_of_the_frame(config):
    batch = make_batch() | {"flip": np.arange(6) % 2 == 1}
    plain, flipped = (transforms.prepare(batch, still(config), key) for key in (None, jax.random.key(0)))
    for name in ("image", "neutral", "heatmap"):
        np.testing.assert_allclose(flipped[name][::2], plain[name][::2], atol=1e-5)
        np.testing.assert_allclose(flipped[name][1::2], plain[name][1::2, :, ::-1], atol=1e-5)


def test_a_mirrored_heatmap_is_exactly_the_mirrored_one(config):
    """So that what a teacher has said of it before is what it would say in the step."""
    batch = make_batch() | {"flip": np.ones(6, bool)}
    plain, flipped = (transforms.prepare(batch, still(config), key) for key in (None, jax.random.key(0)))
    np.testing.assert_array_equal(flipped["heatmap_input"], plain["heatmap_input"][:, :, ::-1])


def test_heatmap_and_neutral_move_with_the_image(config):
    for name in ("brightness", "contrast", "saturation", "tint", "noise"):
        config.data.augment[name] = 0.0
    batch = make_batch()
    batch["neutral_image"] = batch["image"]
    batch["heatmap"] = batch["image"][..., :1]
    out = transforms.prepare(batch, config, jax.random.key(0))
    np.testing.assert_allclose(out["neutral"], out["image"], atol=1e-5)
    np.testing.assert_allclose(out["heatmap"][..., 0], out["image"][..., 0] * 0.229 + 0.485, atol=1e-5)
    assert not np.allclose(out["heatmap"], batch["heatmap"] / 255, atol=0.05)


def test_image_and_neutral_share_colours_but_not_noise_and_the_heatmap_is_spared(config):
    for name in ("shift", "scale"):
        config.data.augment[name] = 0.0
    batch = make_batch()
    batch["neutral_image"] = batch["image"]
    noisy = transforms.prepare(batch, config, jax.random.key(0))
    assert np.abs(noisy["image"] - noisy["neutral"]).mean() > 0.01
    config.data.augment.noise = 0.0
    out = transforms.prepare(batch, config, jax.random.key(0))
    np.testing.assert_allclose(out["image"], out["neutral"], atol=1e-6)
    plain = transforms.prepare(batch, config)
    assert np.abs(out["image"] - plain["image"]).mean() > 0.05
    np.testing.assert_allclose(out["heatmap"], batch["heatmap"] / 255, atol=1e-5)


def test_augmentation_of_a_frame_does_not_depend_on_where_its_row_lies(config):
    batch = make_batch()
    turned = {name: value[::-1] for name, value in batch.items()}
    key = jax.random.key(5)
    first, second = transforms.prepare(batch, config, key), transforms.prepare(turned, config, key)
    for name in ("image", "neutral", "neutral_valid", "heatmap"):
        np.testing.assert_allclose(first[name], second[name][::-1], atol=1e-6)
    assert not np.allclose(first["image"], transforms.prepare(batch, config, jax.random.key(6))["image"])


def test_a_frame_that_stands_twice_in_a_batch_is_changed_in_two_ways(config):
    config.data.augment.flip = 0.0
    batch = make_batch(n=2)
    twice = {name: value[[0, 0]] for name, value in batch.items()} | {"row": batch["row"]}
    out = transforms.prepare(twice, config, jax.random.key(0))
    for name in ("image", "neutral", "heatmap"):
        assert np.abs(out[name][0] - out[name][1]).max() > 0.1


def test_neutral_references_are_dropped_as_often_as_asked(config):
    config.data.drop_neutral = 0.25
    batch = make_batch(n=2000, size=2)
    config.model.image_size = 2
    dropped = 1 - transforms.prepare(batch, config, jax.random.key(0))["neutral_valid"].mean()
    assert 0.2 < dropped < 0.3
