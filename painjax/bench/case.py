"""What is measured: the sizes of the model and of the batch, as both sides are told them."""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from painjax.errors import UserError
from painjax.models.vitpain import ViTPainConfig

# Width, depth and heads. S, B and L are DINOv3's; 'tiny' is for tests, 'quick' that of `configs/`.
SIZES = {
    "tiny": (32, 2, 2),
    "quick": (192, 6, 3),
    "ti": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
}
DTYPES = ("float32", "bfloat16")
PATCH_SIZE = 16
REGISTERS = 4
LORA_ALPHA = 16.0
LORA_DROPOUT = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """The authors' heads, second encoder and cross-attention for the neutral, on DINOv3 with its RoPE and registers.

    size: one of `SIZES`. image_size: side in pixels. dtype: compute dtype; parameters are float32 on both sides.
    matmul_dtype: 'bfloat16' rounds the operands of float32 products: `ViTConfig.matmul_dtype` here, PyTorch's
    `set_float32_matmul_precision("medium")` there. neutral: with a neutral reference. lora_rank: adapters on qkv and
    proj; 0: none, which is also what a merged model costs.

    Raises:
      UserError: naming every setting that cannot be measured.
    """

    size: str = "s"
    image_size: int = 224
    batch_size: int = 8
    dtype: str = "float32"
    matmul_dtype: str = "float32"
    neutral: bool = True
    lora_rank: int = 8

    def __post_init__(self):
        wrong = []
        for name, known in (("size", SIZES), ("dtype", DTYPES), ("matmul_dtype", DTYPES)):
            if getattr(self, name) not in known:
                wrong.append(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if self.image_size < 1 or self.image_size % PATCH_SIZE:
            wrong.append(f"image size is {self.image_size}; expected a multiple of the patch size {PATCH_SIZE}")
        if self.batch_size < 1:
            wrong.append(f"batch size is {self.batch_size}; expected at least 1")
        if self.lora_rank < 0:
            wrong.append(f"LoRA rank is {self.lora_rank}; expected at least 0")
        if (self.dtype, self.matmul_dtype) == ("bfloat16", "bfloat16"):
            wrong.append("matmul dtype 'bfloat16' is for dtype 'float32'; with dtype 'bfloat16' leave it out")
        if wrong:
            raise UserError(f"Benchmark: {'; '.join(wrong)}.")

    @property
    def width(self) -> int:
        return SIZES[self.size][0]

    @property
    def depth(self) -> int:
        return SIZES[self.size][1]

    @property
    def heads(self) -> int:
        return SIZES[self.size][2]

    @property
    def tokens(self) -> int:
        """CLS, registers and patches of one picture."""
        return 1 + REGISTERS + (self.image_size // PATCH_SIZE) ** 2

    def model_settings(self) -> dict[str, Any]:
        """The fields of our `ViTPainConfig`."""
        return {
            "image_size": self.image_size,
            "patch_size": PATCH_SIZE,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "registers": REGISTERS,
            "layer_scale": 1.0,
            "neutral": "separate" if self.neutral else "none",
            "heads_layout": "official",
            "lora_rank": self.lora_rank,
            "lora_alpha": LORA_ALPHA,
            "lora_dropout": LORA_DROPOUT if self.lora_rank else 0.0,
            "dtype": self.dtype,
            "matmul_dtype": self.matmul_dtype,
        }

    def model_config(self) -> ViTPainConfig:
        return ViTPainConfig(**self.model_settings())

    def for_torch(self) -> dict[str, Any]:
        """The same, as plain numbers, for a process that has no JAX."""
        return dataclasses.asdict(self) | {
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "patch_size": PATCH_SIZE,
            "registers": REGISTERS,
            "lora_alpha": LORA_ALPHA,
            "lora_dropout": LORA_DROPOUT,
            "device": "cuda" if jax.default_backend() == "gpu" else "cpu",
        }


def make_case(dtype: str | None = None, **settings: Any) -> Case:
    """A `Case`; without a dtype float32 on a CPU and bfloat16 elsewhere, what one would run there."""
    # Else JAX takes most of a GPU's memory at once, and PyTorch finds none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    default = "float32" if jax.default_backend() == "cpu" or settings.get("matmul_dtype") == "bfloat16" else "bfloat16"
    return Case(dtype=default if dtype is None else dtype, **settings)


def pictures(case: Case) -> tuple[Float[Array, "B H W C"], Float[Array, "B H W C"] | None]:
    """Random frames, and neutral references if the case has them, as if normalised."""
    rng = np.random.default_rng(0)
    shape = (case.batch_size, case.image_size, case.image_size, 3)
    image, calm = (jnp.asarray(rng.standard_normal(shape, np.float32)) for _ in range(2))
    return image, calm if case.neutral else None
