"""The data set with diffusion textures, by models with random weights."""

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_gen import preflight
from data_gen.contact_sheet import decoded
from data_gen.diffusion import cache
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig
from data_gen.generate import identity_examples
from data_gen.shards import Shard
from data_gen.variants import VARIANTS
from tfds_builders.pain3d import generate_command, merge, painting_report, shards
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig
from tfds_builders.pain3d.target import Target

ROOT = Path(__file__).resolve().parents[2]
ON_BEAM = """
import dataclasses, json, sys
import apache_beam, tensorflow_datasets as tfds
from data_gen.diffusion.config import DiffusionConfig
from data_gen.variants import VARIANTS
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig
from tfds_builders.pain3d.target import Target
diffusion, data_dir = DiffusionConfig(**json.loads(sys.argv[1])), sys.argv[2]
generator = dataclasses.replace(VARIANTS["tiny"].generator, texture_backend="diffusion", diffusion=diffusion)
config = Pain3dConfig(name="tiny_random", description="random weights", identities=6, generator=generator)
options = apache_beam.options.pipeline_options.PipelineOptions(
    runner="DirectRunner", direct_running_mode="multi_processing", direct_num_workers=2
)
download = tfds.download.DownloadConfig(beam_options=options)
Builder(config=config, data_dir=data_dir).download_and_prepare(download_config=download)
"""

AS_TFRECORD = """
import dataclasses, sys
from data_gen.diffusion.config import DiffusionConfig
from data_gen.variants import VARIANTS
from tfds_builders.pain3d.pain3d_dataset_builder import Builder, Pain3dConfig
from tfds_builders.pain3d.target import Target
diffusion = DiffusionConfig(sys.argv[1], sys.argv[2], size=64, steps=1, tries=2)
generator = dataclasses.replace(
    VARIANTS["tiny"].generator, dataset_seed=7, texture_backend="diffusion", diffusion=diffusion
)
config = Pain3dConfig(name="tiny_random", description="random weights", identities=3, generator=generator)
Builder(config=config, data_dir=sys.argv[3], file_format="tfrecord").download_and_prepare()
"""


@pytest.mark.slow
def test_a_build_counts_what_was_refused(tmp_path):
    """In files that TensorFlow reads; random weights paint no skin."""
    from tests.data_gen.diffusion import tiny_models

    models = tiny_models.write(tmp_path / "models", "sd")
    environment = os.environ | {"PAINJAX_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", AS_TFRECORD, *models, tmp_path / "data"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "data/pain3d/tiny_random").glob("[0-9]*")
    expected = {"people": 1, "people_procedural": 1, "portraits_refused": {"no colour of skin": 2}}
    assert counted(built) == dict.fromkeys(("train", "validation", "test"), expected)
    assert '"people_procedural": 1' in done.stderr  # in the log, too


