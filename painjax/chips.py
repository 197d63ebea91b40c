"""What accelerators can do at most, from their makers' data sheets: the yardstick of every measurement.

Sources: NVIDIA's data sheets of H200, H100, A100 and L4 (dense figures, without sparsity); Google's Cloud TPU
documentation, "System architecture", of v4, v5e, v5p and v6e.
"""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator, as JAX sees a device.

    device_kinds: the `jax.Device.device_kind`s that mean it. bfloat16_flops: dense products, FLOP/s. hbm_bytes: its
    memory. hbm_bytes_per_s: to and from that memory. link_bytes_per_s: what it sends to its neighbours over all its
    fast links (NVLink, ICI) together, in one direction; of a chip without any, over PCIe.
    """

    name: str
    device_kinds: tuple[str, ...]
    bfloat16_flops: float
    hbm_bytes: int
    hbm_bytes_per_s: float
    link_bytes_per_s: float


CHIPS = (
    Chip("H200", ("NVIDIA H200",), 989e12, 141 * 10**9, 4.8e12, 450e9),
    Chip("H100 SXM", ("NVIDIA H100 80GB HBM3",), 989e12, 80 * 10**9, 3.35e12, 450e9),
    Chip("H100 PCIe", ("NVIDIA H100 PCIe",), 756e12, 80 * 10**9, 2.0e12, 300e9),
    Chip("A100 80GB", ("NVIDIA A100-SXM4-80GB",), 312e12, 80 * 10**9, 2.039e12, 300e9),
    Chip("A100 40GB", ("NVIDIA A100-SXM4-40GB",), 312e12, 40 * 10**9, 1.555e12, 300e9),
    Chip("L4", ("NVIDIA L4",), 121e12, 24 * 10**9, 300e9, 32e9),
    Chip("TPU v4", ("TPU v4",), 275e12, 32 * 2**30, 1.228e12, 300e9),
    Chip("TPU v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 16 * 2**30, 819e9, 200e9),
    Chip("TPU v5p", ("TPU v5", "TPU v5p"), 459e12, 95 * 2**30, 2.765e12, 600e9),
    Chip("TPU v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 32 * 2**30, 1.64e12, 448e9),
)


def chip_of(device: jax.Device) -> Chip | None:
    """The data sheet of `device`, None for one that the table does not know, such as a CPU."""
    return next((chip for chip in CHIPS if device.device_kind in chip.device_kinds), None)
