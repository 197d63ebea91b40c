"""A data set made in shards is that of one build, and nothing but whole shards of one data set is merged."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from etils import epath
from tensorflow_datasets.core.dataset_builder import load_default_config_name

from data_gen import finished, preflight
from data_gen.record import GENERATOR_VERSION as VERSION
from data_gen.scene import SPLITS, unpack_seed
from data_gen.shards import Shard
from painjax import __main__
from painjax.data.records import dataset_version
from painjax.data.sources import FrameSource
from tfds_builders.pain3d import merge, shards
from tfds_builders.pain3d.pain3d_dataset_builder import Builder
from tfds_builders.pain3d.shuffled_file import ShuffledFile
from tfds_builders.pain3d.target import Target

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask")
ENCODED = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
COUNT = 2


def command(data_dir, *arguments):
    return [sys.executable, "-m", "painjax", "generate", "--config=tiny", f"--data_dir={data_dir}", *arguments]


def without(folder, *packages) -> dict[str, str]:
    """An environment in which some packages cannot be imported."""
    for name in packages:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name='{name}')")
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}", "PAINJAX_WORKERS": "1"}


ONLY_FOR_BUILDING = ("tensorflow", "apache_beam", "mlcroissant")  # which the `tfds` command needs


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> dict[str, str]:
    """An environment without TFDS, nor anything that it would bring."""
    brought = ("tensorflow_datasets", "etils", "google", "dm_tree", "requests", "jax", "flax", "grain", "orbax")
    return without(tmp_path_factory.mktemp("bare"), *ONLY_FOR_BUILDING, *brought)


@pytest.fixture(scope="module")
def merging(tmp_path_factory) -> dict[str, str]:
    """An environment with TFDS, without TensorFlow."""
    return without(tmp_path_factory.mktemp("merging"), *ONLY_FOR_BUILDING)


@pytest.fixture(scope="module")
def made(tmp_path_factory, bare) -> Path:
    """A data directory with both shards of `tiny`, not merged."""
    data_dir = tmp_path_factory.mktemp("shards")
    for i in range(COUNT):
        subprocess.run(command(data_dir, f"--shard={i}/{COUNT}"), check=True, cwd=data_dir, env=bare)
    return data_dir


@pytest.fixture
def data_dir(made, tmp_path) -> Path:
    """A copy of it, to merge or to damage."""
    return shutil.copytree(made, tmp_path / "data")


def folder(data_dir) -> Path:
    return data_dir / "pain3d" / "tiny" / "shards"


def tiny(data_dir) -> Builder:
    return Builder(config="tiny", data_dir=data_dir)


def rewrite(path, change):
    """Changes what a manifest says."""
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def test_shards_hold_the_examples_of_one_build(tiny_dataset, data_dir, merging, capfd):
    subprocess.run(command(data_dir, "--merge"), check=True, cwd=data_dir, env=merging)
    built = data_dir / "pain3d" / "tiny" / tiny_dataset.name
    assert f"{built} is built." in capfd.readouterr().out and not folder(data_dir).exists()
    assert not list(built.parent.rglob("unfinished_*"))
    one, several = map(tfds.builder_from_directory, (tiny_dataset, built))
    assert str(one.info.features) == str(several.info.features)
    assert one.info.full_name == several.info.full_name and one.info.description == several.info.description
    for split in SPLITS:
        assert one.info.splits[split].num_examples == several.info.splits[split].num_examples
        assert one.info.splits[split].num_bytes == several.info.splits[split].num_bytes
        for decoders in (None, ENCODED):
            expected, got = (b.as_data_source(split, decoders=decoders) for b in (one, several))
            by_seed = {int(example["seed"]): example for example in expected}
            assert len(by_seed) == len(got)
            for example in got:
                np.testing.assert_equal(example, by_seed.pop(int(example["seed"])))
            assert not by_seed


def test_merging_without_tfds_is_refused_in_a_sentence(data_dir, bare):
    done = subprocess.run(command(data_dir, "--merge"), cwd=data_dir, env=bare, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "Merging shards needs tensorflow_datasets: pip install tensorflow-datasets" in done.stderr


def test_files_that_only_tfds_would_download_are_asked_for_in_a_sentence(tmp_path, bare):
    """Before anything is drawn."""
    asked = [word.replace("=tiny", "=tiny_ict") for word in command(tmp_path, "--shard=0/1")]
    environment = {name: value for name, value in bare.items() if name != "PAINJAX_ICT_DIR"}
    environment |= {"PAINJAX_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    said = (
        r"needs the files of ICT-FaceKit Light\. TFDS would download them, but \w+ is not installed\..*PAINJAX_ICT_DIR"
    )
    assert re.search(said, done.stderr)


@pytest.mark.parametrize("given", [True, False])
def test_files_of_ict_are_found_where_tfds_would_find_them(tmp_path, monkeypatch, given):
    """In --manual_dir, else below the data directory; at any depth."""
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    manual = tmp_path / "mine" if given else tmp_path / "downloads" / "manual"
    (manual / "ICT-FaceKit").mkdir(parents=True)
    (manual / "ICT-FaceKit" / "generic_neutral_mesh.obj").touch()
    with pytest.raises(FileNotFoundError, match=rf"{manual}/ICT-FaceKit lacks identity000\.obj"):
        shards.write(Target.named("tiny_ict", str(tmp_path)), Shard(0, 1), str(manual) if given else None)


def test_files_of_ict_are_downloaded_by_tfds(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(ConnectionError, match="does not answer.*PAINJAX_ICT_DIR"):
        shards.write(Target.named("tiny_ict", str(tmp_path)), Shard(0, 1))


def test_a_target_is_where_tfds_would_build(tmp_path, monkeypatch):
    for data_dir in (str(tmp_path), None):
        monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "default"))  # as read when TFDS begins
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
        builder, target = Builder(config="tiny", data_dir=data_dir), Target.named("tiny", data_dir)
        assert target == Target.of(builder) and target.built == Path(builder.data_dir)


def test_a_bucket_is_refused(tmp_path, monkeypatch, capsys):
    """Else its name would be taken for that of a folder here."""
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["generate", "--config=tiny", "--data_dir=gs://bucket/data", "--shard=0/1"]) == 2
    assert "gs://bucket/data is none. Name one with --data_dir" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_order_is_shard_by_shard_and_in_each_that_of_one_build(tiny_dataset, data_dir):
    built = merge.merge(tiny(data_dir))
    one, several = (
        [int(e["seed"]) for e in tfds.builder_from_directory(path).as_data_source("train", decoders=ENCODED)]
        for path in (tiny_dataset, built)
    )
    assert several == sorted(several, key=lambda seed: (unpack_seed(seed)[1] % COUNT, one.index(seed)))


def test_the_library_reads_it_and_knows_that_its_order_is_another(tiny_dataset, data_dir):
    merge.merge(tiny(data_dir))
    source = FrameSource("pain3d/tiny", "train", ("image", "heatmap"), str(data_dir))
    assert len(source) == 132 and source[131]["image"].shape == (64, 64, 3)
    several, one = (dataset_version("pain3d/tiny", str(d)) for d in (data_dir, tiny_dataset.parents[2]))
    assert several["version"] == one["version"] and several["fingerprint"] != one["fingerprint"]


def test_a_configuration_need_not_be_named_where_tfds_has_a_default(data_dir):
    merge.merge(tiny(data_dir))
    assert load_default_config_name(epath.Path(data_dir / "pain3d")) == "quick"


def test_records_are_in_the_order_that_tfds_gives_them(tiny_dataset, tmp_path):
    source = tfds.builder_from_directory(tiny_dataset).as_data_source("train", decoders=ENCODED)
    names = [unpack_seed(int(example["seed"])) for example in source]
    keys = [f"{index:06d}_{take:03d}_{view:03d}" for _, index, take, view in names]
    file = ShuffledFile(tmp_path / "records", "train")
    for key in sorted(keys):
        file.add(key, key.encode())
    file.finish()
    assert [r.decode() for r in ArrayRecordReader(str(file.path)).read_all()] == keys
    assert (file.examples, file.example_bytes) == (132, 132 * len(keys[0]))
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_what_is_there_is_not_made_again(data_dir, monkeypatch):
    monkeypatch.setattr(shards, "generate", None)
    before = {path: path.stat().st_mtime_ns for path in folder(data_dir).iterdir()}
    assert shards.write(Target.of(tiny(data_dir)), Shard(1, COUNT)) == folder(data_dir) / "shard-00001-of-00002.json"
    assert {path: path.stat().st_mtime_ns for path in folder(data_dir).iterdir()} == before
    merge.merge(tiny(data_dir))
    for arguments in (["--merge"], ["--shard=0/2"]):
        assert __main__.main(["generate", "--config=tiny", f"--data_dir={data_dir}", *arguments]) == 0


def first(data_dir, pattern) -> Path:
    return sorted(folder(data_dir).glob(pattern))[0]


def setting(name, value):
    def change(data_dir):
        rewrite(folder(data_dir) / "shard-00001-of-00002.json", lambda told: told["settings"].update({name: value}))

    return change


def told(name, value):
    def change(data_dir):
        rewrite(folder(data_dir) / "shard-00001-of-00002.json", lambda told: told.update({name: value}))

    return change


def of_another_number(data_dir):
    path = folder(data_dir) / "shard-00001-of-00002.json"
    rewrite(path, lambda told: told["shard"].update(index=0, count=3))
    shutil.copy(path, path.with_name("shard-00000-of-00003.json"))
    rewrite(path, lambda told: told["shard"].update(index=1, count=2))


def renamed(data_dir):
    path = folder(data_dir) / "shard-00001-of-00002.json"
    path.write_text((folder(data_dir) / "shard-00000-of-00002.json").read_text())


def flipped(data_dir):
    path = first(data_dir, "pain3d-train*-00001-of-00002")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d: (folder(d) / "shard-00001-of-00002.json").unlink(), r"are missing: 1/2\..*--shard=1/2"),
        (lambda d: shutil.rmtree(folder(d)), r"There are no shards in .*--shard=i/n"),
        (setting("version", "1.0.0"), f"-00001-of-00002.json has version '1.0.0', and this PainJAX has '{VERSION}'"),
        (setting("dataset_seed", 3), "shard-00001-of-00002.json has dataset_seed 3, and this PainJAX has 2"),
        (setting("files", ["ict-4"]), r"shard-00001-of-00002.json has files \['ict-4'\], and shard-00000-of-00002"),
        (setting("code", "abc"), "shard-00001-of-00002.json has code 'abc', and shard-00000-of-00002.json has"),
        (told("config", "quick"), "shard-00001-of-00002.json has config 'quick', and this PainJAX has 'tiny'"),
        (of_another_number, "shard-00000-of-00003.json has shards 3, and shard-00000-of-00002.json has 2"),
        (renamed, "shard-00001-of-00002.json is of shard 0/2, whose file is called shard-00000"),
        (lambda d: (folder(d) / "shard-00000-of-00002.json").write_text("{"), "00000-of-00002.json is damaged"),
        (lambda d: (folder(d) / "shard-00000-of-00002.json").write_text("[]"), "00000-of-00002.json is damaged"),
        (lambda d: first(d, "*train*00001-of*").unlink(), "shard 1/2: pain3d-train.*00001-of-00002 is missing"),
        (lambda d: os.truncate(first(d, "*train*00001-of*"), 100), "shard 1/2: pain3d-train.* has 100 bytes instead"),
        (flipped, "shard 1/2: pain3d-train.array_record-00001-of-00002 is damaged"),
        (lambda d: (folder(d) / "pain3d-train.array_record-00003-of-00004").touch(), "no finished shard: .*3-of-00004"),
    ],
)  # fmt: skip
def test_nothing_but_whole_shards_of_one_data_set_is_merged(data_dir, capsys, wrong, message):
    wrong(data_dir)
    with pytest.raises(ValueError, match=message):
        merge.merge(tiny(data_dir))
    assert not (data_dir / "pain3d" / "tiny" / VERSION).exists()
    assert __main__.main(["generate", "--config=tiny", f"--data_dir={data_dir}", "--merge"]) == 2
    assert capsys.readouterr().err.startswith("painjax generate: ")


def test_a_data_set_that_is_half_there_is_not_written_over(data_dir):
    (data_dir / "pain3d" / "tiny" / VERSION).mkdir()
    with pytest.raises(FileExistsError, match=rf"tiny/{VERSION} is there\. Remove it"):
        merge.merge(tiny(data_dir))


def test_more_shards_than_people_are_refused(tmp_path, capsys):
    assert __main__.main(["generate", "--config=tiny", f"--data_dir={tmp_path}", "--shard=0/7"]) == 2
    assert "6 identities cannot fill 7 shards" in capsys.readouterr().err


def test_a_shard_without_room_is_refused_before_it_starts(tmp_path, monkeypatch):
    usage = preflight.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage._replace(free=10**5))
    with pytest.raises(OSError, match=r"99 frames of 64 pixels.* 2\.1 MB more .* 0\.1 MB are free"):
        shards.write(Target.of(tiny(tmp_path)), Shard(0, 2))
    assert not list(tmp_path.rglob("*.json"))


def test_a_killed_shard_is_none_and_goes_on_where_it_was(made, tmp_path, bare):
    arguments = command(tmp_path, "--shard=0/2")
    killed = subprocess.Popen(arguments, cwd=tmp_path, start_new_session=True, env=bare, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not list(tmp_path.rglob("unfinished_*/[0-9]*.npz")) and killed.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert killed.poll() is None, "the shard ended before it could be killed"
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    with pytest.raises(ValueError, match="There are no shards"):
        merge.merge(tiny(tmp_path))

    # What is there is used: a mark in a finished identity comes out of the other end.
    marked, *_ = sorted(tmp_path.rglob("unfinished_*/[0-9]*.npz"))
    frames = finished.load(marked.parent, int(marked.stem))
    for _, example in frames:
        example["asymmetry"] = np.float32(0.5)
    finished.save(marked.parent, int(marked.stem), frames)
    subprocess.run(arguments, check=True, cwd=tmp_path, env=bare)
    assert not list(tmp_path.rglob("unfinished_*")) and not list(folder(tmp_path).glob(".*"))
    for path in folder(made).iterdir():  # the other shard
        if not (folder(tmp_path) / path.name).exists():
            shutil.copy(path, folder(tmp_path))
    built = tfds.builder_from_directory(merge.merge(tiny(tmp_path)))
    asymmetry = [
        e["asymmetry"] for s in SPLITS for e in built.as_data_source(s) if e["identity"]["id"] == int(marked.stem)
    ]
    assert asymmetry == [np.float32(0.5)] * 33
