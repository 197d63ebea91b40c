"""What belongs together changes together; what is a label, only where it should."""

import jax
import numpy as np
import pytest

from configs import student
from painjax.data import transforms
from painjax.pspi import AU_MAX, pspi

KEY = jax.random.key(0)


@pytest.fixture
def config():
    """Every augmentation off."""
    config = student.get_config("test")
    config.data.augment.update({name: 0.0 for name in config.data.augment})
    config.data.drop_neutral = 0.0
    return config


def make_batch(n=4, size=32, **fields):
    rng = np.random.default_rng(0)
    width = {"image": 3, "neutral_image": 3, "heatmap": 1}
    pixels = {name: rng.integers(0, 256, (n, size, size, channels), np.uint8) for name, channels in width.items()}
    labels = {"aus": rng.integers(0, 2, (n, 6)).astype(np.float32), "index": np.arange(n, dtype=np.int32)}
    labels["row"] = labels["index"]
    return pixels | labels | {"pspi": np.asarray(pspi(labels["aus"])), "flip": np.zeros(n, bool)} | fields


def test_landmarks_move_with_the_pixels_under_all_geometry_at_once(config):
    config.data.augment.update({"shift": 0.05, "scale": 0.2, "rotation": 30.0})
    rows, columns = np.mgrid[:64, :64] + 0.5
    landmarks = np.random.default_rng(1).uniform(22, 42, (4, 68, 2)).astype(np.float32)
    dots = np.exp(-((columns - landmarks[:, 5, 0, None, None]) ** 2 + (rows - landmarks[:, 5, 1, None, None]) ** 2) / 8)
    batch = make_batch(size=64, landmarks=landmarks, landmarks_visible=np.ones((4, 68), bool))
    batch["heatmap"] = (255 * dots[..., None]).astype(np.uint8)
    batch["flip"] = np.array([False, True, False, True])
    config.model.image_size = 32  # half of what is stored
    out = transforms.prepare(batch, config, KEY)
    seen = np.asarray(out["heatmap"])[..., 0]
    rows, columns = np.mgrid[:32, :32] + 0.5
    point = [5, 11, 5, 11]  # of the jaw, which a mirror turns round
    for row in range(4):
        found = np.array([(seen[row] * columns).sum(), (seen[row] * rows).sum()]) / seen[row].sum()
        np.testing.assert_allclose(found, out["landmarks"][row, point[row]], atol=0.1)
    assert out["landmarks_visible"].all()


def test_only_the_frame_is_erased(config):
    config.data.augment.erase = 1.0
    batch = make_batch()
    plain, out = transforms.prepare(batch, config), transforms.prepare(batch, config, KEY)
    assert (np.abs(out["image"] - plain["image"]) > 1e-3).any(axis=(1, 2, 3)).all()
    for name in ("neutral", "heatmap", "aus", "pspi"):
        np.testing.assert_allclose(out[name], plain[name], atol=1e-5)


def test_blur_spares_the_heatmap(config):
    config.data.augment.blur = 0.1
    batch = make_batch()
    plain, out = transforms.prepare(batch, config), transforms.prepare(batch, config, KEY)
    assert np.asarray(out["image"]).std() < 0.8 * np.asarray(plain["image"]).std()
    assert np.asarray(out["neutral"]).std() < 0.8 * np.asarray(plain["neutral"]).std()
    np.testing.assert_allclose(out["heatmap"], plain["heatmap"], atol=1e-6)


def test_several_neutral_references_share_the_geometry_and_are_dropped_together(config):
    several = np.random.default_rng(2).integers(0, 256, (200, 3, 8, 8, 3), np.uint8)
    batch = make_batch(n=200, size=8, neutral_image=several)
    config.model.image_size = 8
    out = transforms.prepare(batch, config, KEY)
    assert out["neutral"].shape == (200, 3, 8, 8, 3)
    np.testing.assert_allclose(out["neutral"], transforms.prepare(batch, config)["neutral"], atol=1e-5)
    config.data.augment.update({"shift": 0.2, "rotation": 20.0})
    config.data.drop_neutral = 0.5
    batch["neutral_image"] = np.repeat(batch["image"][:, None], 3, axis=1)
    out = transforms.prepare(batch, config, KEY)
    for k in range(3):
        np.testing.assert_allclose(out["neutral"][:, k], out["image"], atol=1e-5)
    valid = np.asarray(out["neutral_valid"])
    assert (valid.all(axis=1) | ~valid.any(axis=1)).all() and 0.35 < valid.mean() < 0.65


def test_label_noise_is_as_strong_as_asked_in_training_only_and_pspi_follows(config):
    config.data.label_noise = 0.5
    config.model.image_size = 2
    n = 3000
    middle = np.tile(np.array(AU_MAX, np.float32) / 2, (n, 1))
    batch = make_batch(n=n, size=2, aus=middle, pspi=np.asarray(pspi(middle)))
    plain, out = transforms.prepare(batch, config), transforms.prepare(batch, config, KEY)
    np.testing.assert_array_equal(plain["aus"], middle)
    np.testing.assert_array_equal(plain["pspi"], batch["pspi"])
    error = np.asarray(out["aus"]) - middle
    np.testing.assert_allclose(error.std(axis=0), [0.5] * 5 + [0.1], rtol=0.06)
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(out["pspi"], pspi(np.asarray(out["aus"])), atol=1e-5)
    edge = transforms.prepare(batch | {"aus": 0 * middle}, config, KEY)["aus"]
    assert edge.min() == 0 and 0.4 < (np.asarray(edge) == 0).mean() < 0.6
    again = transforms.prepare({name: x[::-1] for name, x in batch.items()}, config, KEY)
    np.testing.assert_array_equal(again["aus"][::-1], out["aus"])  # by the frame, not by its row
    other = transforms.prepare(batch, config, jax.random.key(1))["aus"]
    assert not np.array_equal(other, out["aus"])
