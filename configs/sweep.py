r"""A grid of settings as commands, one training per line.

python -m configs.sweep --config=configs/student_supervised.py --workdir=runs/sweep \
    --grid optim.learning_rate=1e-3,3e-4 --grid seed=0,1,2                  # prints six commands
... | xargs -d '\n' -n 1 -P 2 sh -c                                         # runs them, two at a time
... --start='sbatch launch/slurm/train.sbatch' | sh                         # as jobs of Slurm
... --index=4                                                               # prints the fifth, for a job array
... -- --config.steps=1000                                                  # what stands after -- is given to all

Every combination's configuration is made and checked before anything is printed; settings that no machine could train
are refused. A teacher, pretrained weights or a data set that are not here, or do not fit, are a warning: the commands
may be for another machine. Working directories are named by the settings, so that the same grid, or a larger one, goes
on with what is there.
"""

import argparse
import csv
import functools
import hashlib
import itertools
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence

from ml_collections import ConfigDict

from painjax import pretrained
from painjax.config import flat, load_config
from painjax.errors import UserError
from painjax.launch.check_host import check_host
from painjax.settings import check_settings
from painjax.teacher import find_teacher

_MISTAKE = 2
_LONGEST = 40  # characters of a value in the name of a folder
_FOR_ALL = ("--accept_changes", "--distributed", "--debug")  # beside settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the commands; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:at])
    try:
        made = commands(options.config, options.workdir, options.grid, arguments[at + 1 :], options.start)
        if options.index is not None:
            if not 0 <= options.index < len(made):
                raise UserError(
                    f"--index is {options.index}; this grid has {len(made)} commands, 0 to {len(made) - 1}."
                )
            made = dict([list(made.items())[options.index]])
    except UserError as error:
        sys.stderr.write(f"sweep: {error}\n")
        return _MISTAKE
    sys.stdout.writelines(f"{line}\n" for line in made)
    for why, times in Counter(map(_missing_here, made.values())).items():
        if why is not None:
            sys.stderr.write(f"sweep: warning: as things are here, {times} of {len(made)} would not start. {why}\n")
    return 0


def commands(
    config: str, workdir: str, grid: Sequence[str], for_all: Sequence[str] = (), start: str = "painjax train"
) -> dict[str, ConfigDict]:
    """One shell command for each combination of the grid, the last setting changing fastest, with its experiment.

    Args:
      config: experiment, as `painjax train` takes it.
      workdir: folder of the working directories.
      grid: 'NAME=VALUE,VALUE'; a value with a comma stands in double quotes.
      for_all: further arguments of every training.
      start: what starts a training.

    Raises:
      UserError: if a setting or a value does not exist, no training can run with them, or two commands would be the
        same.
    """
    axes = [_axis(text) for text in grid]
    twice = [name for name, times in Counter([*(name for name, _ in axes), *map(_name, for_all)]).items() if times > 1]
    if twice:
        raise UserError(f"{', '.join(twice)} is given twice; give each setting once, all its values with it.")
    shown = _short_names([name for name, _ in axes])
    folders: dict[str, str] = {}
    made = {}
    for values in itertools.product(*(values for _, values in axes)):
        settings = [f"--config.{name}={value}" for (name, _), value in zip(axes, values, strict=True)]
        folder = "_".join(f"{name}={_slug(value)}" for name, value in zip(shown, values, strict=True))
        overrides = [argument for argument in for_all if argument not in _FOR_ALL]
        experiment = load_config(config, [*settings, *overrides])
        _check(experiment)
        same = folders.setdefault(str(sorted(flat(experiment).items())), folder)
        if same != folder:
            raise UserError(f"{same} and {folder} are the same experiment; leave one of the values out.")
        arguments = [f"--config={config}", f"--workdir={workdir}/{folder}", *settings, *for_all]
        made[f"{start} {shlex.join(arguments)}"] = experiment
    return made


def _check(experiment: ConfigDict) -> None:
    """Refuses what no machine could train, whatever lies in its folders."""
    if not experiment.pretrained:
        pretrained.complete(experiment, None)
    if None not in experiment.model.values():  # else pretrained weights have to say first
        check_settings(experiment)
    if "teacher" in experiment and not (experiment.teacher or experiment.teacher_outputs):
        find_teacher(experiment)


def _missing_here(experiment: ConfigDict) -> str | None:
    """Why the training would not start on this machine, None if nothing is seen."""
    try:
        check_host(experiment)
        complete = pretrained.complete(experiment, _weights(experiment.pretrained) if experiment.pretrained else None)
        check_settings(complete)
        find_teacher(complete)
    except UserError as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=1)
def _weights(folder: str) -> pretrained.Pretrained:
    return pretrained.read(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m configs.sweep", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--config", required=True, metavar="FILE", help="experiment")
    parser.add_argument("--workdir", required=True, metavar="W", help="folder of the working directories")
    parser.add_argument("--grid", action="append", required=True, metavar="NAME=V,V", help="a setting and its values")
    parser.add_argument(
        "--start", default="painjax train", metavar="CMD", help="what starts one (default: %(default)s)"
    )
    parser.add_argument("--index", type=int, metavar="I", help="print only command I, from 0 (SLURM_ARRAY_TASK_ID)")
    return parser


def _axis(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    found = next(csv.reader([values]), []) if equals else []
    if not name or not found or "" in found:
        raise UserError(f"--grid {text!r}: expected a setting and its values, such as optim.learning_rate=1e-3,3e-4.")
    again = [value for value, times in Counter(found).items() if times > 1]
    if again:
        raise UserError(f"--grid {text!r} has {again[0]!r} twice; leave one out.")
    return name.removeprefix("config."), found


def _name(argument: str) -> str:
    """The setting that an argument for all trainings sets."""
    if argument in _FOR_ALL:
        return argument
    name, equals, _ = argument.partition("=")
    if not equals or not name.startswith("--config."):
        raise UserError(
            f"{argument!r} after --: expected settings such as --config.steps=1000, or {' or '.join(_FOR_ALL)}."
        )
    return name.removeprefix("--config.")


def _short_names(names: list[str]) -> list[str]:
    """The last parts of the names, or the whole where two end alike."""
    last = [name.split(".")[-1] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _slug(value: str) -> str:
    """The value in the name of a folder; where that does not tell all of it, some figures that do."""
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", value)[:_LONGEST]
    return plain if plain == value else f"{plain.strip('-')}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


if __name__ == "__main__":
    sys.exit(main())
