"""A data set that is built in a bucket, which a file system in memory stands in for."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from fsspec.implementations.memory import MemoryFileSystem

from data_gen import processes
from data_gen.diffusion.config import DiffusionConfig
from data_gen.scene import SPLITS
from data_gen.variants import VARIANTS
from tfds_builders.pain3d import painting_report
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig

PICTURES = ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask")


class Bucket(MemoryFileSystem):
    protocol = "s3"
    store: dict = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("s3://", "memory://"))


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setattr("etils.epath.gpath._is_tf_installed", lambda: False)  # which would ask Amazon
    monkeypatch.setattr("etils.epath.backend._FileSystemSpecBackend._get_filesystem", lambda _, name: Bucket())
    return Bucket


@pytest.mark.slow
def test_a_build_in_a_bucket_is_that_of_a_folder(bucket, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAINJAX_WORKERS", "2")
    options = PipelineOptions(runner="DirectRunner", direct_running_mode="multi_threading", direct_num_workers=2)
    builder = Builder(config="tiny", data_dir="s3://bucket/datasets")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_options=options))
    while processes._IDLE:
        processes._IDLE.pop().shutdown()
    assert not list(tmp_path.iterdir())  # nothing in a folder called s3:

    home = tmp_path / "pain3d" / "tiny" / tiny_dataset.name
    home.mkdir(parents=True)
    for name, file in bucket.store.items():
        if name.startswith("/bucket/datasets/pain3d/tiny/"):
            (tmp_path / name.removeprefix("/bucket/datasets/")).write_bytes(file.getvalue())
    encoded = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
    for split in SPLITS:
        expected, got = (
            tfds.builder_from_directory(folder).as_data_source(split, decoders=encoded)
            for folder in (tiny_dataset, home)
        )
        assert len(got) == len(expected) > 0
        for i in range(len(expected)):
            np.testing.assert_equal(got[i], expected[i])


@pytest.mark.slow
def test_a_build_in_a_bucket_counts_what_was_refused(bucket, tmp_path, monkeypatch):
    """Random weights paint no skin."""
    from tests.data_gen.diffusion import tiny_models

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the process that paints: tests share the cores
    diffusion = DiffusionConfig(*tiny_models.write(tmp_path / "models", "sd"), size=64, steps=1, tries=2)
    generator = dataclasses.replace(
        VARIANTS["tiny"].generator, dataset_seed=7, texture_backend="diffusion", diffusion=diffusion
    )
    config = Pain3dConfig(name="tiny_random", description="random weights", identities=3, generator=generator)
    builder = Builder(config=config, data_dir="s3://bucket/datasets")
    builder.download_and_prepare()
    expected = {"people": 1, "people_procedural": 1, "portraits_refused": {"no colour of skin": 2}}
    told = json.loads((builder.data_path / painting_report.NAME).read_text())
    assert told == dict.fromkeys(SPLITS, expected)
