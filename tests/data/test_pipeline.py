import itertools

import numpy as np
import pytest

from configs import student, student_supervised, teacher
from painjax.data.pipeline import eval_batches, train_batches


@pytest.fixture
def config(synthetic_dataset):
    config = student.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    return config


def take(batches, n):
    return [batch["index"] for batch in itertools.islice(batches, n)]


def test_an_epoch_holds_every_frame_once_and_the_next_is_in_another_order(config):
    first, second = np.split(np.concatenate(take(train_batches(config), 10)), 2)
    assert sorted(first) == sorted(second) == list(range(40))
    assert list(first) != list(second)


def test_a_batch_has_what_the_model_needs_and_no_more(config):
    batch = next(train_batches(config))
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "image": ((8, 32, 32, 3), np.uint8),
        "neutral_image": ((8, 32, 32, 3), np.uint8),
        "heatmap": ((8, 32, 32, 1), np.uint8),
        "aus": ((8, 6), np.float32),
        "pspi": ((8,), np.float32),
        "identity": ((8,), np.int32),
        "index": ((8,), np.int32),
        "row": ((8,), np.int32),
        "flip": ((8,), np.bool_),
        "valid": ((8,), np.bool_),
    }
    heatmaps = teacher.get_config("test")
    heatmaps.data.data_dir = config.data.data_dir
    assert "image" not in next(train_batches(heatmaps))


def test_heatmaps_are_read_for_what_learns_from_them_and_for_evaluation(config):
    labels_alone = student_supervised.get_config("test")
    labels_alone.data.data_dir = config.data.data_dir
    assert "heatmap" not in next(train_batches(labels_alone))
    assert "heatmap" in next(eval_batches(labels_alone, "test"))
    labels_alone.loss.attention = 0.1
    assert "heatmap" in next(train_batches(labels_alone))


def test_the_order_follows_from_the_seed(config):
    once, again = take(train_batches(config), 6), take(train_batches(config), 6)
    np.testing.assert_array_equal(once, again)
    config.seed = 1
    assert not np.array_equal(once, take(train_batches(config), 6))


def test_a_restored_position_goes_on_with_the_next_batch(config):
    batches = train_batches(config)
    take(batches, 7)  # into the second epoch
    position = batches.get_state()
    expected = take(batches, 5)
    resumed = train_batches(config)
    resumed.set_state(position)
    np.testing.assert_array_equal(take(resumed, 5), expected)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 7], [6]])
def test_rows_of_a_batch_are_the_same_frames_whatever_other_rows_are_made(config, rows):
    whole, part = take(train_batches(config), 7), take(train_batches(config, np.array(rows)), 7)
    np.testing.assert_array_equal(np.array(whole)[:, rows], part)
    np.testing.assert_array_equal(next(train_batches(config, np.array(rows)))["row"], rows)


@pytest.mark.parametrize("shares", [[range(8)], [[0, 1, 4, 5], [2, 3, 6, 7]]])
def test_evaluation_sees_every_frame_once_and_marks_the_padding(config, shares):
    seen, sizes = [], []
    for rows in shares:
        batches = list(eval_batches(config, "validation", np.array(rows)))
        sizes.append([len(batch["index"]) for batch in batches])
        seen += [index for batch in batches for index in batch["index"][batch["valid"]]]
    assert sizes == [[8 // len(shares)] * 2] * len(shares)
    assert sorted(seen) == list(range(12))
