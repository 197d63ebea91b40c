"""TPU slices by name, as devices that can be compiled for and nothing else."""

import contextlib
import dataclasses
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence

import jax
from jax.experimental import topologies

from painjax.chips import Chip, chip_of
from painjax.errors import UserError

# Shapes that libtpu knows. Of v5p every fourth chip or more; v2, v3 and v4 are described by cores, not chips.
SHAPES = {
    "v5e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
    "v5p": ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8"),
    "v6e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A TPU slice.

    name: as libtpu has it, such as 'v5e:4x4'. devices: one per chip. chip: their data sheet. axes: of the torus of
    links, which has two or three.
    """

    name: str
    devices: Sequence[jax.Device]
    chip: Chip

    @property
    def axes(self) -> int:
        """How many axes the chips' links have, whatever the extent of the slice along them."""
        return self.name.count("x") + 1


def canonical(name: str) -> str:
    """'v5e:4x4' from itself or from a number of chips: 'v5e-16', 'v5litepod-16', 'v5p-64', 'v6e-256'.

    Raises:
      UserError: if there is no such slice, listing those that there are.
    """
    family, separator, size = name.replace("v5litepod", "v5e").partition("-" if "-" in name else ":")
    found = [
        shape
        for shape in SHAPES.get(family, ())
        if (size == shape if separator == ":" else re.fullmatch(r"\d+", size) and int(size) == chips(shape))
    ]
    if not found:
        known = "; ".join(f"{family}: {', '.join(shapes)}" for family, shapes in SHAPES.items())
        raise UserError(
            f"--topology={name} is not known. Known are {known}; give one as v5e:4x4, or by its number of chips, as "
            "v5e-16 (v5p-64 has 64 chips here; Google counts cores and calls it v5p-128)."
        )
    return f"{family}:{found[0]}"


def chips(shape: str) -> int:
    """The number of chips of a shape such as '4x4'."""
    number = 1
    for side in shape.split("x"):
        number *= int(side)
    return number


@contextlib.contextmanager
def flags_that_libtpu_knows() -> Iterator[None]:
    """Context: XLA's flags for CPUs and GPUs are hidden. libtpu reads flags when it is loaded and when it first
    compiles, and ends the process at one that it does not know."""
    given = os.environ.get("XLA_FLAGS")
    if given is None:
        yield
        return
    os.environ["XLA_FLAGS"] = re.sub(r"--xla_(cpu|gpu)_\S*", "", given)
    try:
        yield
    finally:
        os.environ["XLA_FLAGS"] = given


def describe(name: str) -> Topology:
    """The slice `name`, described by libtpu; nothing outside this machine is asked.

    Raises:
      UserError: if there is no such slice, or libtpu is not installed.
    """
    name = canonical(name)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("Compiling for TPUs needs libtpu, the TPU compiler: pip install 'painjax[tpu-aot]'.")
    # Read when libtpu is loaded: ask no cloud server what machine this is, do not complain that nobody says it either,
    # and do not fail because another process, a training on a real TPU or a second compilation, holds the library's
    # lock file.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_HOST_BOUNDS", "1,1,1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    with flags_that_libtpu_knows():
        alone = {"chips_per_host_bounds": (1, 1, 1)} if name.endswith(":1x1") else {}  # else hosts have four chips
        devices = topologies.get_topology_desc(name, "tpu", **alone).devices
    chip = chip_of(devices[0])
    if chip is None or len(devices) != chips(name.partition(":")[2]):
        raise UserError(
            f"libtpu describes {name} as {len(devices)} devices of the kind {devices[0].device_kind!r}, which "
            "painjax.chips does not know as chips. Install the libtpu that this was tested with: pip install "
            "'painjax[tpu-aot]'."
        )
    return Topology(name, devices, chip)