@pytest.mark.slow
def test_a_build_with_backdrops_counts_them(tmp_path, monkeypatch):
    from tests.data_gen.diffusion import tiny_models

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the process that paints: tests share the cores
    models = tiny_models.write(tmp_path / "models", "sd")
    inpaint = tiny_models.write_pipeline(tmp_path / "models/inpaint", "sd", inpainting=True)
    backdrop = InpaintConfig(model=inpaint, size=64, steps=1, strength=1.0, batch=6)
    diffusion = DiffusionConfig(*models, size=64, steps=1, check="none", backdrop=backdrop)
    generator = dataclasses.replace(
        VARIANTS["tiny"].generator, dataset_seed=7, texture_backend="diffusion", diffusion=diffusion
    )
    config = Pain3dConfig(name="tiny_random", description="random weights", identities=3, generator=generator)
    builder = Builder(config=config, data_dir=tmp_path / "data")
    builder.download_and_prepare()
    assert counted(builder.data_dir) == dict.fromkeys(
        ("train", "validation", "test"),
        {
            "people": 1, "people_procedural": 0, "portraits_refused": {},
            "frames": 33, "frames_rendered": 0, "neutral_rendered": 0, "backdrops_refused": {},
        },
    )  # fmt: skip
    told = counted(builder.data_dir)
    (Path(builder.data_dir) / painting_report.NAME).unlink()  # as by a build that was killed in between
    builder.download_and_prepare()
    assert counted(builder.data_dir) == told

    merging = Builder(config=config, data_dir=tmp_path / "merged")
    shards.write(Target.of(merging), Shard(0, 1))

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(merge, "os", types.SimpleNamespace(replace=die))
        with pytest.raises(KeyboardInterrupt):
            merge.merge(merging)
    assert not Path(merging.data_dir).exists() and counted(Target.of(merging).shards) == told
    assert counted(merge.merge(merging)) == told

    frame = builder.as_data_source("train")[0]
    assert frame["backdrop"]["kept"].shape == (64, 64, 1) and 0.1 < (frame["backdrop"]["kept"] > 0).mean() < 0.7
    assert frame["backdrop"]["model"].decode() == inpaint


