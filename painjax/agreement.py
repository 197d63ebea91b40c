"""Whether all processes of a job run the same training: found out at the start, not after a day."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from painjax.errors import UserError

_SHOWN = 80  # characters of a value


def check_agreement(facts: Mapping[str, Any]) -> None:
    """Compares what each process is about to do; all must call it, and all get the same answer.

    Args:
      facts: name -> value, fit for JSON; what must be the same everywhere.

    Raises:
      UserError: naming each fact that differs, its values, and the processes that have them.
    """
    if jax.process_count() == 1:
        return
    mine = json.dumps(facts, sort_keys=True).encode()
    digests = _gather(hashlib.sha256(mine).digest())
    if len(set(digests)) == 1:
        return
    length = max(int.from_bytes(each) for each in _gather(len(mine).to_bytes(8)))
    everyone = [json.loads(each) for each in _gather(mine.ljust(length))]
    raise UserError(
        "The processes of this job do not run the same training:\n  " + "\n  ".join(_differences(everyone)) + "\nStart "
        "all of them with the same command, code and data."
    )


def _differences(everyone: list[dict[str, Any]]) -> list[str]:
    """'config.seed is 0 on process 0, 1 on processes 1, 2' for each fact that differs."""
    lines = []
    for name in sorted(set().union(*everyone)):
        where: dict[str, list[int]] = {}
        for process, facts in enumerate(everyone):
            value = json.dumps(facts[name], sort_keys=True) if name in facts else "absent"
            where.setdefault(value, []).append(process)
        if len(where) > 1:
            lines.append(f"{name} is " + ", ".join(f"{_short(v)} on {_processes(at)}" for v, at in where.items()))
    return lines


def _gather(value: bytes) -> list[bytes]:
    """The values of all processes, which must be equally long."""
    return [bytes(row) for row in multihost_utils.process_allgather(np.frombuffer(value, np.uint8))]


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."


def _processes(numbers: list[int]) -> str:
    return f"process{'es' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
