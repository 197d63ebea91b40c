"""`painjax cache`: the portraits and backdrops that diffusion models painted.

painjax cache list      one line for each portrait and each person's backdrops, and how many pictures were refused
painjax cache verify    reads every file; ends with an error if one is damaged
painjax cache prune     removes damaged files, those of other versions, and what killed processes left
"""

import argparse
import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_gen import array_file
from data_gen.diffusion import album, cache
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
    faults, portraits = collections.Counter(), {}
    for file in cache.entries():
        try:
            told = cache.read(file).record
        except FileNotFoundError:  # another process prunes
            continue
        except array_file.Damaged as error:
            _say(f"{file.name}  damaged: {error}")
            continue
        refused = told["tries"] - told["painted"]  # portraits; what follows them are side views
        portraits[_portrait(told)] = told["painted"], told["faults"][:refused]
        faults.update(told["faults"][refused:])
        state = f"painted at try {told['tries']}" if told["painted"] else f"procedural after {told['tries']} tries"
        old = "" if _is_current(told) else "  (another version)"
        _say(f"{file.name}  {told['settings']['model']}  {state}{old}  {told['prompt'][:60]}")
    painted = sum(each for each, _ in portraits.values())
    faults.update(fault for _, refused in portraits.values() for fault in refused)
    procedural = len(portraits) - painted
    _say(f"{cache.folder()}: {painted} painted, {procedural} procedural; pictures refused: {_counted(faults)}")
    backdrops, refused = collections.Counter(), collections.Counter()
    for file in album.files():
        try:
            book = album.read(file)
        except FileNotFoundError:
            continue
        except array_file.Damaged as error:
            _say(f"{file.name}  damaged: {error}")
            continue
        states = collections.Counter(
            "rendered" if each.painting is None else "painted" for each in book.frames.values()
        )
        backdrops += states
        refused.update(fault for each in book.frames.values() for fault in each.faults)
        old = "" if _is_current(book.shaping) else "  (another version)"
        _say(f"{file.name}  {book.about.get('model')}  {_counted(states)}{old}  {book.shaping['prompt'][:60]}")
    if backdrops:
        _say(f"{album.folder()}: backdrops {_counted(backdrops)}; pictures refused: {_counted(refused)}")


def _portrait(told: dict) -> str:
    """What is the same in the files of a portrait without side views and with some."""
    shaping = {name: told[name] for name in cache.SHAPING}
    return cache.key(shaping | {"settings": told["settings"] | {"side_views": None}})


def _counted(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _verify() -> None:
    damaged, whole = [], 0
    for file, read in _files():
        try:
            read(file)
            whole += 1
        except FileNotFoundError:  # another process prunes
            continue
        except array_file.Damaged as error:
            damaged.append(f"{file} is damaged ({error})")
    if damaged:
        raise ValueError("; ".join(damaged) + ". `painjax cache prune` removes them; they are then painted again.")
    _say(f"{cache.folder().parent}: {whole} files of portraits and backdrops, all whole")


def _prune() -> None:
    kept = removed = 0
    for file, read in _files():
        try:
            useful = _is_current(read(file))
        except FileNotFoundError:  # another process prunes
            continue
        except array_file.Damaged:
            useful = False
        if useful:
            kept += 1
        else:
            file.unlink(missing_ok=True)
            removed += 1
    for file in (*cache.leftovers(), *cache.leftovers(album.folder())):
        with contextlib.suppress(FileNotFoundError):  # whose writer has finished it, or that another process prunes
            if time.time() - file.stat().st_mtime > ABANDONED_S:
                file.unlink()
                removed += 1
    _say(f"{cache.folder().parent}: {removed} files removed, {kept} of portraits and backdrops kept")


def _files() -> Iterator[tuple[Path, Callable[[Path], dict]]]:
    """All files, and what reads what shaped each."""
    yield from ((file, lambda path: cache.read(path).record) for file in cache.entries())
    yield from ((file, lambda path: album.read(path).shaping) for file in album.files())


def _is_current(told: dict) -> bool:
    now = {"generator_version": GENERATOR_VERSION, "portrait_version": cache.PORTRAIT_VERSION}
    if "backdrop_version" in told:
        now["backdrop_version"] = album.BACKDROP_VERSION
    return now.items() <= told.items()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
