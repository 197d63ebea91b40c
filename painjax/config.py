"""Experiments from the command line: a Python file that makes a ConfigDict, and settings that override it."""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from painjax.errors import UserError

# What running the file of an experiment may raise, beside what reading it does.
_OF_ITS_CODE = (
    *(flags.Error, OSError, ImportError, SyntaxError),
    *(ArithmeticError, AttributeError, LookupError, NameError, TypeError),
)


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The experiment of `path`, changed by flags of the form `--config.model.width=384`.

    Args:
      path: Python file with `get_config`, optionally with an argument for it: 'configs/student.py:test'.
      overrides: the flags; a value must have the type of the value that it replaces.

    Raises:
      UserError: naming the file that cannot be loaded, the key that does not exist, or the value of a wrong type.
    """
    file = Path(path.split(":", 1)[0])
    if not file.is_file():
        raise UserError(
            f"There is no experiment {file} (--config={path}). The project's own are in configs/, for instance "
            "--config=configs/teacher.py; run from the project's folder or give the whole path."
        )
    # Experiments import each other as `configs.name`, wherever the command is started from.
    root = str(file.resolve().parents[1])
    if root not in sys.path:
        sys.path.append(root)
    try:
        base = _parse([f"--config={path}"])
    except _OF_ITS_CODE as error:
        # The text may hold the traceback of the file's own code; its last line says what is wrong.
        kind = "" if isinstance(error, flags.Error) else f"{type(error).__name__}: "
        why = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
        raise UserError(f"The experiment {path} cannot be made: {kind}{why}") from error
    for flag in overrides:
        _check_key(base, flag)
    try:
        return _parse([f"--config={path}", *overrides])
    except flags.Error as error:
        wrong = str(error).strip().rstrip(".").removeprefix("flag ")
        raise UserError(f"Setting refused: {wrong}. Give a value of the same type as the default.") from error


def _parse(arguments: list[str]) -> ConfigDict:
    values = flags.FlagValues()
    argv = ["painjax", *arguments]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    rest = values(argv)[1:]
    if rest:
        raise UserError(f"Unexpected argument {rest[0]!r}; settings are given as --config.key=value.")
    return values.config


def _check_key(config: ConfigDict, flag: str) -> None:
    if not flag.startswith("--"):
        return  # the value of the flag before it
    name = flag.split("=", 1)[0]
    *parents, last = name.removeprefix("--config.").split(".")
    for key in (*parents, last):
        if not isinstance(config, ConfigDict):
            raise UserError(
                f"Unknown setting {name}: {key!r} is asked of a single value, which has no settings below it."
            )
        if key not in config:
            near = difflib.get_close_matches(key, sorted(config), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UserError(f"Unknown setting {name}: there is no {key!r} among {', '.join(sorted(config))}.{hint}")
        config = config.get(key)


def flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """The settings by their dotted names: {'optim.learning_rate': 0.001}."""
    found = {}
    for name, value in config.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {prefix + name: value}
    return found
