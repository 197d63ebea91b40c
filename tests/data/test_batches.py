import itertools
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from configs import student
from painjax.data.batches import Batches, one_ahead
from painjax.data.pipeline import eval_batches, train_batches


def numbers(i):
    return {"number": np.int64(i), "square": np.full(3, i * i)}


def take(batches, n):
    return [batch["number"].tolist() for batch in itertools.islice(batches, n)]


def test_every_batch_in_order_then_an_end():
    with Batches(numbers, rows=3, count=4, threads=2, workers=0) as batches:
        made = list(batches)
    assert [batch["number"].tolist() for batch in made] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    np.testing.assert_array_equal(made[2]["square"], [[36] * 3, [49] * 3, [64] * 3])


@pytest.mark.parametrize("threads", [1, 4])
def test_a_position_is_the_number_of_batches_taken(threads):
    with Batches(numbers, rows=2, count=2**40, threads=threads, workers=0) as batches:
        take(batches, 5)
        assert batches.get_state() == {"next_index": 5}
        batches.set_state({"next_index": 2**35})
        assert take(batches, 2) == [[2**36, 2**36 + 1], [2**36 + 2, 2**36 + 3]]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_batches_are_made_before_they_are_asked_for(workers, tmp_path):
    def load(i):
        (tmp_path / str(i)).touch()
        return numbers(i)

    with Batches(load, rows=2, count=3, threads=1, workers=workers) as batches:
        assert not list(tmp_path.iterdir())
        batches.start()
        deadline = time.monotonic() + 120
        while not (tmp_path / "5").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert batches.get_state() == {"next_index": 0}
        assert take(batches, 3) == [[0, 1], [2, 3], [4, 5]]


def test_going_on_makes_nothing_twice():
    made = []
    with Batches(lambda i: made.append(i) or numbers(i), rows=1, count=100, threads=1, workers=0) as batches:
        batches.set_state({"next_index": 90})
        take(batches, 100)
    assert made == list(range(90, 100))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_goes_on_until_the_training_ends_it(number):
    with Batches(numbers, rows=2, count=100, threads=1, workers=1) as batches:
        next(batches)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, number)
        assert len(list(batches)) == 99  # more than are made ahead
    assert not worker.is_alive()


@pytest.mark.slow
def test_worker_processes_change_neither_values_nor_order_nor_where_to_go_on(synthetic_dataset):
    config = student.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    with train_batches(config) as batches:
        expected = list(itertools.islice(batches, 8))  # into the second epoch
    state = {"next_index": 0}
    found = []
    for workers, count in ((1, 2), (2, 3), (0, 1), (1, 2)):  # each goes on where the one before it stopped
        config.data.workers = workers
        with train_batches(config) as batches:
            batches.set_state(state)
            found += itertools.islice(batches, count)
            state = batches.get_state()
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    config.data.workers = 2
    with eval_batches(config, "test") as batches:
        made = list(batches)
    assert np.concatenate([batch["index"][batch["valid"]] for batch in made]).tolist() == list(range(10))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_next_result_is_begun_before_one_is_used(count):
    begun = []
    seen = [(each, len(begun)) for each in one_ahead(begun.append(i) or i for i in range(count))]
    assert seen == [(i, min(i + 2, count)) for i in range(count)]
