"""Examples made into batches ahead of time, by threads or worker processes, from any batch on."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

_AHEAD = 8  # batches made ahead of the one that is asked for, where this process makes them
_AHEAD_OF_WORKER = 4  # those of each worker process that wait in shared memory; it has `threads` more in the making


class Batches(Iterator[dict[str, Any]]):
    """Batches of `rows` examples: batch k stacks `load(k * rows)` onwards.

    Values, order and position do not depend on `threads` and `workers`, so that either may change on resuming. A
    context manager: leaving it, or `close`, ends threads and worker processes, and gives back the memory shared with
    these.

    Args:
      load: makes one example, a dict of NumPy arrays; with workers, of things that `cloudpickle` can send to them.
      rows: of a batch.
      count: of batches.
      threads: that make batches in this process, or in each worker.
      workers: processes that make them; 0: this one does.
    """

    def __init__(self, load: Callable[[int], dict[str, Any]], rows: int, count: int, *, threads: int, workers: int):
        self._load, self._rows, self._count = load, rows, count
        self._threads, self._workers = threads, workers
        self._next, self._made = 0, None

    def start(self) -> None:
        """Begins to make batches, so that the first is there when it is asked for."""
        if self._made is None:
            self._made = self._maker()
        self._made.start_prefetch()

    def __next__(self) -> dict[str, np.ndarray]:
        if self._made is None:
            self._made = self._maker()
        batch = next(self._made)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The position, fit for JSON."""
        return {"next_index": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes on from a position as if it had been reached."""
        self.close()
        self._next = state["next_index"]

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts new ones."""
        if self._made is not None:
            self._made.close()
        self._made = None

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _maker(self) -> grain.DatasetIterator:
        if not flags.FLAGS.is_parsed():  # grain and its workers read theirs, which only absl's own main parses
            flags.FLAGS.mark_as_parsed()
        examples = grain.MapDataset.range(self._next * self._rows, self._count * self._rows).map(self._load)
        made = self._threads if self._workers else max(_AHEAD, self._threads)
        ahead = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=made)
        batches = examples.batch(self._rows).to_iter_dataset(ahead)
        if self._workers:
            options = grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=_AHEAD_OF_WORKER)
            batches = batches.mp_prefetch(options, worker_init_fn=_leave_signals)
            # A thread asks the workers, which would not begin before they are asked.
            batches = grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=1)
        return iter(batches)


def _leave_signals(worker: int, workers: int) -> None:
    """Has a worker process ignore what tells a training to stop: schedulers and terminals tell every process, and the
    training, which saves first, still needs its batches and ends the workers itself."""
    del worker, workers
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def one_ahead(results: Iterator) -> Iterator:
    """The same; the devices compute the next one while this one is used."""
    before = next(results, None)
    for result in results:
        yield before
        before = result
    if before is not None:
        yield before
