"""Processes that draw or paint: how many there may be, how they begin, and that they end with their parent."""

import concurrent.futures
import contextlib
import faulthandler
import functools
import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Iterator

DIED = (
    "A rendering process died, most often for want of memory (each of {} takes about 1 GB) or in the OpenGL driver, "
    "which then leaves a stack on stderr, 'Fatal Python error'. Set PAINJAX_WORKERS to a smaller number and run the "
    "same command again."
)
TRIES = 3  # of an identity whose process dies
_STARTING = threading.Lock()  # two threads must not take turns with the main module
_IDLE: list[concurrent.futures.ProcessPoolExecutor] = []  # of one process each, so that one that dies takes none along


def worker_count() -> int:
    """Processes to generate with: PAINJAX_WORKERS, else one per core this process may use."""
    text = os.environ.get("PAINJAX_WORKERS", str(len(os.sched_getaffinity(0))))
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PAINJAX_WORKERS is {text!r}; expected a positive whole number of processes.")
    return int(text)


def begin() -> None:
    """How a process begins: one that native code ends says on stderr where it was, and one whose parent is killed ends,
    for it would wait for work, with its memory or GPU, as long as the machine runs."""
    if sys.stderr is not None:
        faulthandler.enable()
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """New processes, started as work is submitted `while_starting`; a forked child would share the parent's GL and XLA
    threads."""
    return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin)


@contextlib.contextmanager
def kept_process() -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """A process for one caller; there are never more than workers, and one that dies is not kept."""
    with _places():
        try:
            process = _IDLE.pop()
        except IndexError:
            process = pool(1)
        yield process
        _IDLE.append(process)


@functools.cache
def _places() -> threading.Semaphore:
    return threading.Semaphore(worker_count())


@contextlib.contextmanager
def while_starting() -> Iterator[None]:
    """Keeps new processes from importing the parent's main module, one thread at a time.

    They need nothing of it, and `tfds` would bring TensorFlow, whose LLVM crashes that of Mesa's rasteriser.
    """
    with _STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
