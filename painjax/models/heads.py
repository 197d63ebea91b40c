"""What ViTPain reads from its tokens: PSPI, its thresholds, action units and the pain heatmap.

PSPI is linear to the end: a sigmoid or ReLU would bound it, but its gradient vanishes where an untrained head happens
to saturate (the authors' AU head ends in ReLU: a unit that starts negative never learns). It starts in the middle of
its range, is free during training, and whoever reports it clips it. Action units and heatmap pixels are fractions of
their maximum through a sigmoid, learned by cross-entropy, whose gradient does not vanish.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from painjax.models.attention import attend
from painjax.models.config import ViTConfig
from painjax.models.dropout import Dropout
from painjax.models.linear import INIT_STDDEV, Linear, gelu, layer_norm, named
from painjax.models.position import rotate
from painjax.pspi import AU_NAMES, PSPI_MAX, PSPI_THRESHOLDS
from painjax.sharding import gather_weight

AU_START = -0.85  # logit of 0.3 of its range: intensities drawn for an even PSPI average about this
HEATMAP_START = -2.0  # logit: most pixels of a heatmap are still
LOG_VARIANCE_START = 2.8  # of PSPI: a standard deviation of 4, as that of PSPI spread over its range


class PSPIHead(nnx.Module):
    """[CLS, mean of the patches] -> PSPI, one logit for each threshold `PSPI >= 1, 2, 3`, and the log variance of PSPI.

    CLS can gather what attention finds; the mean sees every patch from the first step, before attention has learned.
    Each threshold's logit is the one before it less a positive step, so that P(PSPI >= 2) cannot exceed P(PSPI >= 1).
    """

    def __init__(self, config: ViTConfig, *, uncertainty: bool, rngs: nnx.Rngs):
        d = config.width

        def readout(outputs: int) -> Linear:
            return Linear(d, outputs, ("mlp", None), stddev=INIT_STDDEV, config=config, rngs=rngs)

        self.norm = layer_norm(2 * d, config=config, rngs=rngs)
        self.hidden = Linear(2 * d, d, ("embed", "mlp"), few_rows=True, config=config, rngs=rngs)
        self.dropout = Dropout(config.dropout, rngs=rngs)
        self.score = readout(1)
        self.threshold_steps = readout(len(PSPI_THRESHOLDS))
        self.log_variance = readout(1) if uncertainty else None

    def __call__(
        self, cls_token: Float[Array, "B D"], patches: Float[Array, "B P D"]
    ) -> tuple[Float[Array, "B"], Float[Array, "B T"], Float[Array, "B"] | None]:
        x = jnp.concatenate([cls_token, patches.mean(axis=1)], axis=-1)  # [B, 2D]
        x = self.dropout(gelu(self.hidden(self.norm(x))))  # [B, D]
        pspi = PSPI_MAX * (0.5 + self.score(x)[:, 0].astype(jnp.float32))  # [B]
        first, *steps = jnp.split(self.threshold_steps(x).astype(jnp.float32), len(PSPI_THRESHOLDS), axis=-1)
        logits = first - jnp.cumsum(jnp.concatenate([0 * first, *map(jax.nn.softplus, steps)], axis=-1), axis=-1)
        if self.log_variance is None:
            return pspi, logits, None
        return pspi, logits, self.log_variance(x)[:, 0].astype(jnp.float32) + LOG_VARIANCE_START


class AUHead(nnx.Module):
    """Six learned queries, one per action unit, each gathering its part of the face by attention over the patches.

    Returns logits of each unit's fraction of its maximum (for AU43, which is 0 or 1, of its probability), and where
    each query looks.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d, units = config.width, len(AU_NAMES)
        # Queries of unit size differ in where they look from the first step; small ones would all see the same mean.
        init = named(nnx.initializers.normal(1.0), None, "embed")
        self.queries = nnx.Param(init(rngs.params(), (units, d)))
        self.norm = layer_norm(d, config=config, rngs=rngs)
        self.key = Linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.value = Linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.hidden = Linear(d, d, ("heads", "embed"), few_rows=True, config=config, rngs=rngs)
        self.dropout = Dropout(config.dropout, rngs=rngs)
        # One direction per unit: a shared output layer would make the units compete for it.
        self.readout = nnx.Param(
            named(nnx.initializers.truncated_normal(INIT_STDDEV), None, "embed")(rngs.params(), (units, d))
        )
        self.bias = nnx.Param(jnp.full((units,), AU_START))

    def __call__(self, patches: Float[Array, "B P D"]) -> tuple[Float[Array, "B A"], Float[Array, "B A P"]]:
        x = self.norm(patches)
        queries = gather_weight(self.queries[...].astype(x.dtype), (None, "embed"))  # [A, D]
        scores = jnp.einsum("ad,bpd->bap", queries, self.key(x), preferred_element_type=jnp.float32)
        attention = jax.nn.softmax(scores / jnp.sqrt(x.shape[-1]))  # [B, A, P]
        gathered = jnp.einsum("bap,bpd->bad", attention.astype(x.dtype), self.value(x))  # [B, A, D]
        y = self.dropout(gelu(self.hidden(gathered)))  # [B, A, D]
        readout = gather_weight(self.readout[...], (None, "embed"))  # [A, D]
        logits = jnp.einsum("bad,ad->ba", y.astype(jnp.float32), readout)  # [B, A]
        return logits + self.bias[...][None, :], attention


