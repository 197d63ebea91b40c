import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import student, teacher
from painjax import precompute, provenance, sharding, train
from painjax.checkpoint import restore_model, restore_params
from painjax.data.pipeline import train_batches
from painjax.data.precomputed import DTYPES, MANIFEST, PrecomputedOutputs, read_manifest
from painjax.data.sources import FrameSource
from painjax.data.transforms import prepare
from painjax.errors import UserError
from painjax.same_experiment import check_same_origin
from painjax.state import create_state, make_train_step
from painjax.teacher import find_teacher
from painjax.teacher_outputs import TeacherOutputs
from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def trained(synthetic_dataset, tmp_path_factory):
    """The working directory of a teacher."""
    config = teacher.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    workdir = tmp_path_factory.mktemp("teacher")
    train.main(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def outputs(trained, tmp_path_factory):
    """A folder of its outputs in float32, and one in bfloat16."""
    folders = {}
    for dtype in ("float32", "bfloat16"):
        folders[dtype] = tmp_path_factory.mktemp("outputs") / dtype
        precompute.main(trained, "train", folders[dtype], dtype=dtype)
    return folders


def student_config(data_dir, folder="", **settings):
    config = student.get_config("test")
    config.data.data_dir = str(data_dir)
    config.data.augment.update({"shift": 0.0, "scale": 0.0})
    config.teacher_outputs = str(folder)
    config.steps = 20
    config.update(settings)
    return config


def test_every_example_is_there_upright_and_mirrored(trained, outputs, synthetic_dataset):
    found = PrecomputedOutputs(outputs["float32"])
    assert (found.manifest.count, found.manifest.patches, found.manifest.width) == (40, 16, 32)
    model, config, step = restore_model(trained)
    assert found.manifest.teacher_step == step == 4
    source = FrameSource("pain3d/quick", "train", ("heatmap",), str(synthetic_dataset))
    for index in (0, 7, 39):
        heatmap = source[index]["heatmap"]
        for flip, seen in ((False, heatmap), (True, heatmap[:, ::-1])):
            batch = prepare({"heatmap": seen[None], "index": np.array([index])}, config)
            expected = TeacherOutputs.of_model(model(batch["image"]))
            for field in dataclasses.fields(expected):
                value = found.read(index, flip)[f"teacher_{field.name}"]
                np.testing.assert_allclose(value, getattr(expected, field.name)[0], rtol=1e-4, atol=1e-5)


def test_tokens_are_stored_rounded_and_nothing_else_is(outputs):
    exact, rounded = (PrecomputedOutputs(outputs[dtype]) for dtype in ("float32", "bfloat16"))
    assert exact.manifest.example_bytes == 2 * (16 * 32 * 4 + 40)
    assert rounded.manifest.example_bytes == 2 * (16 * 32 * 2 + 40)
    for name, value in rounded.read(5, True).items():
        expected = exact.read(5, True)[name]
        if name == "teacher_patch_tokens":
            np.testing.assert_array_equal(value, expected.astype(value.dtype))
            assert value.dtype.itemsize == 2
        else:
            np.testing.assert_array_equal(value, expected)


def test_each_process_reads_the_outputs_of_its_rows(outputs, synthetic_dataset, monkeypatch):
    config = student_config(synthetic_dataset, outputs["float32"])
    found, seen, read = PrecomputedOutputs(outputs["float32"]), [], PrecomputedOutputs.read

    def noted(self, index, flip):
        seen[-1].append((index, flip))
        return read(self, index, flip)

    monkeypatch.setattr(PrecomputedOutputs, "read", noted)
    rows = []
    for process in range(2):
        seen.append([])
        own = np.arange(4) + 4 * process
        batches = [batch for _, batch in zip(range(5), train_batches(config, own), strict=False)]
        rows.append([(i, f) for batch in batches for i, f in zip(batch["index"], batch["flip"], strict=True)])
        assert set(rows[-1]) <= set(seen[-1])
        for batch in batches:
            for row, (index, flip) in enumerate(zip(batch["index"], batch["flip"], strict=True)):
                for name, value in found.manifest.unpack(found._records[2 * index + flip]).items():
                    np.testing.assert_array_equal(batch[name][row], value)
    # Together they read an epoch, each frame once, some of it mirrored.
    assert sorted(index for part in rows for index, _ in part) == list(range(40))
    assert 5 < sum(flip for part in rows for _, flip in part) < 35
    seen.append([])
    whole = next(train_batches(config))
    np.testing.assert_array_equal(whole["flip"], [flip for part in rows for _, flip in part[:4]])


def losses(config, trained=None, steps=20):
    """Every term of every step; with the teacher in the step if it is given."""
    mesh = sharding.create_mesh({"data": 4, "fsdp": 2})
    teacher_config = teacher.get_config("test") if trained is not None else None
    terms = []
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh, teacher_config)
        if trained is not None:
            state.frozen["teacher"] = restore_params(trained, 4, state.frozen["teacher"])
        step, batches = make_train_step(config, optimizer, shardings, mesh), train_batches(config)
        for _ in range(steps):
            state, found = step(state, sharding.put_batch(next(batches), mesh))
            terms.append({name: float(value) for name, value in found.items()})
    return {name: np.array([found[name] for found in terms]) for name in terms[0]}


