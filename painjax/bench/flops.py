"""Floating point operations of one picture, counted on paper, and what devices can do at most.

XLA's own count takes the body of a scan once and counts what is recomputed, so it is no measure of the model.
"""

import jax

from painjax.bench.case import PATCH_SIZE, Case

# Dense bfloat16 FLOP/s by `jax.Device.device_kind`, from the vendors' data sheets.
PEAK_BFLOAT16 = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA L4": 121e12,
    "Tesla T4": 65e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}


def forward_flops(case: Case, *, enrolled: bool = False) -> int:
    """Of one frame and, unless the person is enrolled or there is none, its neutral reference; without the heads.

    A product of [N, K] by [K, M] counts 2 N K M; elementwise work is not counted. The heads are below 0.1 % for S.
    """
    return sum(_parts(case, enrolled))


def train_flops(case: Case) -> int:
    """Of one frame with its reference, forward and backward; what remat computes again is not counted.

    Weights that LoRA freezes need no gradient: their products cost two thirds of ordinary training, less the patch
    embedding's, through which nothing has to go back.
    """
    frozen, embedding, trained = _parts(case, enrolled=False)
    if case.lora_rank == 0:
        return 3 * (frozen + trained) + 2 * embedding
    return 2 * frozen + embedding + 3 * trained


def peak_flops(dtype: str) -> float | None:
    """Of one device, in FLOP/s, or None where the table does not know the device or the dtype."""
    return PEAK_BFLOAT16.get(jax.devices()[0].device_kind) if dtype == "bfloat16" else None


def _parts(case: Case, enrolled: bool) -> tuple[int, int, int]:
    """Of the linear layers inside the blocks, of the patch embedding, and of everything whose both sides train."""
    n, d, r = case.tokens, case.width, case.lora_rank
    encoders = 2 if case.neutral and not enrolled else 1
    linear = case.depth * 2 * n * 12 * d**2
    embedding = 2 * (case.image_size // PATCH_SIZE) ** 2 * PATCH_SIZE**2 * 3 * d
    attention = case.depth * 4 * n**2 * d
    adapters = case.depth * 2 * n * r * (d + 3 * d + d + d)
    # Query and output of the frame's tokens, keys and values of the reference's, and the two products between them.
    cross = (4 * n * d**2 + 4 * n**2 * d + (0 if enrolled else 4 * n * d**2)) if case.neutral else 0
    return encoders * linear, encoders * embedding, encoders * (attention + adapters) + cross
