"""Processes that draw: their number, their threads, what they do not import, and what they say as they die."""

import concurrent.futures.process
import os
import sys
from pathlib import Path

import pytest

from data_gen import egl, processes


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
    """The file of the main module of a process."""
    return getattr(sys.modules["__main__"], "__file__", None)


def test_a_process_imports_nothing_of_the_command_that_starts_it(monkeypatch, tmp_path):
    """As `tfds`, which would bring TensorFlow."""
    command = tmp_path / "command.py"
    command.write_text("raise AssertionError('imported')")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(command), raising=False)  # pytest-xdist has none
    monkeypatch.setattr(main, "__spec__", None, raising=False)
    with processes.pool(1) as pool:
        with processes.while_starting():
            found = pool.submit(main_module)
        assert found.result() != str(command)
    assert sys.modules["__main__"] is main


def test_the_main_module_is_back_after_an_error():
    main = sys.modules["__main__"]
    with pytest.raises(KeyError), processes.while_starting():
        raise KeyError("mine")
    assert sys.modules["__main__"] is main
    with processes.while_starting():  # and the next may start
        assert sys.modules["__main__"] is not main


def threads_of_a_renderer() -> list[str]:
    """The names of the threads of a process that has an OpenGL context."""
    platform, _ = egl.open_context(16)
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    egl.close_context(platform)
    return names


def test_mesa_rasterises_in_the_thread_that_draws(monkeypatch):
    """Its own threads write into memory that is freed."""
    monkeypatch.setenv("LP_NUM_THREADS", "2")
    with processes.pool(1) as pool, processes.while_starting():
        names = pool.submit(threads_of_a_renderer).result()
    assert names and not [name for name in names if name.startswith("llvmpipe")]


def test_a_process_that_native_code_ends_says_where_it_was(capfd):
    with processes.pool(1) as pool, processes.while_starting():
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            pool.submit(os.abort).result()
    said = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in said and "_process_worker" in said
