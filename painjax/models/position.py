"""Where a patch is: RoPE angles and rotation, and learned tables brought to another grid."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from painjax.models.config import ViTConfig


def rope_angles(rows: int, columns: int, head_dim: int, theta: float) -> Float[Array, "P K"]:
    """Angle by which RoPE turns each channel of each patch token; patch centres run over -1..1 in y and in x.

    Computed in double precision while tracing: it depends on the shape alone.
    """
    return jnp.asarray(_angles(patch_centres(rows, columns), head_dim, theta), jnp.float32)  # [P, K]


def patch_centres(rows: int, columns: int) -> Float[np.ndarray, "P 2"]:
    """(y, x) of the patches' centres, row by row, in -1..1, float64."""
    y = 2 * (np.arange(rows) + 0.5) / rows - 1
    x = 2 * (np.arange(columns) + 0.5) / columns - 1
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(rows * columns, 2)


def _angles(centres, head_dim: int, theta: float):
    periods = theta ** (np.arange(head_dim // 4) / (head_dim // 4))
    angles = 2 * np.pi * centres[:, :, None] / periods.astype(centres.dtype)[None, None, :]  # [P, yx, K/4]
    angles = angles.reshape(centres.shape[0], head_dim // 2)
    return (np if isinstance(angles, np.ndarray) else jnp).tile(angles, (1, 2))  # [P, K]


class RoPE(nnx.Module):
    """Angles for a grid of patches; while training with DINOv3's random shift, jitter and rescale of coordinates.

    One draw serves the whole batch, so that frame and neutral reference keep to one frame of coordinates.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.head_dim = config.width // config.heads
        self.theta = config.rope_theta
        self.shift, self.jitter, self.rescale = config.rope_shift, config.rope_jitter, config.rope_rescale
        self.deterministic = False  # set by `train()` and `eval()`
        self.rngs = rngs.dropout.fork() if self.shift or self.jitter or self.rescale else None

    def __call__(self, rows: int, columns: int) -> Float[Array, "P K"]:
        if self.rngs is None or self.deterministic:
            return rope_angles(rows, columns, self.head_dim, self.theta)
        shift, jitter, rescale = jax.random.split(self.rngs(), 3)
        centres = jnp.asarray(patch_centres(rows, columns), jnp.float32)  # [P, yx]
        centres = centres + self.shift * jax.random.uniform(shift, (1, 2), minval=-1, maxval=1)
        for factor, key, shape in ((self.jitter, jitter, (1, 2)), (self.rescale, rescale, (1, 1))):
            centres = centres * jnp.exp(math.log(factor or 1) * jax.random.uniform(key, shape, minval=-1, maxval=1))
        return _angles(centres, self.head_dim, self.theta)


def rotate(x: Float[Array, "B N H K"], angles: Float[Array, "P K"] | None) -> Float[Array, "B N H K"]:
    """Applies RoPE to the last P tokens; the N - P tokens before them (CLS, registers) have no place and stay."""
    if angles is None:
        return x
    prefix = x.shape[1] - angles.shape[0]
    cos = jnp.cos(angles)[None, :, None, :].astype(x.dtype)  # [1, P, 1, K]
    sin = jnp.sin(angles)[None, :, None, :].astype(x.dtype)
    head, patches = x[:, :prefix], x[:, prefix:]
    first, second = jnp.split(patches, 2, axis=-1)
    patches = patches * cos + jnp.concatenate([-second, first], axis=-1) * sin
    return jnp.concatenate([head, patches], axis=1)  # [B, N, H, K]


def resize_positions(
    table: Float[Array, "G G D"], rows: int, columns: int, antialias: bool = False
) -> Float[Array, "rows columns D"]:
    """A learned table for a grid of another size, by the bicubic interpolation of PyTorch.

    transformers' ViT and DINOv2 do it without `antialias`, timm and transformers' DINOv2 with registers with it; the
    two differ on larger grids too, by the cubic that they use.
    """
    grid = table.shape[0]
    if (rows, columns) == (grid, grid):
        return table
    down, right = (jnp.asarray(_bicubic(grid, size, antialias), table.dtype) for size in (rows, columns))
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("rg,ch,ghd->rcd", down, right, table, precision=exact)  # [rows, columns, D]


def _bicubic(inputs: int, outputs: int, antialias: bool) -> Float[np.ndarray, "outputs inputs"]:
    """`torch.nn.functional.interpolate(mode='bicubic')` of a line as a matrix.

    Plain: a = -0.75, ends repeated. Antialiased: a = -0.5, as wide as the step, ends cut off.
    """
    centres = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    if antialias:
        d = np.abs(centres[:, None] - np.arange(inputs)) / max(inputs / outputs, 1)
        matrix = _cubic(d, -0.5)
        return matrix / matrix.sum(axis=1, keepdims=True)
    matrix = np.zeros((outputs, inputs))
    for offset in (-1, 0, 1, 2):
        source = np.floor(centres) + offset
        column = np.clip(source, 0, inputs - 1).astype(int)
        np.add.at(matrix, (np.arange(outputs), column), _cubic(np.abs(centres - source), -0.75))
    return matrix


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic at distances `d`."""
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