class HeatmapHead(nnx.Module):
    """Each patch token -> the logits of its own p x p pixels of the pain heatmap, row-major."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.norm = layer_norm(config.width, config=config, rngs=rngs)
        self.pixels = Linear(
            config.width, config.patch_size**2, ("embed", None), stddev=INIT_STDDEV, config=config, rngs=rngs
        )

    def __call__(self, patches: Float[Array, "B P D"]) -> Float[Array, "B P pp"]:
        return self.pixels(self.norm(patches)).astype(jnp.float32) + HEATMAP_START  # [B, P, p*p]


class NeutralAttention(nnx.Module):
    """What differs from the neutral reference: queries from the frame's tokens, keys and values from the neutral's.

    RoPE turns both sides alike, so that a patch can find its own place on the neutral face. Keys and values of several
    neutral pictures stand side by side, and are made once per person by `keys_and_values`.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        d = config.width
        self.heads = config.heads
        self.query = Linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.key = Linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.value = Linear(d, d, ("embed", "heads"), config=config, rngs=rngs)
        self.proj = Linear(d, d, ("heads", "embed"), config=config, rngs=rngs)

    def keys_and_values(
        self, neutral: Float[Array, "R N D"], angles: Float[Array, "P K"] | None
    ) -> tuple[Float[Array, "R N H K"], Float[Array, "R N H K"]]:
        """Keys and values of R neutral pictures."""
        return rotate(self._split(self.key(neutral)), angles), self._split(self.value(neutral))

    def __call__(
        self,
        tokens: Float[Array, "B N D"],
        keys: Float[Array, "B M H K"],
        values: Float[Array, "B M H K"],
        valid: Bool[Array, "B M"],
        angles: Float[Array, "P K"] | None,
    ) -> Float[Array, "B N D"]:
        """The frame's tokens with what they found on the valid neutral tokens; unchanged where none is valid."""
        found = attend(rotate(self._split(self.query(tokens)), angles), keys, values, valid)  # [B, N, H, K]
        return jnp.where(valid.any(axis=1)[:, None, None], self._join(tokens, found), tokens)

    def _join(self, tokens: Float[Array, "B N D"], found: Float[Array, "B N H K"]) -> Float[Array, "B N D"]:
        return tokens + self.proj(found.reshape(tokens.shape))  # [B, N, D]

    def _split(self, x: Float[Array, "B N D"]) -> Float[Array, "B N H K"]:
        return x.reshape(*x.shape[:2], self.heads, -1)
