"""The data set as a user meets it: built through TFDS, read at random without TensorFlow."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_gen import finished, preflight
from data_gen.generate import regenerate
from data_gen.generator_config import GeneratorConfig
from data_gen.plan import scene
from data_gen.scene import CELLS, SPLITS, identity, split_of
from data_gen.variants import SIZES
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig
from tfds_builders.pain3d.preparation import report_balance

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {
    "image", "neutral_image", "heatmap", "heatmap_frontal", "mask", "aus", "other_aus", "asymmetry", "pspi", "kind",
    "expression", "expression_id", "landmarks", "landmarks_visible", "identity", "view", "light", "room", "lens",
    "seed", "generator_version",
}  # fmt: skip
PICTURES = ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask")
PARTS = {
    "identity": {"id", "age_group", "age_years", "gender", "ethnicity"},
    "view": {"id", "yaw", "pitch", "roll", "fov", "fill", "distance_mm"},
    "light": {"rig", "key_azimuth", "key_elevation", "key", "fill", "ambient", "rim", "kelvin", "fill_kelvin"},
    "room": {"kind", "turn", "brightness", "kelvin", "blur"},
    "lens": {"exposure", "warmth", "tint", "defocus", "noise", "vignette", "jpeg_quality"},
}


def test_fields_are_those_of_the_contract(tiny_dataset):
    features = tfds.builder_from_directory(tiny_dataset).info.features
    assert set(features) == CONTRACT
    assert {part: set(features[part]) for part in PARTS} == PARTS
    assert features["image"].shape == (64, 64, 3) and features["heatmap"].shape == (64, 64, 1)


@pytest.mark.parametrize("config", ["clips_tiny", "tiny_backdrop"])
def test_the_readme_describes_every_field(tmp_path, config):
    text = (ROOT / "tfds_builders/pain3d/README.md").read_text()
    features = Builder(config=config, data_dir=tmp_path).info.features
    names = [f"{name}/{part}" if part else name for name, parts in features.items() for part in _parts(parts)]
    assert len(names) > 40 and not [name for name in names if f"`{name}`" not in text]


def _parts(feature):
    return list(feature) if isinstance(feature, tfds.features.FeaturesDict) else [""]


def test_recorded_classes_have_names(tiny_dataset):
    builder = tfds.builder_from_directory(tiny_dataset)
    features, example = builder.info.features, builder.as_data_source("train")[0]
    s = scene(example["seed"])
    assert features["kind"].int2str(int(example["kind"])) == s.kind
    assert features["light"]["rig"].int2str(int(example["light"]["rig"])) == s.light.rig
    assert features["room"]["kind"].int2str(int(example["room"]["kind"])) == s.room.kind
    assert features["expression"].int2str(int(example["expression"])) == s.expression


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frames"), [("distractors_tiny", 30), ("clips_tiny", 144)])
def test_distractors_and_clips_build_and_come_back(tmp_path, name, frames):
    builder = Builder(config=name, data_dir=tmp_path)
    builder.download_and_prepare()
    assert sum(builder.info.splits[s].num_examples for s in SPLITS) == 6 * frames
    source = builder.as_data_source("test", decoders={"image": tfds.decode.SkipDecoding()})
    assert len({int(e["seed"]) for e in source}) == len(source)
    example = source[7]
    again = regenerate(builder.builder_config.generator, example["seed"])
    assert again["image"] == example["image"]
    np.testing.assert_array_equal(again["aus"], example["aus"])
    assert ("clip" in example) == (name == "clips_tiny")
    if "clip" in example:
        times = sorted(float(e["clip"]["time_s"]) for e in source if e["clip"]["id"] == example["clip"]["id"])
        np.testing.assert_allclose(times, np.arange(24) / 12, atol=1e-6)


@pytest.mark.parametrize("identities", [0, -3, 2.5, 2**24 + 1])
def test_a_build_of_nobody_is_refused(identities):
    with pytest.raises(ValueError, match="identities is .*; expected a whole number from 1"):
        Pain3dConfig(name="mine", identities=identities, generator=GeneratorConfig("procedural", 64))


def test_cells_that_cannot_be_equal_are_reported(caplog):
    report_balance(72)
    assert not caplog.records
    report_balance(100)
    assert "100 identities do not divide among the 36 cells" in caplog.text
    assert "28 cells have 3, 8 have 2" in caplog.text


def test_no_identity_in_two_splits_and_all_frames_present(tiny_dataset):
    builder = tfds.builder_from_directory(tiny_dataset)
    people = {split: {int(e["identity"]["id"]) for e in builder.as_data_source(split)} for split in SPLITS}
    assert all(people.values())
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == SIZES["tiny"].identities
    assert sum(builder.info.splits[s].num_examples for s in SPLITS) == SIZES["tiny"].identities * 33


@pytest.mark.parametrize("count", [36, 72, 100, 2500])
def test_cells_are_balanced_and_splits_stratified(count):
    cells = np.zeros((3, 2, 6), int)
    splits = dict.fromkeys(SPLITS, 0)
    for i in range(count):
        person = identity(0, i)
        cells[person.age_group, person.gender, person.ethnicity] += 1
        splits[split_of(0, i)] += 1
    assert cells.sum() == count and cells.max() - cells.min() <= 1 and cells.size == CELLS
    for split, share in zip(SPLITS, (0.7, 0.2, 0.1), strict=True):
        assert abs(splits[split] - share * count) <= max(2, 0.02 * count)


def test_a_data_set_that_is_not_there_yet_is_no_cause_for_a_warning(tmp_path, caplog):
    assert not Builder(config="tiny", data_dir=tmp_path).is_prepared()
    assert not caplog.text


def test_every_configuration_describes_itself():
    names = [config.name for config in Builder.BUILDER_CONFIGS]
    assert len(set(names)) == len(names)
    assert {
        "tiny",
        "quick",
        "quick_ict",
        "full",
        "full_ict",
        "full_512",
        "distractors",
        "clips_ict",
        "full_ict_diffusion",
        "quick_backdrop",
    } <= set(names)


def test_a_killed_build_reads_as_incomplete_and_the_next_goes_on_where_it_was(tiny_dataset, tmp_path):
    code = (
        "from tfds_builders.pain3d.pain3d_dataset_builder import Builder;"
        f"Builder(config='tiny', data_dir={str(tmp_path)!r}).download_and_prepare()"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PAINJAX_WORKERS": "1"}
    build = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while len(list(tmp_path.rglob("unfinished_*/[0-9]*.npz"))) < 2 and build.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert build.poll() is None, "the build ended before it could be killed"
    finally:
        os.killpg(build.pid, signal.SIGKILL)
        build.wait()
    with pytest.raises(KeyError, match="has not been generated yet"):
        tfds.data_source("pain3d/tiny", data_dir=tmp_path, split="train", download=False)
    version = tiny_dataset.name
    with pytest.raises(tfds.core.dataset_info.DatasetInfoFileError, match="dataset_info.json"):
        tfds.builder_from_directory(tmp_path / "pain3d" / "tiny" / version)

    # What is there is used: a mark in a finished identity comes out of the other end.
    marked, *_ = sorted(tmp_path.rglob("unfinished_*/[0-9]*.npz"))
    frames = finished.load(marked.parent, int(marked.stem))
    for _, example in frames:
        example["asymmetry"] = np.float32(0.5)
    finished.save(marked.parent, int(marked.stem), frames)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert not list(tmp_path.rglob("unfinished_*"))
    encoded = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
    for split in SPLITS:
        expected, got = (
            tfds.builder_from_directory(folder).as_data_source(split, decoders=encoded)
            for folder in (tiny_dataset, tmp_path / "pain3d" / "tiny" / version)
        )
        assert len(got) == len(expected)
        for i in range(len(expected)):
            mark = {"asymmetry": np.float32(0.5)} if expected[i]["identity"]["id"] == int(marked.stem) else {}
            np.testing.assert_equal(got[i], expected[i] | mark)


def test_a_build_without_room_is_refused_before_it_starts(tmp_path, monkeypatch):
    usage = preflight.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(OSError, match=r"198 frames of 64 pixels.* about 4\.2 MB more .* 1\.0 MB are free"):
        Builder(config="tiny", data_dir=tmp_path).download_and_prepare()
    assert not list(tmp_path.rglob("*unfinished*")) and not list(tmp_path.rglob("*incomplete*"))


@pytest.mark.parametrize(("mode", "on_beam"), [("reuse_dataset_if_exists", False), ("reuse_cache_if_exists", True)])
def test_what_is_built_again_is_built_as_asked(tiny_dataset, tmp_path, monkeypatch, mode, on_beam):
    """By Beam, too, where an existing data set is to be overwritten."""
    shutil.copytree(tiny_dataset, tmp_path / "pain3d" / "tiny" / tiny_dataset.name)
    monkeypatch.setattr(tfds.core.GeneratorBasedBuilder, "download_and_prepare", lambda self, **kwargs: None)
    builder = Builder(config="tiny", data_dir=tmp_path)
    assert builder.is_prepared()
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            download_mode=tfds.download.GenerateMode(mode), beam_runner="DirectRunner"
        )
    )
    assert builder._beam == on_beam


WITHOUT_TENSORFLOW = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'torch', 'pyrender', 'OpenGL', 'data_gen', 'tfds_builders'):
            raise ModuleNotFoundError(f'{name} is blocked')
sys.meta_path.insert(0, Blocker())
"""


