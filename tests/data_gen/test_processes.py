"""Processes that draw: their number, and what they are kept from importing."""

import os
import sys

import pytest

from data_gen import processes


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_bad_number_of_workers_is_refused(monkeypatch, text):
    monkeypatch.setenv("PAINJAX_WORKERS", text)
    with pytest.raises(ValueError, match="PAINJAX_WORKERS"):
        processes.worker_count()


def test_one_worker_per_core_that_may_be_used(monkeypatch):
    monkeypatch.delenv("PAINJAX_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert processes.worker_count() == 3
    monkeypatch.setenv("PAINJAX_WORKERS", "2")
    assert processes.worker_count() == 2


def main_module():
    """The file of the main module of a process, and how many threads Mesa takes there."""
    return getattr(sys.modules["__main__"], "__file__", None), os.environ.get("LP_NUM_THREADS")


def test_a_process_imports_nothing_of_the_command_that_starts_it(monkeypatch, tmp_path):
    """As `tfds`, which would bring TensorFlow."""
    command = tmp_path / "command.py"
    command.write_text("raise AssertionError('imported')")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(command), raising=False)  # pytest-xdist has none
    monkeypatch.setattr(main, "__spec__", None, raising=False)
    monkeypatch.setenv("LP_NUM_THREADS", "7")
    with processes.pool(1) as pool:
        with processes.while_starting():
            found = pool.submit(main_module)
        file, threads = found.result()
    assert file != str(command) and threads == "1"
    assert sys.modules["__main__"] is main


def test_the_main_module_is_back_after_an_error():
    main = sys.modules["__main__"]
    with pytest.raises(KeyError), processes.while_starting():
        raise KeyError("mine")
    assert sys.modules["__main__"] is main
    with processes.while_starting():  # and the next may start
        assert sys.modules["__main__"] is not main
