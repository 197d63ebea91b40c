"""One training at a time in a working directory: two would write over each other's checkpoints."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import logging

from painjax.errors import UserError
from painjax.files import named_errors

NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def sole_training(workdir: Path) -> Iterator[None]:
    """Context: the working directory is this job's. Its first process holds a lock there, which the system takes back
    however the process ends, on whichever of the machines that share the folder it ran.

    Raises:
      UserError: if another process holds it.
      OSError: if the folder cannot be written.
    """
    if jax.process_index() != 0:
        yield
        return
    if not workdir.exists():
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
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logging.warning(
                "%s is on a file system without locks: see to it yourself that nothing else trains in it.", workdir
            )
        with named_errors(workdir / NAME):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield
