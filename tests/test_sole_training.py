"""One training at a time in a working directory, told by the system's own locks between real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
