"""The encoder: a Vision Transformer with the exact computation of DINOv3.

RoPE on the patch tokens, register tokens, LayerScale, pre-norm blocks, erf-GELU; tokens are CLS, registers, patches.
Blocks are stacked on a leading 'layer' axis and scanned. Weights carry logical axis names ('embed', 'mlp', 'heads',
'layer') which `painjax.sharding` maps to the mesh.

Source: Simeoni et al., "DINOv3" (arXiv 2508.10104); matches timm `vit_*_patch16_dinov3` to 1e-5 in float32.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from painjax.models import matmul
from painjax.sharding import constrain_batch

NORM_EPSILON = 1e-5
INIT_STDDEV = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Shape of the encoder. The defaults are DINOv3's; a small model trained from scratch wants `layer_scale` 0.1..1.

    `dtype` is the compute dtype; parameters stay float32. `matmul_dtype` 'bfloat16' rounds the operands of the linear
    layers' products and nothing else (see `matmul`), which is what modern CPUs are fast at. `remat` recomputes each
    block in the backward pass.
    """

    patch_size: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    in_channels: int = 3
    registers: int = 4
    qkv_bias: bool = False
    rope_theta: float = 100.0
    layer_scale: float = 1e-5
    dropout: float = 0.0
    dtype: str = "float32"
    matmul_dtype: str = "float32"
    remat: bool = True

    def __post_init__(self):
        for name in ("patch_size", "width", "depth", "heads", "in_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; expected at least 1.")
        if self.width % (4 * self.heads):
            raise ValueError(
                f"model.width is {self.width} with {self.heads} heads; expected a multiple of 4 * heads = "
                f"{4 * self.heads}, because RoPE turns pairs of channels once for y and once for x."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}; expected 0 <= dropout < 1.")
        for name in ("dtype", "matmul_dtype"):
            if getattr(self, name) not in ("float32", "bfloat16"):
                raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected 'float32' or 'bfloat16'.")
        if (self.dtype, self.matmul_dtype) == ("bfloat16", "bfloat16"):
            raise ValueError("model.matmul_dtype is for model.dtype 'float32': bfloat16 activations need no rounding.")

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patch tokens: CLS and the registers."""
        return 1 + self.registers


def named(initializer, *axes: str | None):
    """`initializer` whose parameter carries logical axis names. Placement is left to the jit that creates the state."""
    return nnx.with_partitioning(initializer, axes, eager_sharding=False)


def linear(
    inputs: int,
    outputs: int,
    axes: tuple[str | None, str | None],
    *,
    config: ViTConfig,
    rngs: nnx.Rngs,
    bias: bool = True,
    stddev: float | None = None,
) -> nnx.Linear:
    """A Linear from `inputs` to `outputs` in the compute dtype, with zero bias.

    Weights start at a standard deviation of 1 / sqrt(inputs), unless `stddev` is given. The customary 0.02 is that of
    width 2,500: at width 192 attention would start out blind, and stay so for hundreds of steps.
    """
    init = nnx.initializers.truncated_normal(inputs**-0.5 if stddev is None else stddev)
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=bias,
        kernel_init=named(init, *axes),
        dtype=config.dtype,
        dot_general=matmul.dot_general if config.matmul_dtype == "bfloat16" else jax.lax.dot_general,
        rngs=rngs,
    )


def layer_norm(width: int, *, config: ViTConfig, rngs) -> nnx.LayerNorm:
    """LayerNorm with DINOv3's epsilon. The two-pass variance is the one that PyTorch computes."""
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, use_fast_variance=False, dtype=config.dtype, rngs=rngs)


