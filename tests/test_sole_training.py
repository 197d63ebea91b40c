"""One training at a time in a working directory, told by the system's own locks between real processes."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from painjax import sole_training as module
from painjax.__main__ import main
from painjax.errors import UserError
from painjax.sole_training import sole_training

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
import os, pathlib, sys
from painjax.sole_training import sole_training
with sole_training(pathlib.Path(sys.argv[1])):
    child = os.fork() if len(sys.argv) > 2 else 1  # as workers of the data pipeline may be made
    if child:
        print(child, flush=True)
    sys.stdin.read()
    os._exit(0)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that trains in W; with a child, which outlives it."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "run"), *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()  # closes what its child reads, too


def test_a_second_training_is_told_of_the_first(other, tmp_path):
    process, _ = other()
    with pytest.raises(UserError, match=rf"run is being trained in by process {process.pid} on .*--workdir"):
        with sole_training(tmp_path / "run"):
            pass
    with sole_training(tmp_path / "another"):
        pass


def test_however_the_first_one_ends_the_next_may_begin(other, tmp_path):
    process, child = other("with a child")
    os.kill(process.pid, 9)
    process.wait()
    os.kill(child, 0)  # it lives
    for _ in range(2):
        with sole_training(tmp_path / "run"):
            assert (tmp_path / "run" / ".lock").read_text().split()[1] == str(os.getpid())


def test_the_command_says_so_too(other, synthetic_dataset, tmp_path, capsys):
    process, _ = other()
    arguments = [f"--workdir={tmp_path}/run", f"--config.data.data_dir={synthetic_dataset}"]
    assert main(["train", "--config=configs/teacher.py:test", *arguments]) == 2
    assert f"painjax train: {tmp_path}/run is being trained in by process {process.pid}" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


def test_another_machine_is_waited_for(other, tmp_path, monkeypatch, caplog):
    """Its lock goes when its file server lets it go, here when the process ends."""
    process, _ = other()
    (tmp_path / "run" / ".lock").write_text("process 7 on a.machine\n")
    monkeypatch.setattr(module, "PATIENCE_S", 1.0)
    monkeypatch.setattr(module, "_PAUSE_S", 0.1)
    with pytest.raises(UserError, match=r"process 7 on a.machine.*If that machine is gone, remove .*\.lock"):
        with sole_training(tmp_path / "run"):
            pass
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: process.kill() or process.wait())
    with caplog.at_level("WARNING", "absl"), sole_training(tmp_path / "run"):
        assert "is being trained in by process 7 on a.machine: waiting" in caplog.text


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with caplog.at_level("WARNING", "absl"), sole_training(tmp_path):
        assert "has no file locks" in caplog.text


def test_only_the_first_process_of_a_job_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(module.jax, "process_index", lambda: 1)
    with sole_training(tmp_path):
        assert not list(tmp_path.iterdir())