@pytest.mark.slow
def test_stored_outputs_give_the_losses_of_a_teacher_in_the_step(trained, outputs, synthetic_dataset):
    config = student_config(synthetic_dataset, teacher=str(trained))
    assert config.model.dropout > 0 and config.data.augment.flip == 0.5 and config.model.neutral != "none"
    assert config.data.augment.noise > 0 and config.data.drop_neutral > 0
    inside = losses(config, trained)
    assert {"features", "match_pspi", "match_aus", "match_thresholds", "heatmap"} <= set(inside)
    stored = losses(student_config(synthetic_dataset, outputs["float32"]))
    assert inside.keys() == stored.keys()
    for name, values in inside.items():
        # match_aus, of 1e-4, is the difference between a cross-entropy and an entropy of about 1, rounded to 6e-8.
        np.testing.assert_allclose(stored[name], values, rtol=1e-5, atol=1e-7, err_msg=name)
    rounded = losses(student_config(synthetic_dataset, outputs["bfloat16"]))
    for name, values in inside.items():
        np.testing.assert_allclose(rounded[name], values, rtol=1e-3, atol=1e-7, err_msg=name)
    assert not np.array_equal(rounded["features"], inside["features"])  # or nothing has been compared
    # Without mirroring a frame its outputs would be others.
    unflipped = PrecomputedOutputs(outputs["float32"])
    assert not np.allclose(unflipped.read(1, False)["teacher_pspi"], unflipped.read(1, True)["teacher_pspi"], rtol=1e-5)


