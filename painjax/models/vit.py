"""The encoder: a Vision Transformer that computes exactly what DINOv3, DINOv2 and the plain ViT compute.

Pre-norm blocks on the tokens CLS, registers, patches; which kind it is says `ViTConfig`. Blocks are stacked on a
leading 'layer' axis and scanned. Weights carry logical axis names ('embed', 'mlp', 'heads', 'layer') which
`painjax.sharding` maps to the mesh.

Source: DINOv3, Simeoni et al., arXiv 2508.10104; DINOv2, Oquab et al., 2304.07193; ViT, Dosovitskiy et al., 2010.11929.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from painjax.models.attention import attend
from painjax.models.config import ViTConfig
from painjax.models.dropout import Dropout
from painjax.models.linear import INIT_STDDEV, Linear, gelu, layer_norm, named
from painjax.models.position import RoPE, resize_positions, rotate
from painjax.sharding import constrain_batch, part_outputs

_REMAT = {"full": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}


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


class Block(nnx.Module):
    """Pre-norm attention and MLP, each scaled by LayerScale, on tokens [B, N, D]."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d, hidden = config.width, config.mlp_width
        self.heads = config.heads
        self.gated = config.mlp == "swiglu"

        def linear(name: str, inputs: int, outputs: int, axes: tuple[str, str], **options) -> Linear:
            adapted = config.adapts(f"blocks/{name}")
            return Linear(inputs, outputs, axes, adapted=adapted, config=config, rngs=rngs, **options)

        keys = (d, 2 * d) if config.qkv_bias == "query_value" else (0, 0)
        self.norm1 = layer_norm(d, config=config, rngs=rngs)
        self.qkv = linear("qkv", d, 3 * d, ("embed", "heads"), bias=config.qkv_bias != "none", unbiased=keys, parts=3)
        self.proj = linear("proj", d, d, ("heads", "embed"))
        self.norm2 = layer_norm(d, config=config, rngs=rngs)
        self.fc1 = linear(
            "fc1", d, 2 * hidden if self.gated else hidden, ("embed", "mlp"), parts=2 if self.gated else 1
        )
        self.fc2 = linear("fc2", hidden, d, ("mlp", "embed"))
        self.gamma1 = nnx.Param(jnp.full((d,), config.layer_scale)) if config.layer_scale else None
        self.gamma2 = nnx.Param(jnp.full((d,), config.layer_scale)) if config.layer_scale else None
        self.dropout = Dropout(config.dropout, rngs=rngs)
        self.drop_path = nnx.Dropout(config.drop_path, broadcast_dims=(1, 2), rngs=rngs)

    def __call__(self, x: Float[Array, "B N D"], angles: Float[Array, "P K"] | None) -> Float[Array, "B N D"]:
        x = constrain_batch(x)
        x = x + self._branch(self._attention(self.norm1(x), angles), self.gamma1)
        return x + self._branch(self._mlp(self.norm2(x)), self.gamma2)

    def _attention(self, x: Float[Array, "B N D"], angles: Float[Array, "P K"] | None) -> Float[Array, "B N D"]:
        b, n, d = x.shape
        shape = (b, n, self.heads, d // self.heads)
        q, k, v = (part.reshape(shape) for part in part_outputs(self.qkv(x), 3))  # [B, N, H, K] each
        y = attend(rotate(q, angles), rotate(k, angles), v)
        return self.proj(y.reshape(b, n, d))  # [B, N, D]

    def _mlp(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        x = self.fc1(x)
        if not self.gated:
            return self.fc2(gelu(x))
        gate, value = part_outputs(x, 2)
        return self.fc2(jax.nn.silu(gate) * value)

    def _branch(self, y: Float[Array, "B N D"], gamma: nnx.Param | None) -> Float[Array, "B N D"]:
        y = self.dropout(y)
        if gamma is not None:
            y = y * gamma[...].astype(y.dtype)[None, None, :]
        return self.drop_path(y)


class ViT(nnx.Module):
    """Images [B, H, W, C] -> normalised tokens [B, 1 + registers + P, D]; any height and width that patches divide."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        d = config.width
        init = named(nnx.initializers.normal(INIT_STDDEV), None, None, "embed")
        self.patch_embed = Linear(
            config.patch_size**2 * config.in_channels,
            d,
            (None, "embed"),
            adapted=config.adapts("patch_embed"),
            config=config,
            rngs=rngs,
        )
        self.cls_token = nnx.Param(init(rngs.params(), (1, 1, d)))
        self.registers = nnx.Param(init(rngs.params(), (1, config.registers, d))) if config.registers else None
        places = config.position_grid**2 + config.position_prefix
        self.positions = nnx.Param(init(rngs.params(), (1, places, d))) if config.position == "learned" else None
        self.rope = RoPE(config, rngs=rngs) if config.position == "rope" else None
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
        rows, columns = (side // self.config.patch_size for side in image.shape[1:3])
        x = self.embed(image)  # [B, N, D]
        angles = self.rope(rows, columns) if self.rope is not None else None  # [P, K]

        def step(x, block):
            return block(x, angles)

        if self.config.remat != "none":
            step = nnx.remat(step, policy=_REMAT[self.config.remat])
        x = nnx.scan(step, in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)
        return self.norm(x)

    def embed(self, image: Float[Array, "B H W C"]) -> Float[Array, "B N D"]:
        """The tokens that enter the first block."""
        config, p = self.config, self.config.patch_size
        rows, columns = image.shape[1] // p, image.shape[2] // p
        patches = self.patch_embed(patchify(image, p))  # [B, P, D]
        cls_token = self.cls_token[...].astype(patches.dtype)  # [1, 1, D]
        if self.positions is not None:
            table = self.positions[...].astype(patches.dtype)
            grid = table[0, int(config.position_prefix) :].reshape(config.position_grid, config.position_grid, -1)
            patches = patches + resize_positions(grid, rows, columns, config.position_antialias).reshape(
                1, rows * columns, -1
            )
            cls_token = cls_token + table[:, :1] if config.position_prefix else cls_token
        prefix = [cls_token] if self.registers is None else [cls_token, self.registers[...].astype(patches.dtype)]
        prefix = jnp.concatenate(prefix, axis=1)  # [1, 1 + registers, D]
        prefix = jnp.broadcast_to(prefix, (image.shape[0], *prefix.shape[1:]))
        return jnp.concatenate([prefix, patches], axis=1)  # [B, N, D]