def patchify(image: Float[Array, "B H W C"], p: int) -> Float[Array, "B P ppC"]:
    """Cuts images into p x p patches, row by row; inside a patch pixels are row-major with channels last.

    Raises:
      ValueError: if height or width is not a multiple of `p`.
    """
    b, h, w, c = image.shape
    if h % p or w % p:
        raise ValueError(f"An image of {h} x {w} pixels does not divide into patches of {p}; resize it first.")
    x = image.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)  # [B, rows, columns, p, p, C]
    return x.reshape(b, (h // p) * (w // p), p * p * c)  # [B, P, p*p*C]


def unpatchify(patches: Float[Array, "B P ppC"], p: int, rows: int, columns: int) -> Float[Array, "B H W C"]:
    """Inverse of `patchify` for a grid of `rows` x `columns` patches."""
    b, n, ppc = patches.shape
    if n != rows * columns or ppc % (p * p):
        raise ValueError(f"Patches of shape {patches.shape} are no {rows} x {columns} grid of {p} x {p} pixels.")
    c = ppc // (p * p)
    x = patches.reshape(b, rows, columns, p, p, c).transpose(0, 1, 3, 2, 4, 5)  # [B, rows, p, columns, p, C]
    return x.reshape(b, rows * p, columns * p, c)  # [B, H, W, C]


def rope_angles(rows: int, columns: int, head_dim: int, theta: float) -> Float[Array, "P K"]:
    """Angle by which RoPE turns each channel of each patch token; patch centres run over -1..1 in y and in x.

    Computed in double precision while tracing: it depends on the shape alone.
    """
    periods = theta ** (np.arange(head_dim // 4) / (head_dim // 4))
    y = 2 * (np.arange(rows) + 0.5) / rows - 1
    x = 2 * (np.arange(columns) + 0.5) / columns - 1
    centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(rows * columns, 2)  # [P, yx]
    angles = 2 * np.pi * centres[:, :, None] / periods  # [P, yx, K/4]
    return jnp.asarray(np.tile(angles.reshape(rows * columns, head_dim // 2), 2), jnp.float32)  # [P, K]


def rotate(x: Float[Array, "B N H K"], angles: Float[Array, "P K"]) -> Float[Array, "B N H K"]:
    """Applies RoPE to the last P tokens; the N - P tokens before them (CLS, registers) have no place and stay."""
    prefix = x.shape[1] - angles.shape[0]
    cos = jnp.cos(angles)[None, :, None, :].astype(x.dtype)  # [1, P, 1, K]
    sin = jnp.sin(angles)[None, :, None, :].astype(x.dtype)
    head, patches = x[:, :prefix], x[:, prefix:]
    first, second = jnp.split(patches, 2, axis=-1)
    patches = patches * cos + jnp.concatenate([-second, first], axis=-1) * sin
    return jnp.concatenate([head, patches], axis=1)  # [B, N, H, K]


def attend(
    q: Float[Array, "B N H K"], k: Float[Array, "B M H K"], v: Float[Array, "B M H K"]
) -> Float[Array, "B N H K"]:
    """Softmax attention, the one place that chooses how it is computed; the softmax is in float32.

    On CPU two einsums are more than twice as fast, forward and backward, as `jax.nn.dot_product_attention`. On a GPU
    cuDNN's fused kernel takes half-precision inputs only.
    """
    if jax.default_backend() == "cpu":
        scores = jnp.einsum("bnhk,bmhk->bhnm", q / math.sqrt(q.shape[-1]), k, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores).astype(v.dtype)  # [B, H, N, M]
        return jnp.einsum("bhnm,bmhk->bnhk", weights, v)  # [B, N, H, K]
    fused = jax.default_backend() == "gpu" and q.dtype == jnp.bfloat16 and q.shape[-1] % 8 == 0
    return jax.nn.dot_product_attention(q, k, v, implementation="cudnn" if fused else "xla")


class Block(nnx.Module):
    """Pre-norm attention and MLP, each scaled by a learned LayerScale, on tokens [B, N, D]."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d, hidden = config.width, int(config.width * config.mlp_ratio)
        self.heads = config.heads
        self.norm1 = layer_norm(d, config=config, rngs=rngs)
        self.qkv = linear(d, 3 * d, ("embed", "heads"), bias=config.qkv_bias, config=config, rngs=rngs)
        self.proj = linear(d, d, ("heads", "embed"), config=config, rngs=rngs)
        self.gamma1 = nnx.Param(jnp.full((d,), config.layer_scale))
        self.norm2 = layer_norm(d, config=config, rngs=rngs)
        self.fc1 = linear(d, hidden, ("embed", "mlp"), config=config, rngs=rngs)
        self.fc2 = linear(hidden, d, ("mlp", "embed"), config=config, rngs=rngs)
        self.gamma2 = nnx.Param(jnp.full((d,), config.layer_scale))
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Float[Array, "B N D"], angles: Float[Array, "P K"]) -> Float[Array, "B N D"]:
        x = constrain_batch(x)
        b, n, d = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, d // self.heads)  # [B, N, 3, H, K]
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        y = attend(rotate(q, angles), rotate(k, angles), v).reshape(b, n, d)  # [B, N, D]
        x = x + self.dropout(self.proj(y)) * _vector(self.gamma1, x)
        y = self.fc2(jax.nn.gelu(self.fc1(self.norm2(x)), approximate=False))  # [B, N, D]
        return x + self.dropout(y) * _vector(self.gamma2, x)


class ViT(nnx.Module):
    """Images [B, H, W, C] -> normalised tokens [B, 1 + registers + P, D]; any height and width that patches divide."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        d = config.width
        init = named(nnx.initializers.normal(INIT_STDDEV), None, None, "embed")
        self.patch_embed = linear(
            config.patch_size**2 * config.in_channels, d, (None, "embed"), config=config, rngs=rngs
        )
        self.cls_token = nnx.Param(init(rngs.params(), (1, 1, d)))
        self.registers = nnx.Param(init(rngs.params(), (1, config.registers, d)))
        self.blocks = nnx.split_rngs(splits=config.depth)(
            nnx.vmap(
                lambda rngs: Block(config, rngs=rngs),
                in_axes=0,
                out_axes=0,
                transform_metadata={nnx.PARTITION_NAME: "layer"},
            )
        )(rngs)
        self.norm = layer_norm(d, config=config, rngs=rngs)

    def __call__(self, image: Float[Array, "B H W C"]) -> Float[Array, "B N D"]:
        b, h, w, _ = image.shape
        config, p = self.config, self.config.patch_size
        patches = self.patch_embed(patchify(image, p))  # [B, P, D]
        prefix = jnp.concatenate([self.cls_token[...], self.registers[...]], axis=1)  # [1, 1 + registers, D]
        prefix = jnp.broadcast_to(prefix.astype(patches.dtype), (b, config.prefix, config.width))
        x = jnp.concatenate([prefix, patches], axis=1)  # [B, N, D]
        angles = rope_angles(h // p, w // p, config.width // config.heads, config.rope_theta)  # [P, K]

        def step(x, block):
            return block(x, angles)

        step = nnx.remat(step) if config.remat else step
        x = nnx.scan(step, in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)
        return self.norm(x)


def _vector(parameter: nnx.Param, like: Array) -> Array:
    return parameter[...].astype(like.dtype)[None, None, :]  # [1, 1, D]