def readme_example() -> str:
    """The README's 'Use it in your own JAX project' code block."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## Use it in your own JAX project")[1]
    return section.split("```python")[1].split("```")[0]


def test_readme_example_runs_without_tensorflow(tiny_dataset):
    code = readme_example().replace("pain3d/quick", "pain3d/tiny")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + code],
        capture_output=True, text=True, env=os.environ | {"TFDS_DATA_DIR": str(tiny_dataset.parents[2])},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


@pytest.mark.slow
def test_another_build_with_another_number_of_workers_is_the_same(tiny_dataset, tmp_path):
    """Every decoded feature and every still-encoded image; TFDS's own record bytes are not stable."""
    command = [Path(sys.executable).with_name("tfds"), "build", ROOT / "tfds_builders/pain3d", "--config=tiny"]
    # The fixture's build takes a process per core.
    subprocess.run([*command, f"--data_dir={tmp_path}"], check=True, env=os.environ | {"PAINJAX_WORKERS": "1"})
    (again,) = (tmp_path / "pain3d/tiny").iterdir()
    encoded = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
    for split in SPLITS:
        for decoders in (None, encoded):
            first, second = (
                tfds.builder_from_directory(folder).as_data_source(split, decoders=decoders)
                for folder in (tiny_dataset, again)
            )
            assert len(first) == len(second) > 0
            for i in range(len(first)):
                np.testing.assert_equal(second[i], first[i])


