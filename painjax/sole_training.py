"""One training at a time in a working directory: two would write over each other's checkpoints."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jax

from painjax.errors import UserError

NAME = ".lock"


@contextlib.contextmanager
def sole_training(workdir: Path) -> Iterator[None]:
    """Context: the working directory is this job's. Its first process holds a lock there, which the system takes back
    however the process ends, on whichever of the machines that share the folder it ran.

    Raises:
      UserError: if another process holds it.
      OSError: if the folder cannot be written, or its file system knows no locks.
    """
    if jax.process_index() != 0:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / NAME, "a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: worker processes would inherit that
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(
                f"{workdir} is being trained in by {holder}. Wait until that has ended, or give this one a "
                "--workdir of its own."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
