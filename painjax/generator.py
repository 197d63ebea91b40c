"""Commands of the generator, which is a package of its own that the library does not depend on."""

import importlib
from collections.abc import Sequence

from painjax.errors import UserError

# How the command begins -> the module whose `main(arguments)` takes the rest of it.
COMMANDS = {
    ("gallery",): "data_gen.gallery",
    ("generate",): "tfds_builders.pain3d.generate_command",
    ("bench", "generate"): "data_gen.benchmark",
    ("bench", "paint"): "data_gen.diffusion.benchmark",
    ("cache",): "data_gen.diffusion.cache_command",
}


def command_of(arguments: Sequence[str]) -> tuple[str, ...] | None:
    """Which of `COMMANDS` a command line is; None if it is none of them."""
    return next((words for words in COMMANDS if tuple(arguments[: len(words)]) == words), None)


def run(words: tuple[str, ...], arguments: Sequence[str]) -> None:
    """Runs one of `COMMANDS` with the arguments that follow it.

    Raises:
      UserError: if the generator, or what it renders with, is not installed, or a setting is none.
    """
    try:
        module = importlib.import_module(COMMANDS[words])
    except ModuleNotFoundError as error:
        raise UserError(
            f"`painjax {' '.join(words)}` runs the generator, which needs {error.name}. "
            "Install it: pip install 'painjax[generate]'"
        ) from error
    try:
        module.main(list(arguments))
    # how the generator, which is no part of the library, says a mistake
    except (ValueError, RuntimeError, FileNotFoundError, PermissionError, ModuleNotFoundError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own, which the command line words
        raise UserError(str(error)) from error