def test_random_access(tiny_dataset):
    source = tfds.builder_from_directory(tiny_dataset).as_data_source("train")
    assert source[5]["seed"] == source[5]["seed"] != source[0]["seed"]
    assert source[5]["image"].dtype == np.uint8


def test_ict_needs_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_ICT_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="ICT-VGL/ICT-FaceKit"):
        Builder(config="tiny_ict", data_dir=tmp_path).download_and_prepare()


def test_flame_needs_its_file(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_FLAME_FILE", raising=False)
    with pytest.raises(FileNotFoundError, match=r"Register at https://flame\.is\.tue\.mpg\.de.*PAINJAX_FLAME_FILE"):
        Builder(config="tiny_flame", data_dir=tmp_path).download_and_prepare()


def test_ict_files_are_found_in_a_clone_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    folder = tmp_path / "manual" / "ICT-FaceKit" / "FaceXModel"
    folder.mkdir(parents=True)
    (folder / "generic_neutral_mesh.obj").touch()
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
    with pytest.raises(FileNotFoundError, match=rf"{folder} lacks identity000\.obj and 156 more"):
        Builder(config="tiny_ict", data_dir=tmp_path).download_and_prepare(download_config=config)


def test_without_internet_the_error_says_where_to_put_the_files(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(ConnectionError, match="does not answer.*git clone.*PAINJAX_ICT_DIR.*--manual_dir"):
        Builder(config="tiny_ict", data_dir=tmp_path).download_and_prepare()
