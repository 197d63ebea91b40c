import itertools

import numpy as np
import pytest

from configs import teacher
from painjax.data.pipeline import train_batches
from painjax.data.sampling import pspi_classes
from painjax.data.sources import FrameSource
from tests.synthetic_pain3d import build


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return build(tmp_path_factory.mktemp("data"), size=8, train=60)


@pytest.fixture
def config(data_dir):
    config = teacher.get_config("test")
    config.data.data_dir = str(data_dir)
    config.data.sampling = "balanced"
    return config


def drawn(config, batches):
    with train_batches(config) as made:
        return np.array([batch["index"] for batch in itertools.islice(made, batches)])


def test_classes_of_the_score():
    scores = np.array([0, 0.1, 1, 2, 2.5, 3, 4, 4.1, 5, 8, 9, 16])
    assert pspi_classes(scores).tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]


def test_every_class_that_there_is_comes_equally_often_and_every_frame_of_it(config, data_dir):
    (scores,) = FrameSource("pain3d/quick", "train", (), str(data_dir)).columns("pspi")
    classes = pspi_classes(scores)
    present, sizes = np.unique(classes, return_counts=True)
    assert len(present) >= 3 and sizes.max() > 3 * sizes.min()  # or there is nothing to balance
    index = drawn(config, 100).reshape(-1)
    counts = np.bincount(classes[index], minlength=5)
    assert np.ptp(counts[present]) <= 1 and counts.sum() == 800
    for c in present:
        times = np.bincount(index[classes[index] == c], minlength=60)[classes == c]
        assert np.ptp(times) <= 1  # within a class all frames take turns


def test_the_order_follows_from_the_seed_and_goes_on_where_it_stopped(config):
    whole = drawn(config, 9)
    np.testing.assert_array_equal(whole, drawn(config, 9))
    with train_batches(config) as batches:
        batches.set_state({"next_index": 6})
        np.testing.assert_array_equal([next(batches)["index"] for _ in range(3)], whole[6:])
    config.seed = 1
    assert not np.array_equal(whole, drawn(config, 9))
