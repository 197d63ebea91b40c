"""ViTPain: one encoder, an optional neutral reference, and the heads. Teacher and student are both this class."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from painjax.models.heads import AUHead, HeatmapHead, NeutralAttention, PSPIHead
from painjax.models.vit import ViT, ViTConfig, linear, rope_angles

NEUTRAL = ("none", "channels", "shared", "separate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTPainConfig(ViTConfig):
    """Built by `ViTPainConfig(**config.model)`.

    `neutral` says what the model does with a neutral reference of the same person:
      'none'      it has no use for one.
      'channels'  frame minus neutral, pixel by pixel, as extra input channels: strong where both have the same view.
      'shared'    cross-attention from the frame's tokens to the neutral's, both from the one encoder.
      'separate'  the same with a second encoder for the neutral, as the authors have it.
    Whichever it is, the model also works without a reference. `project_width` > 0 adds a linear map of the patch
    tokens to that width, to be matched with a teacher's.
    """

    image_size: int
    neutral: str = "none"
    project_width: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.neutral not in NEUTRAL:
            raise ValueError(f"model.neutral is {self.neutral!r}; expected one of {', '.join(NEUTRAL)}.")
        if self.image_size < 1 or self.image_size % self.patch_size:
            raise ValueError(
                f"model.image_size is {self.image_size}; expected a multiple of model.patch_size {self.patch_size}."
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


@dataclasses.dataclass(frozen=True)
class ViTPainOutput:
    """Everything ViTPain computes on the way. float32 but for the tokens, which are in the compute dtype.

    pspi: PSPI, meant for 0..16 but unbounded (see `heads`). aus: intensities in the order of `AU_NAMES`, likewise.
    threshold_logits: logits of PSPI >= 1, 2, 3. heatmap: logits of each patch's own pixels of the pain heatmap,
    row-major; sigmoid gives 0..1. au_attention: where each AU query looks, sums to 1 over the patches.
    projected: the patch tokens in the teacher's width, None unless `project_width` > 0.
    """

    pspi: Float[Array, "B"]
    aus: Float[Array, "B A"]
    threshold_logits: Float[Array, "B T"]
    heatmap: Float[Array, "B P pp"]
    patch_tokens: Float[Array, "B P D"]
    cls_token: Float[Array, "B D"]
    au_attention: Float[Array, "B A P"]
    projected: Float[Array, "B P Dt"] | None


def _unflatten(_, leaves):
    # JAX rebuilds pytrees around shapes and shardings too, which the checked constructor would refuse.
    output = object.__new__(ViTPainOutput)
    for field, leaf in zip(dataclasses.fields(ViTPainOutput), leaves, strict=True):
        object.__setattr__(output, field.name, leaf)
    return output


jax.tree_util.register_pytree_with_keys(
    ViTPainOutput,
    lambda x: ([(jax.tree_util.GetAttrKey(f.name), getattr(x, f.name)) for f in dataclasses.fields(x)], None),
    _unflatten,
)


class ViTPain(nnx.Module):
    """Facial pain from an image [B, S, S, C], with or without a neutral reference of the same person.

    Raises (when called):
      ValueError: if a neutral reference is given to a model that has no use for one, or the size is not the model's.
    """

    def __init__(self, config: ViTPainConfig, *, rngs: nnx.Rngs):
        self.config = config
        channels = config.in_channels * (2 if config.neutral == "channels" else 1)
        encoder = dataclasses.replace(config, in_channels=channels)
        self.encoder = ViT(encoder, rngs=rngs)
        self.neutral_encoder = ViT(encoder, rngs=rngs) if config.neutral == "separate" else None
        attends = config.neutral in ("shared", "separate")
        self.neutral_attention = NeutralAttention(config, rngs=rngs) if attends else None
        self.pspi_head = PSPIHead(config, rngs=rngs)
        self.au_head = AUHead(config, rngs=rngs)
        self.heatmap_head = HeatmapHead(config, rngs=rngs)
        self.project = (
            linear(config.width, config.project_width, ("embed", None), config=config, rngs=rngs)
            if config.project_width
            else None
        )

    def __call__(
        self,
        image: Float[Array, "B H W C"],
        neutral: Float[Array, "B H W C"] | None = None,
        neutral_valid: Bool[Array, "B"] | None = None,
    ) -> ViTPainOutput:
        """Both images normalised as in training. Rows whose `neutral_valid` is False are treated as without one."""
        config = self.config
        if image.shape[1:] != (config.image_size, config.image_size, config.in_channels):
            raise ValueError(
                f"image has shape {image.shape}; expected (B, {config.image_size}, {config.image_size}, "
                f"{config.in_channels}): height and width model.image_size, then model.in_channels."
            )
        if neutral is not None and config.neutral == "none":
            raise ValueError("A neutral reference was given, but model.neutral is 'none'; leave it out.")
        if neutral is not None and neutral_valid is None:
            neutral_valid = jnp.ones((image.shape[0],), bool)
        tokens = self._tokens(image, neutral, neutral_valid)  # [B, N, D]
        cls_token, patches = tokens[:, 0], tokens[:, config.prefix :]
        pspi, threshold_logits = self.pspi_head(cls_token, patches)
        aus, au_attention = self.au_head(patches)
        return ViTPainOutput(
            pspi=pspi,
            aus=aus,
            threshold_logits=threshold_logits,
            heatmap=self.heatmap_head(patches),
            patch_tokens=patches,
            cls_token=cls_token,
            au_attention=au_attention,
            projected=self.project(patches) if self.project is not None else None,
        )

    def _tokens(self, image: Array, neutral: Array | None, neutral_valid: Array | None) -> Float[Array, "B N D"]:
        config = self.config
        if config.neutral == "channels":
            if neutral is None:
                difference = jnp.zeros_like(image)
            else:
                difference = jnp.where(neutral_valid[:, None, None, None], image - neutral, 0)
            return self.encoder(jnp.concatenate([image, difference], axis=-1))  # [B, N, D]
        if neutral is None:
            return self.encoder(image)
        if self.neutral_encoder is None:
            # One pass over both reads (and, under fsdp, gathers) the weights once. Interleaved, so that a frame and its
            # neutral stay on one device.
            both = jnp.stack([image, neutral], axis=1).reshape(-1, *image.shape[1:])  # [2B, H, W, C]
            both = self.encoder(both).reshape(image.shape[0], 2, -1, config.width)  # [B, 2, N, D]
            tokens, reference = both[:, 0], both[:, 1]
        else:
            tokens, reference = self.encoder(image), self.neutral_encoder(neutral)
        angles = rope_angles(config.grid, config.grid, config.width // config.heads, config.rope_theta)
        difference = self.neutral_attention(tokens, reference, angles)  # [B, N, D]
        return tokens + jnp.where(neutral_valid[:, None, None], difference, 0)