def logged(workdir):
    """The loss of every step."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_a_run_on_stored_outputs_resumes_exactly(outputs, synthetic_dataset, tmp_path):
    config = student_config(synthetic_dataset, outputs["bfloat16"], steps=8, checkpoint_every=4, validate_every=100)
    train.main(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "checkpoints" / "8")
    train.main(config, tmp_path / "stopped")
    assert len(set(logged(tmp_path / "whole"))) == 8
    assert logged(tmp_path / "stopped") == logged(tmp_path / "whole")


def launch(*command):
    """The command in two processes of four devices each."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla_flags(1), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "painjax", "launch", "local", "--processes=2", "--devices-per-process=4", "--"]
    done = subprocess.run(
        [*launcher, *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_compute_and_learn_what_one_does(trained, outputs, synthetic_dataset, tmp_path):
    folder = tmp_path / "outputs"
    launch("precompute", f"--workdir={trained}", f"--to={folder}", "--dtype=float32")
    assert read_manifest(folder) == read_manifest(outputs["float32"])
    found, expected = PrecomputedOutputs(folder), PrecomputedOutputs(outputs["float32"])
    for index in range(40):
        for name, value in found.read(index, True).items():
            np.testing.assert_allclose(value, expected.read(index, True)[name], rtol=1e-4, atol=1e-5)

    config = student_config(synthetic_dataset, folder, steps=6, validate_every=6)
    train.main(config, tmp_path / "one")
    settings = {"steps": 6, "validate_every": 6, "data.data_dir": synthetic_dataset, "teacher_outputs": folder}
    settings |= {"data.augment.shift": 0, "data.augment.scale": 0}
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    launch("train", "--config=configs/student.py:test", f"--workdir={tmp_path / 'two'}", *overrides)
    np.testing.assert_allclose(logged(tmp_path / "two"), logged(tmp_path / "one"), rtol=1e-5)


def test_a_run_knows_in_what_dtype_its_teacher_has_spoken(outputs, synthetic_dataset, tmp_path):
    """The same teacher in both, and other numbers."""
    configs = [student_config(synthetic_dataset, outputs[dtype]) for dtype in DTYPES]
    before, now = (provenance.describe(config, teacher_step=4) for config in configs)
    assert before["teacher_sha256"] == now["teacher_sha256"]
    assert provenance.facts(configs[1], now, tmp_path)["teacher_outputs"] == "float32"
    with pytest.raises(UserError, match="teacher_outputs: bfloat16 -> float32"):
        check_same_origin(before, now, tmp_path)


def test_a_finished_folder_is_left_as_it_is_and_others_are_refused(trained, outputs, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in outputs["float32"].iterdir()}
    precompute.main(trained, "train", outputs["float32"], dtype="float32")
    assert {path: path.stat().st_mtime_ns for path in outputs["float32"].iterdir()} == before
    with pytest.raises(UserError, match=r"holds other outputs.*dtype: float32 there, bfloat16 now"):
        precompute.main(trained, "train", outputs["float32"])
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        precompute.main(trained, "train", tmp_path)


def test_a_run_that_was_killed_computes_what_is_missing(trained, outputs, tmp_path, monkeypatch):
    folder, written = tmp_path / "outputs", []
    write = precompute.write_shard

    def write_five(path, *rest):
        if len(written) == 5:
            (path.parent / f".{path.name}.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(precompute, "write_shard", write_five)
    with pytest.raises(KeyboardInterrupt):
        precompute.main(trained, "train", folder, dtype="float32")
    with pytest.raises(UserError, match=r"no finished outputs.*painjax precompute"):
        PrecomputedOutputs(folder)
    with pytest.raises(UserError, match="flip: True there, False now"):
        precompute.main(trained, "train", folder, dtype="float32", flip=False)
    first = [(folder / name).stat().st_mtime_ns for name in written]
    monkeypatch.setattr(precompute, "write_shard", write)
    precompute.main(trained, "train", folder, dtype="float32", batch_size=3)
    assert [(folder / name).stat().st_mtime_ns for name in written] == first
    assert sorted(path.name for path in folder.iterdir()) == sorted(p.name for p in outputs["float32"].iterdir())
    found, expected = PrecomputedOutputs(folder), PrecomputedOutputs(outputs["float32"])
    for index in range(40):
        np.testing.assert_allclose(
            found.read(index, True)["teacher_patch_tokens"],
            expected.read(index, True)["teacher_patch_tokens"],
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(UserError, match=r"needs 0.00192 GB, and its disk has 1e-06 GB.*--no_flip"):
        precompute.main(trained, "train", tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("count", [1, 300])  # the writer meets the full disk when it is closed, or before
def test_a_disk_that_gets_full_is_named(count, tmp_path):
    about = {"teacher": "", "teacher_step": 0, "teacher_sha256": "", "data_set": {}, "split": "train"}
    manifest = precompute.plan(teacher.get_config(), count, dtype="float32", flip=False, **about)
    outputs = {
        "patch_tokens": np.ones((196, 256), np.float32),
        "pspi": np.float32(0),
        "aus": np.zeros(6, np.float32),
        "threshold_logits": np.zeros(3, np.float32),
    }
    os.symlink("/dev/full", tmp_path / ".shard.partial")
    with pytest.raises(UserError, match="shard cannot be written: .*No space left.*Make room"):
        precompute.write_shard(tmp_path / "shard", manifest, ([outputs] for _ in range(count)))


def test_a_process_writes_only_where_the_first_one_has_made_the_folder(trained, tmp_path, monkeypatch):
    folder, waited = tmp_path / "outputs", []
    read = restore_model(trained)

    def wait(what):  # what the first process does meanwhile
        waited.append(what)
        if what == "begun":
            folder.mkdir()

    monkeypatch.setattr(precompute, "restore_model", lambda _: read)
    monkeypatch.setattr(precompute, "_wait_for_all", wait)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    manifest = precompute.main(trained, "train", folder)
    assert waited == ["looked", "begun", "written"]
    shards = [manifest.shard_path(folder, i).name for i in range(len(manifest.shards))]
    assert sorted(path.name for path in folder.iterdir()) == sorted(shards[1::2])


def test_only_a_teacher_can_be_asked(trained, outputs, synthetic_dataset, tmp_path):
    config = student_config(synthetic_dataset, outputs["bfloat16"], steps=2)
    train.main(config, tmp_path / "student")
    with pytest.raises(UserError, match="takes data.input = 'image'; expected a teacher"):
        precompute.main(tmp_path / "student", "train", tmp_path / "outputs")


def changed(folder, tmp_path, **fields):
    """A copy of the outputs that says something else of itself."""
    copy = shutil.copytree(folder, tmp_path / "changed")
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | fields))
    return copy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data_set": {"name": "pain3d/full"}}, "of a data set of name pain3d/full.*one of name pain3d/quick"),
        ({"data_set": {"version": "0.1.0"}}, "of a data set of version 0.1.0"),
        ({"split": "test"}, "of split 'test', and config.data.train_split is 'train'"),
        ({"count": 39}, "of 39 examples, and the split has 40"),
        ({"width": 64}, "width is 64, the student's project_width 32"),
        ({"patches": 49, "image_size": 112}, "of 49 patches of heatmaps of 112 pixels.*16 of 32 pixels"),
        ({"flip": False}, r"without mirrored heatmaps \(--no_flip\), and config.data.augment.flip is 0.5"),
        ({"teacher_sha256": "00"}, r"of step 4 of .* and config.teacher is .*, whose best step is 4"),
        ({"format": 7}, "format 7.*reads 1"),
        ({"depth": 3}, "outputs.json cannot be read.*depth"),
    ],
)
def test_outputs_that_do_not_fit_are_refused_by_name(
    trained, outputs, synthetic_dataset, tmp_path, fields, message
):  # fmt: skip
    folder = changed(outputs["bfloat16"], tmp_path, **fields)
    config = student_config(synthetic_dataset, folder, teacher=str(trained))
    with pytest.raises(UserError, match=message):
        find_teacher(config)


def test_outputs_that_fit_need_no_teacher(outputs, synthetic_dataset):
    assert find_teacher(student_config(synthetic_dataset, outputs["bfloat16"])) == (None, 4)


def test_augmentation_that_moves_the_heatmap_is_refused(outputs, synthetic_dataset):
    config = student_config(synthetic_dataset, outputs["bfloat16"])
    config.data.augment.shift = 0.05
    with pytest.raises(UserError, match=r"change what the teacher sees: config.data.augment.shift = 0.05"):
        find_teacher(config)


def test_a_lost_file_and_a_damaged_record_are_named(outputs, tmp_path):
    folder = shutil.copytree(outputs["bfloat16"], tmp_path / "lost")
    found = PrecomputedOutputs(folder)
    with pytest.raises(UserError, match="has 3 bytes; expected 1064"):
        found.manifest.unpack(b"abc")
    lost = found.manifest.shard_path(folder, 2)
    lost.unlink()
    with pytest.raises(UserError, match=f"incomplete: {lost.name} is missing"):
        PrecomputedOutputs(folder)