@pytest.mark.parametrize(
    ("missing", "what"), [("torch", "--shard=0/1"), ("diffusers", "--portraits"), ("huggingface_hub", "--shard=0/1")]
)
def test_a_machine_without_the_extra_is_told_how_to_install_it(tmp_path, missing, what):
    """By the command itself, whose painting is in another process; the hub's library is asked for before."""
    hidden, model, depth = (tmp_path / name for name in ("hidden", "model", "depth"))
    for folder in (hidden, model, depth):
        folder.mkdir()
    (hidden / f"{missing}.py").write_text(f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')")
    (model / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (depth / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    environment = os.environ | {"PAINJAX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": f"{hidden}:{ROOT}"}
    if missing != "huggingface_hub":  # folders need no hub
        environment |= {"PAINJAX_DIFFUSION_MODEL": str(model), "PAINJAX_DIFFUSION_CONTROLNET": str(depth)}
    command = [
        sys.executable,
        "-m",
        "painjax",
        "generate",
        "--config=tiny_diffusion",
        f"--data_dir={tmp_path / 'data'}",
    ]
    done = subprocess.run([*command, what], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    needs = f"The texture backend 'diffusion' needs {missing}: pip install 'painjax[diffusion]'"
    assert last == f"painjax generate: {needs}" and "Traceback" not in done.stderr
    left = [path for name in ("data", "cache") for path in (tmp_path / name).rglob("*")]
    assert not [path for path in left if path.is_file()] and "Written" not in done.stdout


def test_what_is_painted_must_have_room_before_anything_is_painted(tmp_path, monkeypatch):
    """In a build, in a shard, and where portraits alone are painted."""
    from tests.data_gen.diffusion import tiny_models

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(generate_command.generate, "with_portraits", lambda *_: pytest.fail("painted"))
    diffusion = DiffusionConfig(*tiny_models.write(tmp_path / "models", "sd"), size=64, steps=1)
    generator = dataclasses.replace(VARIANTS["tiny"].generator, texture_backend="diffusion", diffusion=diffusion)
    builder = Builder(
        config=Pain3dConfig(name="tiny_random", description="random weights", identities=6, generator=generator),
        data_dir=tmp_path / "data",
    )
    usage, needed = preflight.shutil.disk_usage(tmp_path), preflight.needed_bytes(6 * 33, 64)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage._replace(free=needed + 1000))
    said = "Too little room in .*cache for the portraits and backdrops of 6 people"
    with pytest.raises(OSError, match=said):
        builder.download_and_prepare()
    with pytest.raises(OSError, match=said):
        shards.write(Target.of(builder), Shard(0, 1))
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match=said):
        generate_command._paint(Target.of(builder), Shard(0, 1), None)


def test_a_data_set_that_was_not_counted_is_counted_once(tmp_path, monkeypatch):
    """As one whose build was killed right after its renaming."""
    asked = []
    monkeypatch.setattr(tfds.core.GeneratorBasedBuilder, "download_and_prepare", lambda self, **kwargs: None)
    monkeypatch.setattr(Builder, "is_prepared", lambda self: True)
    monkeypatch.setattr(
        painting_report, "write", lambda folder: asked.append(folder) or (folder / painting_report.NAME).touch()
    )
    for name in ("tiny_diffusion", "tiny"):
        builder = Builder(config=name, data_dir=tmp_path)
        Path(builder.data_dir).mkdir(parents=True)
        builder.download_and_prepare()
        builder.download_and_prepare()
    assert [path.parent.name for path in asked] == ["tiny_diffusion"]


def counted(folder):
    """What a data set says of itself."""
    return json.loads((Path(folder) / painting_report.NAME).read_text())


def test_counts():
    """Refusals of a portrait count once for a person, those of a backdrop for each frame."""

    def record(person, portrait, backdrop=None):
        told = {"identity": {"id": np.int32(person)}, "portrait": {"painted": portrait[0], "faults": portrait[1]}}
        names = ("painted", "neutral_painted", "faults")
        return told | ({} if backdrop is None else {"backdrop": dict(zip(names, backdrop, strict=True))})

    good, bad = (True, b"blank"), (False, b"blank; off centre; blank")
    assert painting_report.count([record(1, good), record(1, good), record(4, bad)]) == {
        "people": 2, "people_procedural": 1, "portraits_refused": {"blank": 3, "off centre": 1},
    }  # fmt: skip
    counts = painting_report.count(
        [record(1, good, (True, False, b"")), record(1, good, (False, True, b"face is lost; blank"))]
    )
    assert (counts["frames"], counts["frames_rendered"], counts["neutral_rendered"]) == (2, 1, 1)
    assert counts["backdrops_refused"] == {"face is lost": 1, "blank": 1}


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
    said = generate_command._paint(Target.of(builder), Shard(1, 2), None)
    assert said == f"The portraits of 3 people are in {tmp_path / 'cache' / 'portraits'}"
    before = {path: path.stat().st_mtime_ns for path in cache.entries()}
    assert [int(path.name.split("-")[0]) for path in before] == [1, 3, 5]
    builder.download_and_prepare()
    assert len(list(cache.entries())) == 6 and all(path.stat().st_mtime_ns == time for path, time in before.items())
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

    # On Beam, whose workers paint and pass on what the others draw.
    told = json.dumps(dataclasses.asdict(generator.diffusion))
    elsewhere = os.environ | {"PAINJAX_CACHE": str(tmp_path / "other_cache")}
    subprocess.run([sys.executable, "-c", ON_BEAM, told, tmp_path / "beam"], check=True, cwd=ROOT, env=elsewhere)
    (built,) = (tmp_path / "beam/pain3d/tiny_random").glob("[0-9]*")
    told = counted(built)
    assert told == counted(builder.data_dir) and sum(counts["people"] for counts in told.values()) == 6
    for split in builder.info.splits:
        expected, got = builder.as_data_source(split), tfds.builder_from_directory(built).as_data_source(split)
        assert len(got) == len(expected) > 0
        for i in range(len(expected)):
            np.testing.assert_equal(got[i], expected[i])


def test_only_diffusion_textures_have_portraits_to_paint(tmp_path):
    with pytest.raises(ValueError, match="--config=tiny has no portraits; expected one with the suffix _diffusion"):
        generate_command.main(["--config=tiny", "--portraits", f"--data_dir={tmp_path}"])


def test_portraits_of_a_shard_that_an_empty_variable_named(tmp_path):
    with pytest.raises(ValueError, match="'' names no shard; expected i/n"):
        generate_command.main(["--config=tiny", "--portraits=", f"--data_dir={tmp_path}"])
