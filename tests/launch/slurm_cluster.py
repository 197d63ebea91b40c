"""A real Slurm of two nodes on this machine, as root: munge, a controller and two node daemons of Debian's packages.

Everything that they write is in one temporary folder, and nothing that they started is left running.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

NODES = ("127.0.0.1", "127.0.0.2")  # both this machine; as names of hosts they resolve everywhere
PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("sbatch", "srun", "scancel", "scontrol", "squeue", "slurmctld", "slurmd", "munged")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/prolog
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
JobRequeue=1
KillWait=120
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
NodeName={nodes[0]} NodeHostname={host} NodeAddr={nodes[0]} Port={ports[1]} CPUs=1 RealMemory=4000
NodeName={nodes[1]} NodeHostname={host} NodeAddr={nodes[1]} Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Of the environment of a task, as a site may set it: every node has a disk of its own.
PROLOG = """#!/bin/sh
echo "export TFDS_DATA_DIR={folder}/disk.$SLURMD_NODENAME"
"""
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def why_not() -> str | None:
    """Why no Slurm can be started here; None if it can."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=_PATH)]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install {' '.join(PACKAGES)}"
    return "Slurm's daemons must be started by root" if os.getuid() else None


class Slurm:
    """The running cluster."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "JAX", "XLA"))}
        self.environment |= {"PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}

    def disk(self, node: str) -> Path:
        """The folder that tasks on a node find their data sets in."""
        return self.folder / f"disk.{node}"

    def run(self, *command: object) -> str:
        """What one of Slurm's commands prints."""
        arguments = [str(word) for word in command]
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def submit(self, *arguments: object, cwd: Path, **environment: object) -> str:
        """Submits a script with sbatch; returns the number of the job."""
        command = ["sbatch", "--parsable", *map(str, arguments)]
        variables = self.environment | {name: str(value) for name, value in environment.items()}
        done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` tells of a job, such as {'JobState': 'RUNNING', 'ExitCode': '0:0'}."""
        fields = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def wait(self, number: str, *states: str, timeout_s: float = 600) -> dict[str, str]:
        """Waits until a job is in one of the states."""
        wait_until(lambda: self.job(number)["JobState"] in states, f"job {number} is {' or '.join(states)}", timeout_s)
        return self.job(number)

    def start_now(self, number: str) -> None:
        """Starts a job that was requeued, which by itself would wait for two minutes."""
        self.wait(number, "PENDING", timeout_s=150)
        time.sleep(3)  # nodes refuse a job with credentials of the second in which they ended it ("credential revoked")
        self.run("scontrol", "update", f"JobId={number}", "StartTime=now")


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 600) -> None:
    """Asks until it holds; AssertionError after a while."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"{timeout_s} s have passed, and not yet: {what}"
        time.sleep(0.2)


@contextlib.contextmanager
def cluster() -> Iterator[Slurm]:
    """Starts Slurm; at the end of the context its jobs and daemons are killed."""
    with tempfile.TemporaryDirectory(prefix="slurm_", ignore_cleanup_errors=True) as name:
        slurm = Slurm(Path(name))
        _configure(slurm.folder)
        started = []
        try:
            started.append(_start(slurm, "munged", *_munge_options(slurm.folder)))
            wait_until((slurm.folder / "munge.socket").exists, "munged listens", 30)
            started.append(_start(slurm, "slurmctld", "-D"))
            wait_until(lambda: "is UP" in _ask(slurm, "scontrol", "ping"), "slurmctld answers", 60)
            # A node daemon that finds no controller asks again minutes later.
            started += [_start(slurm, "slurmd", "-D", "-N", node) for node in NODES]
            wait_until(lambda: _ask(slurm, "sinfo", "-hNo", "%T") == "idle\n" * len(NODES), "the nodes are idle", 60)
            yield slurm
        except AssertionError as error:
            error.add_note(_logs(slurm.folder))
            raise
        finally:
            _kill_all(slurm)
            for process in started:
                process.kill()
                process.wait()


def _start(slurm: Slurm, *command: str) -> subprocess.Popen:
    with (slurm.folder / f"{command[0]}.log").open("a") as log:
        return subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log, start_new_session=True)


def _logs(folder: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()[-1000:]}" for path in folder.glob("*.log"))


def _munge_options(folder: Path) -> list[str]:
    kinds = ("socket", "key", "log", "pid", "seed")
    files = {kind if kind == "socket" else f"{kind}-file": folder / f"munge.{kind}" for kind in kinds}
    return ["--foreground", "--force", *(f"--{option}={path}" for option, path in files.items())]


def _configure(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for free in sockets:
            free.bind(("", 0))
        ports = [free.getsockname()[1] for free in sockets]
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, ports=ports, nodes=NODES))
    (folder / "prolog").write_text(PROLOG.format(folder=folder))
    (folder / "prolog").chmod(0o755)
    (folder / "munge.key").write_bytes(secrets.token_bytes(64))
    (folder / "munge.key").chmod(0o400)
    (folder / "state").mkdir()


def _ask(slurm: Slurm, *command: str) -> str:
    """What a command prints, which is nothing before the controller answers."""
    return subprocess.run(command, env=slurm.environment, capture_output=True, text=True, timeout=60).stdout


def _kill_all(slurm: Slurm) -> None:
    """Kills what the cluster has started: daemons, and the processes of jobs, which are no children of theirs."""
    mark = f"SLURM_CONF={slurm.environment['SLURM_CONF']}".encode()
    for _ in range(3):  # what was just being started
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
        time.sleep(0.2)
