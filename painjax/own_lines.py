"""What a command of ours prints of itself and of its libraries while it works: our lines, and their errors."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from absl import flags, logging

import painjax

_PACKAGE = str(Path(painjax.__file__).parent)
_show_unraisable = sys.unraisablehook
_GOOGLE = "0x1ae0"  # the vendor of TPUs on the PCI bus
# With these libtpu does not complain, in six lines at every start, that nobody tells it about its TPU.
_NO_TPU = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_HOST_BOUNDS": "1,1,1"}


def show() -> None:
    """Lines that this package logs go to stderr; of its libraries, errors only: they warn about each other.

    Not shown either is what they print beside raising it, when a checkpoint cannot be written: Orbax's errors, with
    tracebacks of its threads; what asyncio says of those that Orbax leaves; and hundreds of lines of TensorStore's
    threads, below Orbax, which find the event loop of the save closed. Nor what libtpu, which `painjax[tpu-aot]`
    brings, says of the TPU that a machine does not have.
    """
    if not may_have_tpu(os.environ):
        os.environ.update(_NO_TPU)
    flags.FLAGS(["painjax"])  # else absl says at every line that flags are not parsed
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_is_worth_showing)
    sys.unraisablehook = _show_unraisable_of_others


def may_have_tpu(environment: Mapping[str, str], root: str | os.PathLike = "/") -> bool:
    """Whether a variable, or a device or PCI card of this machine, whose files are below `root`, hints at a TPU."""
    root = Path(root)
    if any(name.startswith(("TPU_", "PJRT_", "JAX_PLATFORMS")) for name in environment):
        return True
    if (root / "dev" / "vfio").exists() or any(root.glob("dev/accel*")):
        return True
    return any(vendor.read_text().strip() == _GOOGLE for vendor in root.glob("sys/bus/pci/devices/*/vendor"))


def _is_worth_showing(record):
    library = Path(record.pathname)
    of_orbax = "orbax" in library.parts or (record.name == "asyncio" and "orbax" in record.getMessage())
    return library.is_relative_to(_PACKAGE) or (record.levelno >= 40 and not of_orbax)


def _show_unraisable_of_others(unraisable):
    if str(unraisable.exc_value) != "Event loop is closed":
        _show_unraisable(unraisable)
