"""How long a step would take, and how that grows with the number of chips: an estimate, from stated assumptions.

Per device the step takes as long as its products or its memory traffic, whichever is longer, and its collectives. On
more chips with the same batch on each (weak scaling) only the collectives change.
"""

import dataclasses
import math
from collections.abc import Mapping

from painjax.aot.collectives import Collective
from painjax.chips import Chip

PRODUCTS_FRACTION = 0.5  # of peak FLOP/s that a ViT's products reach
MEMORY_FRACTION = 0.8  # of the memory's bandwidth
HOP_S = 1e-6  # from a chip to its neighbour, whatever the size
SCALES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # chips

ASSUMPTIONS = (
    f"matrix products run at {PRODUCTS_FRACTION:.0%} of the chip's bfloat16 peak, memory at {MEMORY_FRACTION:.0%} of "
    "its bandwidth, side by side",
    "a collective uses one link of a chip, in one direction, as on a line of chips; a torus has twice that, or more",
    f"every step of a ring takes {HOP_S * 1e6:.0f} us beside the bytes; an all-reduce goes round twice",
    "efficiency: nothing is communicated while something is computed (pessimistic); efficiency_overlapped: what the "
    "compiler made asynchronous is",
    "on other numbers of chips the batch of each chip, the fixed mesh axes and the program stay; the free axis grows",
    "the input never keeps the step waiting, and all chips are in one slice",
)


@dataclasses.dataclass(frozen=True)
class Roofline:
    """One step on one device.

    products_s, memory_s: times of the matrix products and of the memory traffic. link_bytes_per_s: of one link in one
    direction. collectives: of the compiled program. mesh: what it was compiled for. free: the axis that grows with the
    number of chips.
    """

    products_s: float
    memory_s: float
    link_bytes_per_s: float
    collectives: tuple[Collective, ...]
    mesh: Mapping[str, int]
    free: str

    def step_s(self, chips: int, *, overlapped: bool = False) -> float:
        """Seconds of a step on so many chips; with `overlapped` asynchronous collectives run beside the computing."""
        busy = max(self.products_s, self.memory_s)
        mesh = mesh_of(chips, self.mesh, self.free)
        meanwhile = sum(self._time(each, mesh) for each in self.collectives if each.asynchronous)
        waiting = sum(self._time(each, mesh) for each in self.collectives if not each.asynchronous)
        return max(busy, meanwhile) + waiting if overlapped else busy + meanwhile + waiting

    def efficiency(self, chips: int, *, overlapped: bool = False) -> float:
        """Examples per second and chip, as a fraction of those on one chip, 0..1."""
        return self.step_s(1) / self.step_s(chips, overlapped=overlapped)

    def _time(self, collective: Collective, mesh: Mapping[str, int]) -> float:
        ways = math.prod(mesh[axis] for axis in collective.axes)
        return collective.count * collective_s(collective, ways, self.link_bytes_per_s)


def make_roofline(
    flops_per_device: float,
    hbm_bytes: int,
    collectives: list[Collective],
    chip: Chip,
    torus_axes: int,
    mesh: Mapping[str, int],
    free: str,
) -> Roofline:
    """The roofline of a step on `chip`, whose links lie along two or three `torus_axes`, two on each."""
    return Roofline(
        products_s=flops_per_device / (PRODUCTS_FRACTION * chip.bfloat16_flops),
        memory_s=hbm_bytes / (MEMORY_FRACTION * chip.hbm_bytes_per_s),
        link_bytes_per_s=chip.link_bytes_per_s / (2 * torus_axes),
        collectives=tuple(collectives),
        mesh=mesh,
        free=free,
    )


def collective_s(collective: Collective, ways: int, link_bytes_per_s: float) -> float:
    """Seconds of one run between `ways` chips in a line.

    Every chip passes on all shards but its own: (ways - 1) / ways of the bytes, in ways - 1 steps. An all-reduce is a
    reduce-scatter and an all-gather.
    """
    if ways == 1:
        return 0.0
    if collective.kind == "collective-permute":
        return collective.bytes / link_bytes_per_s + HOP_S
    rounds = 2 if collective.kind == "all-reduce" else 1
    return rounds * ((ways - 1) / ways * collective.bytes / link_bytes_per_s + (ways - 1) * HOP_S)


def mesh_of(chips: int, mesh: Mapping[str, int], free: str) -> dict[str, int]:
    """The mesh's axes on so many chips: the fixed ones as large as they were, where there are enough chips."""
    sizes = {}
    for axis in (axis for axis in mesh if axis != free):
        sizes[axis] = math.gcd(mesh[axis], chips)
        chips //= sizes[axis]
    return sizes | {free: chips}
