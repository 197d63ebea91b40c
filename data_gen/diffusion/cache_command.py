"""`painjax cache`: the portraits that the texture backend 'diffusion' keeps.

painjax cache list      one line for each portrait, and how many pictures were refused
painjax cache verify    reads every file; ends with an error if one is damaged
painjax cache prune     removes damaged files, those of other versions, and what killed processes left
"""

import argparse
import collections
import sys
import time
from collections.abc import Sequence

from data_gen import array_file
from data_gen.diffusion import cache
from data_gen.record import GENERATOR_VERSION

ABANDONED_S = 3600.0  # a temporary file that is older is nobody's


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises ValueError where `verify` finds damage."""
    parser = argparse.ArgumentParser(
        prog="painjax cache", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"list": _list, "verify": _verify, "prune": _prune}
    parser.add_argument("command", choices=commands)
    commands[parser.parse_args(arguments).command]()


def _list() -> None:
    faults, painted, procedural = collections.Counter(), 0, 0
    for file in cache.entries():
        try:
            told = cache.read(file).record
        except array_file.Damaged as error:
            _say(f"{file.name}  damaged: {error}")
            continue
        faults.update(told["faults"])
        painted, procedural = painted + told["painted"], procedural + (not told["painted"])
        state = f"painted at try {told['tries']}" if told["painted"] else f"procedural after {told['tries']} tries"
        old = "" if _is_current(told) else "  (another version)"
        _say(f"{file.name}  {told['settings']['model']}  {state}{old}  {told['prompt'][:60]}")
    refused = ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items())) or "none"
    _say(f"{cache.folder()}: {painted} painted, {procedural} procedural; pictures refused: {refused}")


def _verify() -> None:
    damaged, whole = [], 0
    for file in cache.entries():
        try:
            cache.read(file)
            whole += 1
        except array_file.Damaged as error:
            damaged.append(f"{file} is damaged ({error})")
    if damaged:
        raise ValueError("; ".join(damaged) + ". `painjax cache prune` removes them; they are then painted again.")
    _say(f"{cache.folder()}: {whole} portraits, all whole")


def _prune() -> None:
    kept = removed = 0
    for file in cache.entries():
        try:
            useful = _is_current(cache.read(file).record)
        except array_file.Damaged:
            useful = False
        if useful:
            kept += 1
        else:
            file.unlink(missing_ok=True)  # another process may prune too
            removed += 1
    for file in cache.leftovers():
        if time.time() - file.stat().st_mtime > ABANDONED_S:
            file.unlink(missing_ok=True)
            removed += 1
    _say(f"{cache.folder()}: {removed} files removed, {kept} portraits kept")


def _is_current(told: dict) -> bool:
    return (told["generator_version"], told["portrait_version"]) == (GENERATOR_VERSION, cache.PORTRAIT_VERSION)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
