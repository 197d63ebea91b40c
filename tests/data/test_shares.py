"""However frames divide over shards and processes: nothing is lost, counted twice or read by the wrong process."""

import itertools
import json
import shutil

import numpy as np
import pytest
from array_record.python import array_record_module

from configs import teacher
from painjax.data.pipeline import eval_batches, train_batches
from painjax.data.records import Records
from painjax.errors import UserError
from tests.synthetic_pain3d import build


def make_config(data_dir, batch_size=8):
    config = teacher.get_config("test")
    config.data.data_dir = str(data_dir)
    config.batch_size = batch_size
    return config


@pytest.fixture
def reads(monkeypatch):
    """The records read so far."""
    read, seen = Records.read, []
    monkeypatch.setattr(Records, "read", lambda self, index, fields: seen.append(index) or read(self, index, fields))
    return seen


def own_rows(process, processes):
    """Of a batch of 8, not in one block."""
    return np.arange(process, 8, processes)


@pytest.mark.parametrize(
    "frames, shards, processes", [(10, 1, 4), (10, 3, 2), (11, 8, 2), (3, 1, 8), (3, 2, 4), (1, 1, 2), (16, 4, 2)]
)
def test_evaluation_counts_every_frame_once_and_each_process_reads_only_its_rows(
    tmp_path, reads, frames, shards, processes
):
    config = make_config(build(tmp_path, size=8, shards=shards, test=frames))
    found, batches = [], -(-frames // 8)
    for process in range(processes):
        reads.clear()
        with eval_batches(config, "test", own_rows(process, processes)) as made:
            rows = list(made)
        assert [len(batch["valid"]) for batch in rows] == [8 // processes] * batches  # as many steps everywhere
        own = [index for batch in rows for index in batch["index"][batch["valid"]]]
        assert set(reads) <= {*own, frames - 1}  # which fills the last batch up
        found += own
    assert sorted(found) == list(range(frames))


@pytest.mark.parametrize("frames, shards", [(10, 3), (3, 1), (5, 5)])
def test_training_sees_every_frame_once_an_epoch_whatever_the_shards(tmp_path, reads, frames, shards):
    config = make_config(build(tmp_path, size=8, shards=shards, train=frames))
    parts = []
    for process in range(4):
        reads.clear()
        with train_batches(config, own_rows(process, 4)) as batches:
            parts.append([batch["index"] for batch in itertools.islice(batches, frames)])
        ahead = len(reads) - 2 * frames
        assert reads[: 2 * frames] and 0 <= ahead <= 2 * 20  # batches made ahead, all of them its own
    order = np.stack(parts, axis=2).reshape(-1)  # 8 epochs
    assert (np.sort(order.reshape(8, frames), axis=1) == np.arange(frames)).all()


def with_shards(data_dir, lengths):
    """Rewrites the test split as shards of these lengths, all but one of them empty, as other writers than TFDS may."""
    folder = data_dir / "pain3d/quick/1.0.0"
    (old,) = folder.glob("*-test.array_record-*")
    name = f"{old.name.removesuffix('-00000-of-00001')}-{{:05d}}-of-{len(lengths):05d}"
    for number, length in enumerate(lengths):
        path = folder / name.format(number)
        if length:
            shutil.copy(old, path)
        else:
            array_record_module.ArrayRecordWriter(str(path), "group_size:1").close()
    old.unlink()
    described = json.loads((folder / "dataset_info.json").read_text())
    (split,) = [split for split in described["splits"] if split["name"] == "test"]
    split["shardLengths"] = [str(length) for length in lengths]
    (folder / "dataset_info.json").write_text(json.dumps(described))


@pytest.mark.parametrize("lengths", [(0, 5), (5, 0), (0, 5, 0, 0)])
def test_an_empty_shard_is_passed_over(tmp_path, lengths):
    with_shards(build(tmp_path, size=8, test=5), lengths)
    with eval_batches(make_config(tmp_path), "test") as batches:
        (batch,) = batches
    assert batch["index"][batch["valid"]].tolist() == [0, 1, 2, 3, 4]


def test_an_empty_split_is_refused(tmp_path):
    with_shards(build(tmp_path, size=8, test=5), (0, 0))
    with pytest.raises(UserError, match="no examples in its split 'test'"):
        eval_batches(make_config(tmp_path), "test")
