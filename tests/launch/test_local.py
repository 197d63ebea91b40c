"""A real job of several processes on this machine: it trains, stops, resumes, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from painjax import __main__ as cli
from painjax import arguments
from painjax.launch import local

ROOT = Path(__file__).resolve().parents[2]

# An experiment that does, in each process of a job, what the line says before JAX is loaded.
EXPERIMENT = """
import os, signal, subprocess, sys, time
from pathlib import Path
from ml_collections import ConfigDict

def get_config():
    rank = os.environ.get("JAX_PROCESS_ID")
    if rank is not None:  # the launcher reads experiments too
        (Path(__file__).parent / f"pid{{rank}}").write_text(str(os.getpid()))
        {line}
    return ConfigDict({{"steps": 1}})
"""


def launcher(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "painjax", "launch", "local", *map(str, arguments)],
        cwd=ROOT, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def launch(*arguments, **environment):
    """Exit status, stdout and stderr."""
    process = launcher(*arguments, **environment)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


@pytest.fixture
def experiment(tmp_path):
    """Makes an experiment that runs a line of Python; returns the command to launch it."""

    def make(line):
        (tmp_path / "experiment.py").write_text(EXPERIMENT.format(line=line))
        return ["--", "train", f"--config={tmp_path / 'experiment.py'}", f"--workdir={tmp_path / 'run'}"]

    return make


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(folder, names=("pid0", "pid1")):
    """Waits until every process has written down its number."""
    return [int(wait_for(lambda path=folder / name: path.exists() and path.read_text())) for name in names]


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return value


def test_the_subcommands_that_can_be_launched_are_those_that_can_be_distributed():
    (commands,) = [a.choices for a in arguments.parser()._actions if a.dest == "name"]
    assert {n for n, sub in commands.items() if "--distributed" in sub.format_help()} - {"launch"} == {
        *local.DISTRIBUTED
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes=0", "--", "train"], "--processes is 0; expected at least 1"),
        (["--processes=2", "--devices-per-process=0", "--", "train"], "--devices-per-process is 0"),
        (["--processes=two", "--", "train"], "--processes: invalid int value: 'two'"),
        (["--", "train"], "required: --processes"),
        (["--processes=2", "train"], "put -- before the command"),
        (["--processes=2"], "After -- stands nothing; expected one of"),
        (["--processes=2", "--", "predict", "--workdir=x", "--image=y"], "After -- stands 'predict'"),
        (["--processes=2", "--", "bash"], "After -- stands 'bash'"),
        (["--procs=2", "--processes=2", "--", "train"], "unknown argument '--procs=2'"),
        (["--processes=2", "--port=0", "--", "train"], "--port is 0; expected 1 to 65535"),
        (["--processes=2", "--port=70000", "--", "train"], "--port is 70000"),
    ],
)
def test_mistakes_are_refused_before_anything_starts(arguments, message, experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    if arguments[-1] == "train" and "--" in arguments:
        arguments = arguments[:-2] + experiment("pass")
    try:
        status = cli.main(["launch", "local", *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "--config=missing.py", "--workdir=w"], "There is no experiment missing.py"),
        (["train", "--config=configs/teacher.py:test", "--workdir=w", "--config.stepz=1"], "Unknown setting"),
        (["train", "--workdir=w"], "required: --config"),
        (["evaluate", "--workdr=w"], "required: --workdir"),
        (["evaluate", "--workdir=gs://bucket/w"], "gs://bucket/w is not a folder; mount the bucket"),
    ],
)
def test_mistakes_of_the_command_are_said_once(command, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(subprocess, "Popen", None)
    try:
        status = cli.main(["launch", "local", "--processes=2", "--", *command])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert capsys.readouterr().err.count(message) == 1


def test_a_busy_port_is_refused(experiment):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        status, _, err = launch("--processes=2", f"--port={port}", *experiment("pass"))
    assert status == 2
    assert f"--port={port} cannot be used" in err and "in use" in err and "Traceback" not in err


def test_when_one_fails_the_others_are_stopped_and_it_is_named(experiment, tmp_path):
    line = "print('a word'); sys.exit('no face in sight' * 2) if rank == '1' else time.sleep(300)"
    began = time.monotonic()
    status, out, err = launch("--processes=3", *experiment(line))
    assert status == 1
    assert time.monotonic() - began < 60
    assert "[1] a word" in out.splitlines()
    assert "process 1 ended with status 1; the others were stopped" in err
    assert err.rstrip().splitlines()[-1] == "launch:     no face in sightno face in sight"
    assert not any(alive(int(path.read_text())) for path in tmp_path.glob("pid*"))


def test_a_process_that_is_killed_is_named_with_the_signal(experiment):
    line = "os.kill(os.getpid(), signal.SIGKILL) if rank == '0' else time.sleep(300)"
    status, _, err = launch("--processes=2", *experiment(line))
    assert status == 128 + signal.SIGKILL
    assert "process 0 was killed by SIGKILL (out of memory?)" in err


def test_processes_that_will_not_stop_are_killed_when_one_has_failed(experiment, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local, "_GRACE_S", 1.0)
    line = "signal.signal(15, signal.SIG_IGN); time.sleep(2 if rank == '1' else 300); sys.exit(7)"
    arguments = experiment(line)[1:]
    assert local.main(2, 1, arguments) == 7
    assert not any(alive(pid) for pid in pids(tmp_path))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_stop_before_there_is_anything_to_save(experiment, tmp_path, number, status):
    process = launcher("--processes=2", *experiment("time.sleep(300)"))
    started = pids(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "stopped before all had saved" in err
    assert not any(alive(pid) for pid in started)


def test_told_twice_it_kills(experiment, tmp_path):
    process = launcher("--processes=2", *experiment("signal.signal(15, signal.SIG_IGN); time.sleep(300)"))
    started = pids(tmp_path)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "telling" in process.stderr.readline())
    assert all(alive(pid) for pid in started)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not any(alive(pid) for pid in started)


def test_when_nobody_reads_any_more_it_stops(experiment, tmp_path):
    process = launcher("--processes=2", *experiment("[print('x' * 99) or time.sleep(0.01) for _ in range(30000)]"))
    started = pids(tmp_path)
    process.stdout.readline()
    process.stdout.close()  # as `| head -n 1`
    assert process.wait(timeout=60) == 143
    process.stderr.close()
    assert not any(alive(pid) for pid in started)


def test_a_killed_launcher_leaves_no_orphans(experiment, tmp_path):
    """Nor workers of its processes, even such as ignore every signal that can be ignored."""
    worker = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']).pid"
    line = (
        f"pid = {worker}; (Path(__file__).parent / f'worker{{rank}}').write_text(str(pid)); "
        "signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    )
    process = launcher("--processes=2", *experiment(line))
    started = pids(tmp_path, ("pid0", "pid1", "worker0", "worker1"))
    assert all(alive(pid) for pid in started)
    process.kill()
    try:
        wait_for(lambda: not any(alive(pid) for pid in started), 20)
    finally:
        for pid in filter(alive, started):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_job_trains_stops_when_told_and_goes_on(synthetic_dataset, tmp_path):
    workdir, steps = tmp_path / "run", 200
    settings = [f"--config.data.data_dir={synthetic_dataset}", f"--config.steps={steps}"]
    settings += ["--config.model.depth=1", f"--config.validate_every={steps}", f"--config.checkpoint_every={steps}"]
    arguments = ["--processes=2", "--devices-per-process=2", "--", "train", "--config=configs/teacher.py:test"]
    arguments += [f"--workdir={workdir}", *settings]

    def logged():
        path = workdir / "metrics.jsonl"
        return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []

    first = launcher(*arguments, OMP_NUM_THREADS="1")
    try:
        wait_for(lambda: logged() or first.poll() is not None, 300)
        first.send_signal(signal.SIGTERM)
        out, err = first.communicate(timeout=300)
    finally:
        first.kill()
    assert first.returncode == 143, err[-3000:]
    stopped = logged()[-1]
    assert 1 <= stopped < steps
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == [str(stopped)]
    assert all(f"[{rank}] Stopped at step {stopped} of {steps}" in err for rank in range(2))
    assert all(line.startswith("[") for line in out.splitlines()) and "Gloo" not in out

    status, out, err = launch(*arguments, OMP_NUM_THREADS="1")
    assert status == 0, err[-3000:]
    assert sorted(out.splitlines())[1].startswith(f"[1] Trained {steps} steps.")
    assert sorted(set(logged())) == list(range(1, steps + 1))
    assert err.count("launch:") == 1  # nothing to complain about


@pytest.mark.slow
def test_a_node_without_the_data_set_ends_the_job_with_one_sentence(synthetic_dataset, tmp_path):
    """It fails after it has joined the others, which JAX would make it wait for at its exit."""
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "one_lacks.py"
    path.write_text(
        "import os\nfrom painjax.config import load_config\n"
        "def get_config():\n"
        f"    config = load_config({str(ROOT / 'configs' / 'teacher.py') + ':test'!r})\n"
        f"    config.data.data_dir = {str(synthetic_dataset)!r}\n"
        "    if os.environ.get('JAX_PROCESS_ID') == '1':\n"
        "        config.data.data_dir = '/nowhere'\n"
        "    return config\n"
    )
    status, _, err = launch("--processes=2", "--", "train", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert status == 2
    assert "process 1 ended with status 2" in err
    assert "Traceback" not in err  # of the other, which would wait for it in vain
    assert "is not built in /nowhere. Build it with `tfds build" in err.rstrip().splitlines()[-1]
