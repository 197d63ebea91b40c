"""The only file that knows Orbax: how the arrays of a checkpoint are written and read."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

FOLDER = "checkpoints"
# What reading a truncated, emptied or half-deleted checkpoint has been seen to raise.
DAMAGE = (OSError, ValueError, KeyError, TypeError)
# What writing to a full disk, or to one that has gone away, has been seen to raise.
WRITING = (OSError, ValueError)
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
      DAMAGE: if it cannot be read.
    """
    read = {}
    for name, arrays in like.items():
        if not (checkpoint / name).is_dir():
            raise FileNotFoundError(f"{checkpoint} has no {name}")
        handler = _json() if arrays is None else _arrays()
        if arrays is None:
            args = ocp.args.JsonRestore()
        else:
            args = ocp.args.PyTreeRestore(arrays, restore_args=ocp.checkpoint_utils.construct_restore_args(arrays))
        try:
            read[name] = handler.restore(epath.Path(checkpoint / name), args=args)
        except Exception as error:
            if type(error) is not Exception:
                raise
            raise OSError(str(error.__cause__ or error)) from error  # Orbax's way to say that an array is damaged
        handler.close()
    return read


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
