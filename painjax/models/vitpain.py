"""ViTPain: one encoder, an optional neutral reference, and the heads. Teacher and student are both this class."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from painjax.models.config import ViTConfig
from painjax.models.heads import AUHead, HeatmapHead, NeutralAttention, PSPIHead
from painjax.models.linear import Linear
from painjax.models.official import (
    ATTENTION_HEADS,
    OfficialAUHead,
    OfficialNeutralAttention,
    OfficialPSPIHead,
    OfficialThresholdHead,
)
from painjax.models.position import rope_angles
from painjax.models.vit import ViT
from painjax.pspi import AU_MAX, pspi

NEUTRAL = ("none", "channels", "shared", "separate")
HEADS = ("painjax", "official")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTPainConfig(ViTConfig):
    """Built by `ViTPainConfig(**config.model)`.

    image_size: side of the pictures it is trained on; any size that patches divide can be given to it.
    neutral: what the model does with a neutral reference of the same person.
      'none'      it has no use for one.
      'channels'  frame minus neutral, pixel by pixel, as extra input channels: strong where both have the same view.
      'shared'    cross-attention from the frame's tokens to the neutral's, both from the one encoder.
      'separate'  the same with a second encoder for the neutral, as the authors have it.
      Whichever it is, the model also works without a reference, and with several (their mean, or attention over all).
    heads_layout: 'painjax', or 'official' for the authors' heads and neutral attention (`neutral` 'none' or
      'separate'), with any encoder; that of their checkpoint has `position` 'none' and `registers` 0.
    uncertainty: a head for the variance of PSPI.
    project_width: > 0 adds a linear map of the patch tokens to that width, to be matched with a teacher's.
    """

    image_size: int
    neutral: str = "none"
    heads_layout: str = "painjax"
    uncertainty: bool = False
    project_width: int = 0

    def __post_init__(self):
        super().__post_init__()
        for name, known in (("neutral", NEUTRAL), ("heads_layout", HEADS)):
            if getattr(self, name) not in known:
                raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}.")
        if self.image_size < 1 or self.image_size % self.patch_size:
            raise ValueError(
                f"model.image_size is {self.image_size}; expected a multiple of model.patch_size {self.patch_size}."
            )
        if self.heads_layout == "official":
            if self.uncertainty or self.neutral not in ("none", "separate") or self.width % ATTENTION_HEADS:
                raise ValueError(
                    f"model.heads_layout is 'official' with model.neutral {self.neutral!r}, model.uncertainty "
                    f"{self.uncertainty} and model.width {self.width}; the authors' heads have no uncertainty, take "
                    f"'none' or 'separate' references, and a width that {ATTENTION_HEADS} divides."
                )

    @property
    def attends(self) -> bool:
        """Whether a neutral reference is met by cross-attention."""
        return self.neutral in ("shared", "separate")


def _pytree(cls: type) -> type:
    """Registers a dataclass of arrays with JAX, which rebuilds it around shapes and shardings too: those the checked
    constructor would refuse."""
    names = [field.name for field in dataclasses.fields(cls)]

    def rebuild(_, leaves):
        made = object.__new__(cls)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(made, name, leaf)
        return made

    jax.tree_util.register_pytree_with_keys(
        cls, lambda x: ([(jax.tree_util.GetAttrKey(n), getattr(x, n)) for n in names], None), rebuild
    )
    return cls


@_pytree
@dataclasses.dataclass(frozen=True)
class Reference:
    """People at rest, encoded once by `ViTPain.enrol` and used for any number of their frames.

    For 'channels' `picture` is the mean of the neutral pictures; for cross-attention `keys` and `values` are those of
    all their tokens. `valid` says which rows (channels) or tokens count.
    """

    picture: Float[Array, "B H W C"] | None
    keys: Float[Array, "B M H K"] | None
    values: Float[Array, "B M H K"] | None
    tokens: Float[Array, "B M D"] | None
    valid: Bool[Array, "B M"]

    def rows(self, count: Any) -> "Reference":
        """The same for `count` frames (a number, or a symbolic one while exporting), if it holds one person.

        Raises:
          ValueError: if it holds several people, and not one for each frame.
        """
        people = self.valid.shape[0]
        if people != 1 and people != count:
            raise ValueError(f"The reference holds {people} people for {count} frames; expected one, or one for each.")
        return jax.tree.map(lambda x: x if x.shape[0] == count else jnp.broadcast_to(x, (count, *x.shape[1:])), self)


@_pytree
@dataclasses.dataclass(frozen=True)
class ViTPainOutput:
    """Everything ViTPain computes on the way; what is not used costs nothing under `jax.jit`. None: no such part.

    float32 but for the tokens, which are in the compute dtype.

    pspi: PSPI, meant for 0..16 but unbounded (see `heads`); the authors' is bounded. pspi_log_variance: of its error.
    aus: intensities in the order of `AU_NAMES`, 0..5, AU43 the probability 0..1 (the authors' are unbounded above).
    au_logits: of the fraction of each unit's maximum. pspi_from_aus: the PSPI formula on `aus`.
    threshold_logits: logits of PSPI >= 1, 2, 3. heatmap: logits of each patch's own pixels of the pain heatmap,
    row-major; sigmoid gives 0..1. au_attention: where each AU query looks, sums to 1 over the patches.
    encoded: the encoder's tokens CLS, registers, patches; tokens: the same after the neutral reference.
    neutral_tokens: of the neutral pictures, side by side. projected: the patch tokens in the teacher's width.
    """

    pspi: Float[Array, "B"]
    pspi_log_variance: Float[Array, "B"] | None
    aus: Float[Array, "B A"]
    au_logits: Float[Array, "B A"] | None
    pspi_from_aus: Float[Array, "B"]
    threshold_logits: Float[Array, "B T"]
    heatmap: Float[Array, "B P pp"] | None
    au_attention: Float[Array, "B A P"]
    encoded: Float[Array, "B N D"]
    tokens: Float[Array, "B N D"]
    cls_token: Float[Array, "B D"]
    patch_tokens: Float[Array, "B P D"]
    neutral_tokens: Float[Array, "B M D"] | None
    projected: Float[Array, "B P Dt"] | None


class ViTPain(nnx.Module):
    """Facial pain from an image [B, H, W, C], with or without neutral pictures of the same person.

    Raises (when called):
      ValueError: if a neutral reference is given to a model that has no use for one, or shapes do not fit.
    """

    def __init__(self, config: ViTPainConfig, *, rngs: nnx.Rngs):
        self.config = config
        channels = config.in_channels * (2 if config.neutral == "channels" else 1)
        encoder = dataclasses.replace(config, in_channels=channels)
        official = config.heads_layout == "official"
        self.encoder = ViT(encoder, rngs=rngs)
        self.neutral_encoder = ViT(encoder, rngs=rngs) if config.neutral == "separate" else None
        attention = OfficialNeutralAttention if official else NeutralAttention
        self.neutral_attention = attention(config, rngs=rngs) if config.attends else None
        if official:
            self.pspi_head = OfficialPSPIHead(config, rngs=rngs)
            self.threshold_head = OfficialThresholdHead(config, rngs=rngs)
            self.au_head = OfficialAUHead(config, rngs=rngs)
        else:
            self.pspi_head = PSPIHead(config, uncertainty=config.uncertainty, rngs=rngs)
            self.au_head = AUHead(config, rngs=rngs)
        self.heatmap_head = None if official else HeatmapHead(config, rngs=rngs)
        self.project = (
            Linear(config.width, config.project_width, ("embed", None), config=config, rngs=rngs)
            if config.project_width
            else None
        )

    def __call__(
        self,
        image: Float[Array, "B H W C"],
        neutral: Float[Array, "B H W C"] | Float[Array, "B R H W C"] | None = None,
        neutral_valid: Bool[Array, "B"] | Bool[Array, "B R"] | None = None,
        *,
        reference: Reference | None = None,
    ) -> ViTPainOutput:
        """All pictures normalised as in training.

        Args:
          image: the frames.
          neutral: one neutral picture per frame, or R of them.
          neutral_valid: which of them count (all by default); a frame without any is treated as without reference.
          reference: instead of `neutral`, what `enrol` made of it; one row serves all frames.
        """
        config = self.config
        if image.ndim != 4 or image.shape[-1] != config.in_channels:
            raise ValueError(
                f"image has shape {image.shape}; expected (B, height, width, {config.in_channels}), the last being "
                "model.in_channels."
            )
        encoded = None
        if neutral is not None:
            if reference is not None:
                raise ValueError("Both neutral pictures and a reference were given; leave one of them out.")
            neutral, neutral_valid = self._rows_of_several(neutral, neutral_valid)
            if neutral.shape[0] != image.shape[0]:
                raise ValueError(
                    f"There are {image.shape[0]} frames, and neutral pictures for {neutral.shape[0]}; "
                    "give as many, or enrol the person and give the reference."
                )
            encoded, reference = self._encode_both(image, neutral, neutral_valid)
        elif reference is not None:
            self._check_has_use_for_neutral()
            reference = reference.rows(image.shape[0])
        if reference is not None:
            self._check_fits(reference, image)
        if encoded is None:
            encoded = self.encoder(self._with_difference(image, reference))  # [B, N, D]
        tokens = encoded
        if reference is not None and config.attends:
            angles = self._angles(image)
            tokens = self.neutral_attention(encoded, reference.keys, reference.values, reference.valid, angles)
        return self._read(encoded, tokens, reference)

    def enrol(self, neutral: Float[Array, "B R H W C"], valid: Bool[Array, "B R"] | None = None) -> Reference:
        """Encodes R neutral pictures of each of B people, once; `valid` says which of them count (all by default)."""
        neutral, valid = self._rows_of_several(neutral, valid)
        if not self.config.attends:
            return self._mean_picture(neutral, valid)
        encoder = self.encoder if self.neutral_encoder is None else self.neutral_encoder
        tokens = encoder(neutral.reshape(-1, *neutral.shape[2:]))  # [B*R, N, D]
        return self._reference(tokens, valid, self._angles(neutral[:, 0]))

    def _rows_of_several(self, neutral: Array, valid: Array | None) -> tuple[Array, Array]:
        self._check_has_use_for_neutral()
        neutral = neutral[:, None] if neutral.ndim == 4 else neutral  # [B, R, H, W, C]
        if neutral.ndim != 5 or neutral.shape[-1] != self.config.in_channels:
            raise ValueError(
                f"neutral has shape {neutral.shape}; expected (B, height, width, {self.config.in_channels}), or "
                f"(B, R, height, width, {self.config.in_channels}) for R pictures of each person."
            )
        if valid is None:
            valid = jnp.ones(neutral.shape[:2], bool)
        return neutral, valid[:, None] if valid.ndim == 1 else valid

    def _check_has_use_for_neutral(self) -> None:
        if self.config.neutral == "none":
            raise ValueError("A neutral reference was given, but model.neutral is 'none'; leave it out.")

    def _check_fits(self, reference: Reference, image: Float[Array, "B H W C"]) -> None:
        if self.config.attends:
            heads = self.neutral_attention.heads
            fits = reference.keys is not None and reference.keys.shape[2:] == (heads, self.config.width // heads)
        else:
            fits = reference.picture is not None
        if not fits:
            raise ValueError("The reference is that of another model; enrol the person with this one.")
        if reference.picture is not None and reference.picture.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"image {image.shape[1:]} and neutral {reference.picture.shape[1:]} differ in size; resize one of them."
            )

    def _encode_both(self, image: Array, neutral: Array, valid: Array) -> tuple[Array | None, Reference]:
        """The frames' tokens, if they are encoded together with the neutral pictures, and the reference."""
        if self.config.neutral != "shared":
            return None, self.enrol(neutral, valid)
        if neutral.shape[2:] != image.shape[1:]:
            raise ValueError(
                f"image {image.shape[1:]} and neutral {neutral.shape[2:]} differ in size; resize one of them, or use "
                "`enrol` and give its reference."
            )
        # One pass over both reads (and, under fsdp, gathers) the weights once. Interleaved, so that a frame and its
        # neutral pictures stay on one device.
        both = jnp.concatenate([image[:, None], neutral], axis=1)  # [B, 1 + R, H, W, C]
        tokens = self.encoder(both.reshape(-1, *both.shape[2:]))  # [B*(1+R), N, D]
        tokens = tokens.reshape(*both.shape[:2], *tokens.shape[1:])  # [B, 1+R, N, D]
        neutral_tokens = tokens[:, 1:].reshape(-1, *tokens.shape[2:])  # [B*R, N, D]
        return tokens[:, 0], self._reference(neutral_tokens, valid, self._angles(image))

    def _reference(self, tokens: Float[Array, "BR N D"], valid: Bool[Array, "B R"], angles: Array | None) -> Reference:
        keys, values = self.neutral_attention.keys_and_values(tokens, angles)  # [B*R, N, H, K]
        b, (_, n, d) = valid.shape[0], tokens.shape
        keys, values = (x.reshape(b, -1, *x.shape[2:]) for x in (keys, values))  # [B, R*N, H, K]
        return Reference(None, keys, values, tokens.reshape(b, -1, d), jnp.repeat(valid, n, axis=1))

    def _mean_picture(self, neutral: Float[Array, "B R H W C"], valid: Bool[Array, "B R"]) -> Reference:
        weight = valid / jnp.maximum(valid.sum(axis=1, keepdims=True), 1)  # [B, R]
        picture = jnp.einsum("br,brhwc->bhwc", weight, neutral, precision=jax.lax.Precision.HIGHEST)
        return Reference(picture, None, None, None, valid.any(axis=1, keepdims=True))

    def _with_difference(self, image: Array, reference: Reference | None) -> Array:
        if self.config.neutral != "channels":
            return image
        difference = jnp.zeros_like(image)
        if reference is not None:
            difference = jnp.where(reference.valid[:, :, None, None], image - reference.picture, difference)
        return jnp.concatenate([image, difference], axis=-1)  # [B, H, W, 2C]

    def _angles(self, image: Float[Array, "B H W C"]) -> Float[Array, "P K"] | None:
        config = self.config
        if config.position != "rope" or config.heads_layout == "official":  # the authors' has no positions
            return None
        rows, columns = (side // config.patch_size for side in image.shape[1:3])
        return rope_angles(rows, columns, config.width // config.heads, config.rope_theta)

    def _read(self, encoded: Array, tokens: Float[Array, "B N D"], reference: Reference | None) -> ViTPainOutput:
        cls_token, patches = tokens[:, 0], tokens[:, self.config.prefix :]
        maxima = jnp.asarray(AU_MAX)[None, :]
        found: dict[str, Any] = {"pspi_log_variance": None, "au_logits": None, "heatmap": None, "projected": None}
        if self.config.heads_layout == "official":
            found["pspi"] = self.pspi_head(cls_token)
            found["threshold_logits"] = self.threshold_head(cls_token)
            found["aus"], found["au_attention"] = self.au_head(patches)
        else:
            head = self.pspi_head(cls_token, patches)
            found["pspi"], found["threshold_logits"], found["pspi_log_variance"] = head
            found["au_logits"], found["au_attention"] = self.au_head(patches)
            found["aus"] = maxima * jax.nn.sigmoid(found["au_logits"])
            found["heatmap"] = self.heatmap_head(patches)
        if self.project is not None:
            found["projected"] = self.project(patches)
        return ViTPainOutput(
            **found,
            pspi_from_aus=pspi(jnp.clip(found["aus"], 0, maxima)),
            encoded=encoded,
            tokens=tokens,
            cls_token=cls_token,
            patch_tokens=patches,
            neutral_tokens=None if reference is None else reference.tokens,
        )
