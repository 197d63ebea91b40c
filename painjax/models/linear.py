"""The linear layer, with or without LoRA adapters, and the LayerNorm that all models are made of."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from painjax.models import lora, matmul
from painjax.models.config import ViTConfig
from painjax.models.dropout import Dropout
from painjax.sharding import gather_weight, mix_parts

INIT_STDDEV = 0.02


def named(initializer, *axes: str | None):
    """`initializer` whose parameter carries logical axis names. Placement is left to the jit that creates the state."""
    return nnx.with_partitioning(initializer, axes, eager_sharding=False)


class Linear(nnx.Module):
    """x W + b in the compute dtype; with LoRA adapters, + alpha / rank * dropout(x) A B.

    Weights start at a standard deviation of 1 / sqrt(inputs), unless `stddev` is given, biases at 0. The customary 0.02
    is that of width 2,500: at width 192 attention would start out blind, and stay so for hundreds of steps. A starts
    as in peft, B at 0, so that an adapter changes nothing before it is trained. `unbiased` outputs (from, to) have no
    bias, whatever the parameter says. `few_rows` says that a picture is one row or a few: the weight is
    brought to them. Outputs that are several `parts` side by side come as `sharding.part_outputs` takes them.

    Source of LoRA: Hu et al., arXiv 2106.09685; the arithmetic is that of `peft.tuners.lora.Linear`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        axes: tuple[str | None, str | None],
        *,
        config: ViTConfig,
        rngs: nnx.Rngs,
        bias: bool = True,
        stddev: float | None = None,
        adapted: bool = False,
        unbiased: tuple[int, int] = (0, 0),
        few_rows: bool = False,
        parts: int = 1,
    ):
        init = nnx.initializers.truncated_normal(inputs**-0.5 if stddev is None else stddev)
        self.kernel = nnx.Param(named(init, *axes)(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(named(nnx.initializers.zeros, axes[1])(rngs.params(), (outputs,))) if bias else None
        self.unbiased = unbiased
        self.parts = parts
        self.gathers = axes if few_rows else None
        self.dtype = jnp.dtype(config.dtype)
        self.product = matmul.matmul if config.matmul_dtype == "bfloat16" else jnp.matmul
        self.lora_scale = config.lora_alpha / config.lora_rank if adapted else 0.0
        if adapted:
            rank = config.lora_rank
            uniform = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # U(-1, 1) / sqrt(inputs)
            self.lora_a = nnx.Param(named(uniform, axes[0], None)(rngs.params(), (inputs, rank)))
            self.lora_b = nnx.Param(named(nnx.initializers.zeros, None, axes[1])(rngs.params(), (rank, outputs)))
            self.lora_dropout = Dropout(config.lora_dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "*N K"]) -> Float[Array, "*N M"]:
        x, kernel = x.astype(self.dtype), self.kernel[...]
        if self.lora_scale and self.lora_dropout.deterministic:  # in use, one product instead of three
            kernel = kernel + self.lora_scale * (self.lora_a[...] @ self.lora_b[...])
        kernel = mix_parts(kernel.astype(self.dtype), self.parts)
        y = self.product(x, kernel if self.gathers is None else gather_weight(kernel, self.gathers))
        if self.lora_scale and not self.lora_dropout.deterministic:
            b = mix_parts(self._cast(self.lora_b), self.parts)
            y = y + lora.adapt(self.lora_dropout(x), self._cast(self.lora_a), self.lora_scale * b)
        if self.bias is not None:
            bias = self._cast(self.bias).at[slice(*self.unbiased)].set(0)
            y = y + mix_parts(bias, self.parts).reshape((1,) * (y.ndim - 1) + (-1,))
        return y

    def _cast(self, parameter: nnx.Param) -> Array:
        return parameter[...].astype(self.dtype)


def layer_norm(width: int, *, config: ViTConfig, rngs: nnx.Rngs, epsilon: float | None = None) -> nnx.LayerNorm:
    """LayerNorm with the model's epsilon. The two-pass variance is the one that PyTorch computes."""
    epsilon = config.norm_epsilon if epsilon is None else epsilon
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, dtype=config.dtype, rngs=rngs)


def gelu(x: Float[Array, "*N M"]) -> Float[Array, "*N M"]:
    """GELU by the error function, as all the models that we import have it.

    `jax.nn.gelu` is written with erfc, which takes a CPU more than twice as long.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))
