import jax
import numpy as np
import pytest

from configs import student
from painjax import console
from painjax.bench import host_augment, input
from painjax.data.pipeline import train_batches
from painjax.data.transforms import prepare


@pytest.fixture
def config(synthetic_dataset):
    config = student.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    return config


@pytest.mark.slow
def test_every_stage_is_measured_and_shown(config, monkeypatch):
    monkeypatch.setattr(input, "LAYOUTS", ((1, 0), (2, 1)))
    result = input.main(config, rounds=1, seconds=0.2)
    rates = result["frames_per_second"]
    assert set(rates) == {
        *("read", "decode", "batch, 1 threads, 0 workers", "batch, 2 threads, 1 workers"),
        *("augment, in the step", "augment, on the host"),
    }
    assert all(rate > 0 for rate in rates.values()) and rates["read"] > rates["decode"]
    assert result["estimate"]["frames_per_second"] == pytest.approx(16 * result["per_core"])
    text = console.bench_input_text(result)
    assert all(name in text for name in rates) and "H200" in text
    assert config.data.workers == 0  # the caller's settings are left alone


def test_the_host_augments_as_the_step_does(config):
    """With the same placement both give the same picture, so that what is compared is the same work."""
    config.data.augment.update({name: 0.0 for name in config.data.augment})
    config.data.drop_neutral = 0.0
    with train_batches(config) as batches:
        batch = next(batches)
    batch["flip"] = np.arange(8) % 2 == 0
    step = prepare(batch, config, jax.random.key(0))
    host = host_augment.augment(batch, config.data.augment, np.random.default_rng(0))
    np.testing.assert_allclose(host["heatmap"], step["heatmap"], atol=1e-5)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for name, field in (("image", "image"), ("neutral", "neutral_image")):
        np.testing.assert_allclose((host[field] - mean) / std, step[name], atol=1e-4)
