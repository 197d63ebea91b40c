"""The only file that knows Orbax: how the arrays of a checkpoint are written and read."""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from painjax.errors import UserError

FOLDER = "checkpoints"
# What reading a truncated, emptied or half-deleted checkpoint has been seen to raise.
DAMAGE = (OSError, ValueError, KeyError, TypeError)
# What writing to a full disk, or to one that has gone away, has been seen to raise.
WRITING = (OSError, ValueError)
# What the system says of files that are lost. Anything else, such as no permission, is said of whoever wants to read.
_LOST = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)
_SHOWN = 5  # arrays that do not fit
_UNFINISHED = "*.orbax-checkpoint-tmp*"


def checkpoints(workdir: str | os.PathLike) -> dict[int, Path]:
    """The finished checkpoints of a working directory by step, in the order of the steps: clocks have no say in it."""
    folder = Path(os.path.abspath(workdir)) / FOLDER
    found = {int(path.name): path for path in folder.glob("[0-9]*") if path.name.isdigit()} if folder.is_dir() else {}
    return dict(sorted(found.items()))


def unfinished(workdir: str | os.PathLike) -> list[Path]:
    """What saves left that were broken off."""
    return sorted((Path(workdir) / FOLDER).glob(_UNFINISHED))


def read(checkpoint: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """Reads parts of a checkpoint.

    Every process reads what its devices need and waits for no other, so that each can tell whether its part is
    damaged.

    Args:
      checkpoint: its folder.
      like: a part's name -> its arrays, or shapes with a sharding, to be laid out as; None for a part that is JSON.

    Raises:
      UserError: if it holds arrays of other names or shapes, or may not be read just now: the checkpoint is a good one.
      DAMAGE: if it cannot be read.
    """
    checkpoint = Path(os.path.abspath(checkpoint))  # Orbax refuses others
    try:
        return {name: _read_part(checkpoint / name, arrays) for name, arrays in like.items()}
    except DAMAGE as error:
        number = error_number(error)
        if number is None or number in _LOST:
            raise
        raise UserError(
            f"{checkpoint} cannot be read: {os.strerror(number)}. It may well be good: mend that, and the same command "
            "goes on from it."
        ) from error


def error_number(error: Exception) -> int | None:
    """What the system said (`errno`), where the error comes from it; Orbax has it behind long paths."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = re.search(r"os_error_code='(\d+)'", str(error))
    return int(said[1]) if said else None


def _read_part(folder: Path, like: Any) -> Any:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder.parent} has no {folder.name}")
    with contextlib.closing(_json() if like is None else _arrays()) as handler:
        if like is None:
            return handler.restore(epath.Path(folder), args=ocp.args.JsonRestore())
        _check_fit(folder, handler.metadata(epath.Path(folder)).tree, like)
        restore_args = ocp.checkpoint_utils.construct_restore_args(like)
        try:
            return handler.restore(epath.Path(folder), args=ocp.args.PyTreeRestore(like, restore_args=restore_args))
        except Exception as error:
            if type(error) is not Exception:
                raise
            raise OSError(str(error.__cause__ or error)) from error  # Orbax's way to say that an array is damaged


def _check_fit(folder: Path, saved: Any, like: Any) -> None:
    """Raises UserError unless there are the same names with the same shapes."""
    there, wanted = _shapes(saved), _shapes(like)
    differs = [
        f"{name} is {there.get(name, 'absent')} there and {wanted.get(name, 'absent')} here"
        for name in sorted(there.keys() | wanted.keys())
        if there.get(name) != wanted.get(name)
    ]
    if differs:
        more = [f"{len(differs) - _SHOWN} more"] if len(differs) > _SHOWN else []
        raise UserError(
            f"{folder} is of another model or optimizer: {', '.join(differs[:_SHOWN] + more)}. Go on with the version "
            "of PainJAX and the configuration that it was trained with, or use another --workdir."
        )


def _shapes(arrays: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def manager(workdir: str | os.PathLike, kept: Callable[[Sequence[int]], set[int]]) -> ocp.CheckpointManager:
    """Writes checkpoints in the background, each whole or not at all; of the steps that there are, it removes all but
    `kept(steps)`."""
    return _Manager(
        Path(os.path.abspath(workdir)) / FOLDER,
        options=ocp.CheckpointManagerOptions(create=True, preservation_policy=_Keep(kept)),
        item_handlers={"params": _arrays(), "progress": _arrays(), "position": _json()},
    )


def write(manager: ocp.CheckpointManager, step: int, *, params: Any, progress: Any, position: dict[str, Any]) -> None:
    """Starts to write a checkpoint; returns once the arrays are copied."""
    arguments = ocp.args.Composite(
        params=ocp.args.PyTreeSave(params),
        progress=ocp.args.PyTreeSave(progress),
        position=ocp.args.JsonSave(position),
    )
    manager.save(step, args=arguments, force=True)


def wait_for_writers(seconds: float) -> None:
    """Waits at most so long for each thread that still writes: when one fails, Orbax reports it and leaves the others
    to themselves, which make the folders again that somebody removes."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            threading.Thread.join(thread, seconds)  # Orbax's own would raise what has been reported


class _Manager(ocp.CheckpointManager):
    """Leaves the question for preemption, whose count all processes must share, to the training: Orbax would ask it of
    the first process only, in a thread, to measure something."""

    def reached_preemption(self, step: int) -> bool:
        return False


class _Keep:
    """What Orbax calls a preservation policy."""

    def __init__(self, kept: Callable[[Sequence[int]], set[int]]):
        self._kept = kept

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        kept = self._kept([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]


def _arrays() -> ocp.PyTreeCheckpointHandler:
    # Replica-parallel saving would compile a small program per array and device at the first save: ten seconds, right
    # when it may be the save before the machine is taken away.
    return ocp.PyTreeCheckpointHandler(
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
            (jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False))
        )
    )


def _json() -> ocp.JsonCheckpointHandler:
    return ocp.JsonCheckpointHandler()
