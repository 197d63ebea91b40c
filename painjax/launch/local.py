"""`painjax launch local`: a real multi-process job on one machine, each process being what a host is on a cluster."""

import io
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from painjax.errors import UserError
from painjax.launch.devices import device_variables, platform
from painjax.launch.screen import Screen

DISTRIBUTED = ("train", "evaluate", "precompute")  # the subcommands that have --distributed
_STOPPED = 143  # of `painjax train`: told to stop, and saved
_GRACE_S = 10.0  # for the others to end by themselves, once one has failed
_BAR_EVERY_S = 30  # in a file; on a terminal tqdm's own ten times a second


def main(processes: int, devices_per_process: int, command: Sequence[str], port: int | None = None) -> int:
    """Runs `painjax <command> --distributed` in several processes that are one job; returns the exit status.

    SIGTERM is passed on: a training saves, and 143 is returned when all have. So is Ctrl-C, as SIGTERM, because a
    process that stops alone leaves the others waiting for it; then 130 is returned. When a process fails, the others
    are stopped, and its status is returned (128 + signal, as in a shell). However this process ends, those that it has
    started end too.

    Args:
      processes: how many.
      devices_per_process: virtual CPU devices, or GPUs, that each one sees.
      command: subcommand of painjax with its arguments, for instance ['train', '--config=...', '--workdir=...'].
      port: of the coordinator; by default a free one.

    Raises:
      UserError: before anything starts, if the job cannot run as asked.
    """
    command = _check_command(command)
    devices = device_variables(processes, devices_per_process, os.environ)
    kind = platform(os.environ).upper()
    address = f"localhost:{_free_port() if port is None else _check_port(port)}"
    screen = Screen(sys.stdout, sys.stderr)
    plural = "s" if devices_per_process > 1 else ""
    screen.say(f"{processes} processes with {devices_per_process} {kind} device{plural} each, coordinator at {address}")
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
    return _Job(screen).run(
        [sys.executable, "-m", "painjax.launch.rank", *command],
        [
            os.environ | job | {"JAX_PROCESS_ID": str(rank)} | _writing_variables(rank) | variables
            for rank, variables in enumerate(devices)
        ],
    )


class _Job:
    """Processes that end together."""

    def __init__(self, screen: Screen):
        self._screen = screen
        self._processes: list[subprocess.Popen] = []
        # (rank, status) of each end, and (None, signal) of each signal, in their order. A SimpleQueue, because signal
        # handlers may put into it.
        self._events: queue.SimpleQueue[tuple[int | None, int]] = queue.SimpleQueue()

    def run(self, command: list[str], environments: list[dict[str, str]]) -> int:
        """Starts one process per environment and waits for all to end; returns the exit status of the job."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, lambda n, _: self._events.put((None, n))) for number in numbers}
        reading, writing = os.pipe()  # the processes watch for its end: painjax.launch.rank
        try:
            for environment in environments:
                self._start(command, environment, reading)
            return self._wait()
        finally:
            self._send(signal.SIGKILL)
            os.close(reading)
            os.close(writing)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self, command: list[str], environment: dict[str, str], stdin: int) -> None:
        # A group of its own: a terminal's Ctrl-C reaches the launcher alone, and killing it takes its workers too.
        process = subprocess.Popen(
            command, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )
        rank = len(self._processes)
        self._processes.append(process)
        readers = [
            threading.Thread(target=self._copy, args=(rank, stream, stream is process.stdout), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._await, args=(rank, process, readers), daemon=True).start()

    def _copy(self, rank: int, stream: io.BufferedReader, to_stdout: bool) -> None:
        try:
            self._screen.copy(rank, stream, to_stdout)
        except BrokenPipeError:  # whoever read the launcher's lines has gone, as `head` does
            self._events.put((None, signal.SIGTERM))
            stream.read()  # so that the process can go on writing until it has stopped

    def _await(self, rank: int, process: subprocess.Popen, readers: list[threading.Thread]) -> None:
        status = process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)  # workers that it has left behind
        except ProcessLookupError:
            pass
        for reader in readers:
            reader.join()  # what it wrote last
        process.stdout.close()
        process.stderr.close()
        self._events.put((rank, status))

    def _wait(self) -> int:
        statuses: dict[int, int] = {}
        told = failed = deadline = None
        while len(statuses) < len(self._processes):
            try:
                rank, number = self._events.get(timeout=deadline and max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                self._send(signal.SIGKILL)
                deadline = None
                continue
            if rank is None:
                self._tell(number, again=told is not None)
                told = told or number
                continue
            statuses[rank] = number
            if failed is None and number not in (0, _STOPPED):
                failed, deadline = rank, time.monotonic() + _GRACE_S
                self._send(signal.SIGTERM)
        self._screen.close()
        return self._verdict(statuses, told, failed)

    def _tell(self, number: int, again: bool) -> None:
        name = signal.Signals(number).name
        if again:
            self._screen.say(f"{name} again: killing the processes")
            self._send(signal.SIGKILL)
        else:
            self._screen.say(f"{name}: telling the processes to save and stop; send it again to kill them")
            self._send(signal.SIGTERM)

    def _verdict(self, statuses: dict[int, int], told: int | None, failed: int | None) -> int:
        if failed is None:
            return 128 + told if told and any(statuses.values()) else max(statuses.values())
        status = statuses[failed]
        if told and status in (-signal.SIGTERM, -signal.SIGKILL):
            self._screen.say("stopped before all had saved; the same command goes on from the last checkpoint, if any")
            return 128 + told
        others = "; the others were stopped" if len(statuses) > 1 else ""
        self._screen.say(f"process {failed} {_describe(status)}{others}. Its last lines:")
        for line in self._screen.last_lines(failed) or ["(it wrote nothing)"]:
            self._screen.say(f"    {line}")
        return status if status > 0 else 128 - status

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.returncode is None:
                try:
                    (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)
                except ProcessLookupError:
                    pass  # it has ended meanwhile


def _check_command(command: Sequence[str]) -> list[str]:
    if not command or command[0] not in DISTRIBUTED:
        raise UserError(
            f"After -- stands {repr(command[0]) if command else 'nothing'}; expected one of the painjax subcommands "
            f"that run in several processes, {' or '.join(DISTRIBUTED)}, with its arguments: painjax launch "
            "local --processes=2 -- train --config=configs/teacher.py --workdir=runs/teacher"
        )
    return [*command, *(["--distributed"] if "--distributed" not in command else [])]


def _writing_variables(rank: int) -> dict[str, str]:
    """How a process should write: at once, and one bar for all, because they go on in step."""
    terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - len(f"[{rank}]  ") if terminal else 100
    return {"PYTHONUNBUFFERED": "1", "TQDM_NCOLS": str(max(width, 40))} | (
        {"TQDM_DISABLE": "1"} if rank > 0 else {} if terminal else {"TQDM_MININTERVAL": str(_BAR_EVERY_S)}
    )


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def _check_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise UserError(f"--port is {port}; expected 1 to 65535, or leave it away and a free one is taken.")
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise UserError(
            f"--port={port} cannot be used for the coordinator: {error.strerror}. Give another one, or leave --port "
            "away and a free one is taken."
        ) from error
    return port


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    out_of_memory = " (out of memory?)" if status == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name}{out_of_memory}"
