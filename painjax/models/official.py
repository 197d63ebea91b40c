"""The authors' heads and neutral attention, as released, so that their checkpoint computes here what it computes there.

Their backbone runs without RoPE and register tokens; see `ViTPainConfig.heads_layout`. For our own models use
`painjax.models.heads`: here every unit shares one output layer that ends in ReLU, and thresholds can contradict.
Several neutral pictures are attended to together, as in our models; their evaluation instead averages what the model
says with each (predict with one reference at a time for that).

Source: the PyTorch code released with Lin et al., "Pain in 3D" (arXiv 2509.16727).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from painjax.models.config import ViTConfig
from painjax.models.dropout import Dropout
from painjax.models.heads import NeutralAttention
from painjax.models.linear import INIT_STDDEV, Linear, gelu, layer_norm, named
from painjax.pspi import AU_NAMES, PSPI_MAX, PSPI_THRESHOLDS

EPSILON = 1e-5  # PyTorch's default for LayerNorm
ATTENTION_HEADS = 8
PSPI_WIDTHS = (512, 256, 128)
AU_WIDTH = 512


class OfficialNeutralAttention(NeutralAttention):
    """`NeutralAttention` with eight heads and without positions, followed by LayerNorm(tokens + found)."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        self.heads = ATTENTION_HEADS
        self.norm = layer_norm(config.width, config=config, rngs=rngs, epsilon=EPSILON)

    def _join(self, tokens: Float[Array, "B N D"], found: Float[Array, "B N H K"]) -> Float[Array, "B N D"]:
        return self.norm(super()._join(tokens, found))


class OfficialPSPIHead(nnx.Module):
    """CLS -> PSPI, 0..16: LayerNorm, three GELU layers, sigmoid."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        widths = (config.width, *PSPI_WIDTHS, 1)
        layers = [
            Linear(a, b, (None, None), config=config, rngs=rngs) for a, b in zip(widths, widths[1:], strict=False)
        ]
        self.norm = layer_norm(config.width, config=config, rngs=rngs, epsilon=EPSILON)
        self.hidden1, self.hidden2, self.hidden3, self.score = layers
        self.dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, cls_token: Float[Array, "B D"]) -> Float[Array, "B"]:
        x = self.norm(cls_token)
        for hidden in (self.hidden1, self.hidden2, self.hidden3):
            x = self.dropout(gelu(hidden(x)))
        return PSPI_MAX * jax.nn.sigmoid(self.score(x)[:, 0].astype(jnp.float32))


class OfficialThresholdHead(nnx.Module):
    """CLS -> one logit for each threshold `PSPI >= 1, 2, 3`: a LayerNorm and a linear layer each, stacked."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=len(PSPI_THRESHOLDS))
        @nnx.vmap(in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: None})
        def each(rngs):
            norm = layer_norm(config.width, config=config, rngs=rngs, epsilon=EPSILON)
            return norm, Linear(config.width, 1, (None, None), stddev=INIT_STDDEV, config=config, rngs=rngs)

        self.norm, self.score = each(rngs)

    def __call__(self, cls_token: Float[Array, "B D"]) -> Float[Array, "B T"]:
        logits = nnx.vmap(lambda norm, score, x: score(norm(x)), in_axes=(0, 0, None), out_axes=-1)(
            self.norm, self.score, cls_token
        )  # [B, 1, T]
        return logits[:, 0].astype(jnp.float32)


class OfficialAUHead(nnx.Module):
    """Six queries that pool the patches by scaled dot products, then one shared layer and one shared output, ReLU."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d = config.width
        self.queries = nnx.Param(
            named(nnx.initializers.normal(INIT_STDDEV), None, None)(rngs.params(), (len(AU_NAMES), d))
        )
        self.norm = layer_norm(d, config=config, rngs=rngs, epsilon=EPSILON)
        self.hidden = Linear(d, AU_WIDTH, (None, None), config=config, rngs=rngs)
        self.score = Linear(AU_WIDTH, 1, (None, None), config=config, rngs=rngs)
        self.dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, patches: Float[Array, "B P D"]) -> tuple[Float[Array, "B A"], Float[Array, "B A P"]]:
        queries = self.queries[...].astype(patches.dtype)  # [A, D]
        scores = jnp.einsum("ad,bpd->bap", queries, patches, preferred_element_type=jnp.float32)
        attention = jax.nn.softmax(scores / jnp.sqrt(patches.shape[-1]))  # [B, A, P]
        pooled = jnp.einsum("bap,bpd->bad", attention.astype(patches.dtype), patches)  # [B, A, D]
        y = self.dropout(gelu(self.hidden(self.norm(pooled))))
        return jax.nn.relu(self.score(y)[..., 0].astype(jnp.float32)), attention
