"""What a command of ours prints of itself and of its libraries while it works: our lines, and their errors."""

import sys
from pathlib import Path

from absl import flags, logging

import painjax

_PACKAGE = str(Path(painjax.__file__).parent)
_show_unraisable = sys.unraisablehook


def show() -> None:
    """Lines that this package logs go to stderr; of its libraries, errors only: they warn about each other.

    Not shown either is what they print beside raising it, when a checkpoint cannot be written: Orbax's errors, with
    tracebacks of its threads; what asyncio says of those that Orbax leaves; and hundreds of lines of TensorStore's
    threads, below Orbax, which find the event loop of the save closed.
    """
    flags.FLAGS(["painjax"])  # else absl says at every line that flags are not parsed
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_is_worth_showing)
    sys.unraisablehook = _show_unraisable_of_others


def _is_worth_showing(record):
    library = Path(record.pathname)
    of_orbax = "orbax" in library.parts or (record.name == "asyncio" and "orbax" in record.getMessage())
    return library.is_relative_to(_PACKAGE) or (record.levelno >= 40 and not of_orbax)


def _show_unraisable_of_others(unraisable):
    if str(unraisable.exc_value) != "Event loop is closed":
        _show_unraisable(unraisable)
