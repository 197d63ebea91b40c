"""`painjax cache`: the portraits and backdrops that diffusion models painted.

painjax cache list      one line for each portrait and each person's backdrops, and how many pictures were refused
painjax cache verify    reads every file and says which are of another version; ends with an error if one is damaged
painjax cache prune     removes damaged files, those of other versions, and what killed processes left
"""

import argparse
import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_gen import array_file
from data_gen.diffusion import album, cache

ABANDONED_S = 3600.0  # a temporary file that is older is nobody's
Fault = array_file.Damaged | cache.OtherVersion
T = TypeVar("T")


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
    for file, entry, error in _portraits():
        if error:
            _say(f"{file.name}  {_words(error)}")
            continue
        told = entry.record
        refused = told["tries"] - told["painted"]  # portraits; what follows them are side views
        portraits[_portrait(told)] = told["painted"], told["faults"][:refused]
        faults.update(told["faults"][refused:])
        state = f"painted at try {told['tries']}" if told["painted"] else f"procedural after {told['tries']} tries"
        _say(f"{file.name}  {told['settings']['model']}  {state}  {told['prompt'][:60]}")
    painted = sum(each for each, _ in portraits.values())
    faults.update(fault for _, refused in portraits.values() for fault in refused)
    procedural = len(portraits) - painted
    _say(f"{cache.folder()}: {painted} painted, {procedural} procedural; pictures refused: {_counted(faults)}")
    backdrops, refused = collections.Counter(), collections.Counter()
    for file, book, error in _albums():
        if error:
            _say(f"{file.name}  {_words(error)}")
            continue
        states = collections.Counter(
            "rendered" if each.painting is None else "painted" for each in book.frames.values()
        )
        backdrops += states
        refused.update(fault for each in book.frames.values() for fault in each.faults)
        _say(f"{file.name}  {book.about.get('model')}  {_counted(states)}  {book.shaping['prompt'][:60]}")
    if backdrops:
        _say(f"{album.folder()}: backdrops {_counted(backdrops)}; pictures refused: {_counted(refused)}")


def _portrait(told: dict) -> str:
    """What is the same in the files of a portrait without side views and with some."""
    shaping = {name: told[name] for name in cache.SHAPING}
    return cache.key(shaping | {"settings": told["settings"] | {"side_views": None}})


def _counted(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _verify() -> None:
    damaged, whole, others = [], 0, 0
    for file, _, error in _files():
        if isinstance(error, array_file.Damaged):
            damaged.append(f"{file} is {_words(error)}")
        elif error:
            _say(f"{file} is {_words(error)}: nothing uses it")
            others += 1
        else:
            whole += 1
    if damaged:
        raise ValueError("; ".join(damaged) + ". `painjax cache prune` removes them; they are then painted again.")
    of_others = f"; {others} of another version, which `painjax cache prune` removes" if others else ""
    _say(f"{cache.folder().parent}: {whole} files of portraits and backdrops, all whole{of_others}")


def _prune() -> None:
    kept = removed = 0
    for file, _, error in _files():
        if error:
            file.unlink(missing_ok=True)
            removed += 1
        else:
            kept += 1
    for file in (*cache.leftovers(), *cache.leftovers(album.folder())):
        with contextlib.suppress(FileNotFoundError):  # whose writer has finished it, or that another process prunes
            if time.time() - file.stat().st_mtime > ABANDONED_S:
                file.unlink()
                removed += 1
    _say(f"{cache.folder().parent}: {removed} files removed, {kept} of portraits and backdrops kept")


def _files() -> Iterator[tuple[Path, Any, Fault | None]]:
    yield from _portraits()
    yield from _albums()


def _portraits() -> Iterator[tuple[Path, cache.Entry | None, Fault | None]]:
    """All files of portraits, and what they hold or what is wrong with them."""
    return _looked_into(cache.entries(), cache.read)


def _albums() -> Iterator[tuple[Path, album.Album | None, Fault | None]]:
    """The same of backdrops."""
    return _looked_into(album.files(), album.read)


def _looked_into(files: Iterable[Path], read: Callable[[Path], T]) -> Iterator[tuple[Path, T | None, Fault | None]]:
    for file in files:
        found = error = None
        try:
            found = read(file)
        except FileNotFoundError:  # another process prunes
            continue
        except (array_file.Damaged, cache.OtherVersion) as wrong:
            error = wrong
        yield file, found, error


def _words(error: Fault) -> str:
    return f"{'damaged' if isinstance(error, array_file.Damaged) else 'of another version'} ({error})"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
