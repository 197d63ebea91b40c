"""What ViTPain reads from its tokens: PSPI, its thresholds, action units and the pain heatmap.

The regression heads are linear to the end. A sigmoid or ReLU would bound the output, but its gradient vanishes where
an untrained head happens to saturate (the authors' AU head ends in ReLU: a unit that starts negative never learns).
So outputs start near the middle of their range, are free during training, and whoever reports them clips them.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from painjax.models.vit import INIT_STDDEV, ViTConfig, attend, layer_norm, linear, named, rotate
from painjax.pspi import AU_MAX, AU_NAMES, PSPI_MAX, PSPI_THRESHOLDS

AU_START = 0.3  # of its range: intensities drawn for an even PSPI average about this
HEATMAP_START = -2.0  # logit: most pixels of a heatmap are still


class PSPIHead(nnx.Module):
    """[CLS, mean of the patches] -> PSPI and one logit for each threshold `PSPI >= 1, 2, 3`.

    CLS can gather what attention finds; the mean sees every patch from the first step, before attention has learned.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.norm = layer_norm(2 * config.width, config=config, rngs=rngs)
        self.hidden = linear(2 * config.width, config.width, ("embed", "mlp"), config=config, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs)
        self.score = linear(config.width, 1, ("mlp", None), stddev=INIT_STDDEV, config=config, rngs=rngs)
        self.thresholds = linear(
            config.width, len(PSPI_THRESHOLDS), ("mlp", None), stddev=INIT_STDDEV, config=config, rngs=rngs
        )

    def __call__(
        self, cls_token: Float[Array, "B D"], patches: Float[Array, "B P D"]
    ) -> tuple[Float[Array, "B"], Float[Array, "B T"]]:
        x = jnp.concatenate([cls_token, patches.mean(axis=1)], axis=-1)  # [B, 2D]
        x = self.dropout(jax.nn.gelu(self.hidden(self.norm(x)), approximate=False))  # [B, D]
        pspi = PSPI_MAX * (0.5 + self.score(x)[:, 0].astype(jnp.float32))  # [B]
        return pspi, self.thresholds(x).astype(jnp.float32)


class AUHead(nnx.Module):
    """Six learned queries, one per action unit, each gathering its part of the face by attention over the patches."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d, units = config.width, len(AU_NAMES)
        # Queries of unit size differ in where they look from the first step; small ones would all see the same mean.
        init = named(nnx.initializers.normal(1.0), None, "embed")
        self.queries = nnx.Param(init(rngs.params(), (units, d)))
        self.norm = layer_norm(d, config=config, rngs=rngs)
        self.key = linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.value = linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.hidden = linear(d, d, ("heads", "mlp"), config=config, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs)
        # One direction per unit: a shared output layer would make the units compete for it.
        self.readout = nnx.Param(
            named(nnx.initializers.truncated_normal(INIT_STDDEV), None, "mlp")(rngs.params(), (units, d))
        )
        self.bias = nnx.Param(jnp.full((units,), AU_START))

    def __call__(self, patches: Float[Array, "B P D"]) -> tuple[Float[Array, "B A"], Float[Array, "B A P"]]:
        x = self.norm(patches)
        queries = self.queries[...].astype(x.dtype)  # [A, D]
        scores = jnp.einsum("ad,bpd->bap", queries, self.key(x), preferred_element_type=jnp.float32)
        attention = jax.nn.softmax(scores / jnp.sqrt(x.shape[-1]))  # [B, A, P]
        gathered = jnp.einsum("bap,bpd->bad", attention.astype(x.dtype), self.value(x))  # [B, A, D]
        y = self.dropout(jax.nn.gelu(self.hidden(gathered), approximate=False))  # [B, A, D]
        y = jnp.einsum("bad,ad->ba", y.astype(jnp.float32), self.readout[...]) + self.bias[...][None, :]  # [B, A]
        return y * jnp.asarray(AU_MAX)[None, :], attention


class HeatmapHead(nnx.Module):
    """Each patch token -> the logits of its own p x p pixels of the pain heatmap, row-major."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.norm = layer_norm(config.width, config=config, rngs=rngs)
        self.pixels = linear(
            config.width, config.patch_size**2, ("embed", None), stddev=INIT_STDDEV, config=config, rngs=rngs
        )

    def __call__(self, patches: Float[Array, "B P D"]) -> Float[Array, "B P pp"]:
        return self.pixels(self.norm(patches)).astype(jnp.float32) + HEATMAP_START  # [B, P, p*p]


class NeutralAttention(nnx.Module):
    """What differs from the neutral reference: queries from the frame's tokens, keys and values from the neutral's.

    RoPE turns both sides alike, so that a patch can find its own place on the neutral face.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d = config.width
        self.heads = config.heads
        self.query = linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.key = linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.value = linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.proj = linear(d, d, ("heads", "embed"), config=config, rngs=rngs)

    def __call__(
        self, tokens: Float[Array, "B N D"], neutral: Float[Array, "B N D"], angles: Float[Array, "P K"]
    ) -> Float[Array, "B N D"]:
        b, n, d = tokens.shape
        shape = (b, n, self.heads, d // self.heads)
        q, k = self.query(tokens).reshape(shape), self.key(neutral).reshape(shape)  # [B, N, H, K]
        v = self.value(neutral).reshape(shape)
        return self.proj(attend(rotate(q, angles), rotate(k, angles), v).reshape(b, n, d))  # [B, N, D]
