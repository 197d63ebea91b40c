"""The data set with diffusion textures, by models with random weights."""

import dataclasses

import numpy as np
import pytest

from data_gen.contact_sheet import decoded
from data_gen.diffusion.config import DiffusionConfig
from data_gen.generate import identity_examples
from data_gen.variants import VARIANTS
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig


@pytest.mark.slow
def test_a_build_records_its_portraits(tmp_path, monkeypatch):
    from tests.data_gen.diffusion import tiny_models

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    models = tiny_models.write(tmp_path / "models", "sdxl")
    tiny = VARIANTS["tiny"].generator
    generator = dataclasses.replace(
        tiny,
        texture_backend="diffusion",
        diffusion=DiffusionConfig(*models, size=64, steps=1, check="none"),
    )
    config = Pain3dConfig(name="tiny_random", description="random weights", identities=6, generator=generator)
    builder = Builder(config=config, data_dir=tmp_path / "data")
    builder.download_and_prepare()
    for split in builder.info.splits:
        for frame in builder.as_data_source(split):
            portrait = frame["portrait"]
            assert portrait["painted"] and portrait["tries"] == 1 and portrait["steps"] == 1
            assert portrait["prompt"].decode().startswith("passport photo of a")
            assert portrait["model"].decode() == models[0] and portrait["revision"].decode().startswith("sha256:")
    frame = builder.as_data_source("train")[0]
    same = [e for _, e in identity_examples(tiny, int(frame["identity"]["id"])) if e["seed"] == frame["seed"]]
    np.testing.assert_array_equal(frame["heatmap"][..., 0], decoded(same[0]["heatmap"]))
    assert (frame["image"] != decoded(same[0]["image"])).any()
