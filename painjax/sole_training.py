"""One training at a time in a working directory: two would write over each other's checkpoints."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import logging

from painjax.errors import UserError
from painjax.files import named_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
# File servers keep the lock of a machine that is gone for a minute or two, and a pod that ends may still be saving.
PATIENCE_S = 180.0
_PAUSE_S = 2.0
_HELD = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def sole_training(workdir: Path) -> Iterator[None]:
    """Context: the working directory is this job's. Its first process holds a lock there, which the system takes back
    however the process ends. Other machines see it where the file system shares locks, as NFS does.

    Raises:
      UserError: if another process holds it: at once if on this machine, else if it still does after `PATIENCE_S`.
      OSError: if the folder cannot be written.
    """
    if jax.process_index() != 0:
        yield
        return
    if not workdir.exists():
        workdir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workdir / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, workdir)
        with named_errors(workdir / NAME):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            os.fsync(descriptor)  # for readers on other machines
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, workdir: Path) -> None:
    end, waiting = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: worker processes would inherit that
            return
        except OSError as error:
            if error.errno in _NO_LOCKS:
                logging.warning("%s has no file locks: see to it yourself that nothing else trains there.", workdir)
                return
            if error.errno not in _HELD:
                raise
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "another process"
            if holder.endswith(f" on {socket.gethostname()}") or time.monotonic() > end:
                raise UserError(
                    f"{workdir} is being trained in by {holder}. Wait until that has ended, or give this one a "
                    f"--workdir of its own. If that machine is gone, remove {workdir / NAME}."
                ) from error
        if not waiting:
            logging.warning("%s is being trained in by %s: waiting %d s for it to end.", workdir, holder, PATIENCE_S)
            waiting = True
        time.sleep(_PAUSE_S)
