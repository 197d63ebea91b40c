"""From a batch of uint8 arrays to what the model is trained on: normalised and, for training, augmented.

Runs inside the jitted step, on the device. Every random draw is keyed by the example's index, so that augmentation does
not depend on how the batch is laid out over devices. Whether a frame is mirrored the batch says (`painjax.data.flip`).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8
from ml_collections import ConfigDict


class Normalisation(NamedTuple):
    """Per-channel mean and standard deviation of pixels in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# How each kind of picture is normalised, in training and ever after, unless imported weights bring figures of their own
# (`normalisation`). RGB: ImageNet's, which DINOv3 and ViTPain use. Heatmap: mostly 0 with a few warm places.
NORMALISATION = {
    "image": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "heatmap": Normalisation((0.1,), (0.2,)),
}

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def normalisation(data: ConfigDict, kind: str) -> Normalisation:
    """The figures for pictures of `kind`, a row of `NORMALISATION`.

    Args:
      data: `config.data`; for `kind` 'image' its `image_mean` and `image_std`, where present, are what the model's
        imported weights were trained with.
      kind: 'image' or 'heatmap'.
    """
    if kind == "image" and data.get("image_mean"):
        return Normalisation(tuple(data["image_mean"]), tuple(data["image_std"]))
    return NORMALISATION[kind]


def normalise(pixels: Float[Array, "*B H W C"], figures: Normalisation) -> Float[Array, "*B H W C"]:
    """Maps pixels in 0..1 to the model's input range."""
    mean, std = (jnp.asarray(figure).reshape((1,) * (pixels.ndim - 1) + (-1,)) for figure in figures)
    return (pixels - mean) / std


def prepare(batch: Mapping[str, Any], config: ConfigDict, key: Array | None = None) -> dict[str, Any]:
    """Makes the float batch that models and objectives take.

    Args:
      batch: as `painjax.data.pipeline` yields it; images uint8 [B, S, S, C]; with a `key` also `flip` [B] bool.
      config: reads `data.{input, image_mean, image_std, augment, drop_neutral}` and `model.image_size`.
      key: augment, and drop neutral references, with this random key; None for evaluation.

    Returns:
      `batch` with these fields set or added, images being float32 [B, model.image_size, model.image_size, C]:
      `image` the model's own input, normalised (the heatmap, for a model whose `data.input` is 'heatmap');
      `neutral` the neutral reference, normalised, and `neutral_valid` [B] bool; both None if the model takes none;
      `heatmap` in 0..1, aligned with `image`; `heatmap_input` the same, normalised (what a teacher takes); both None
      for a batch without heatmaps.
    """
    images = {name: batch[name] for name in ("image", "neutral_image", "heatmap") if name in batch}
    images = {name: _resize(jnp.asarray(pixels), config.model.image_size) for name, pixels in images.items()}
    neutral_valid = jnp.ones(batch["index"].shape, bool)
    if key is not None:
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.asarray(batch["index"]))
        flip = jnp.asarray(batch["flip"])
        augment = jax.vmap(lambda images, flip, key: _augment(images, flip, key, config.data))
        images, neutral_valid = augment(images, flip, keys)
    heatmap = images.get("heatmap")
    picture = normalisation(config.data, "image")
    neutral = normalise(images["neutral_image"], picture) if "neutral_image" in images else None
    rest = {name: value for name, value in batch.items() if name != "neutral_image"}
    return rest | {
        "image": normalise(images[config.data.input], normalisation(config.data, config.data.input)),
        "neutral": neutral,
        "neutral_valid": None if neutral is None else neutral_valid,
        "heatmap": heatmap,
        "heatmap_input": None if heatmap is None else normalise(heatmap, NORMALISATION["heatmap"]),
    }


def _resize(pixels: UInt8[Array, "B H W C"], size: int) -> Float[Array, "B S S C"]:
    """Pixels in 0..1, antialiased when made smaller."""
    pixels = pixels.astype(jnp.float32) / 255
    if pixels.shape[1:3] == (size, size):
        return pixels
    return jax.image.resize(pixels, (pixels.shape[0], size, size, pixels.shape[3]), "linear")


def _augment(images: dict[str, Array], flip: Array, key: Array, config: ConfigDict) -> tuple[dict[str, Array], Array]:
    """One example: the same geometry for every image of it, the same colours for frame and neutral, noise apart.

    Frame and neutral come from one session, under one light and camera. With colours drawn apart, the model would learn
    to expect a difference that evaluation never shows, and its scores would all shift.
    """
    place, drop, colour, *grains = jax.random.split(key, 5)
    names = sorted(images)
    widths = [images[name].shape[-1] for name in names]
    stacked = warp(jnp.concatenate([images[name] for name in names], axis=-1), flip, place, config.augment)
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    images = dict(zip(names, jnp.split(stacked, ends, axis=-1), strict=True))
    for name, grain in zip(("image", "neutral_image"), grains, strict=True):
        if name in images:
            images[name] = jitter_colours(images[name], colour, grain, config.augment)
    return images, jax.random.uniform(drop) >= config.drop_neutral


def warp(pixels: Float[Array, "S S C"], flip: Bool[Array, ""], key: Array, config: ConfigDict) -> Float[Array, "S S C"]:
    """Mirrored if `flip`, random shift and scale about the centre, bilinear; what lies outside repeats the border.

    Rows and columns are resampled apart, by two matrix products: on CPU ten times faster than gathering pixels, which
    rotation would need.

    Args:
      pixels: square picture; all its channels move together.
      flip: whether left and right change places.
      key: random key.
      config: `shift` (fraction of the side) and `scale` (natural log of the factor), the ends of uniform distributions
        symmetric about 0.
    """
    size = pixels.shape[0]
    centre = (size - 1) / 2
    down, right, zoom = jax.random.uniform(key, (3,), minval=-1, maxval=1)
    mirror = jnp.where(flip, -1.0, 1.0)
    stretch = jnp.exp(zoom * config.scale)
    at = jnp.arange(size, dtype=jnp.float32) - centre  # [S], of the output
    rows = _resampling(stretch * at + down * config.shift * size + centre)
    columns = _resampling(mirror * stretch * at + right * config.shift * size + centre)
    exact = jax.lax.Precision.HIGHEST  # an accelerator's default would keep 8 bits of each weight
    pixels = jnp.einsum("rs,sxc->rxc", rows, pixels, precision=exact)  # [S, S, C]
    return jnp.einsum("cx,rxd->rcd", columns, pixels, precision=exact)  # [S, S, C]


def _resampling(at: Float[Array, "S"]) -> Float[Array, "S S"]:
    """Matrix that reads a line of S pixels at the places `at` by linear interpolation, repeating the ends."""
    size = at.shape[0]
    distance = jnp.abs(at.clip(0, size - 1)[:, None] - jnp.arange(size, dtype=jnp.float32)[None, :])
    return jnp.maximum(1 - distance, 0)


def jitter_colours(
    pixels: Float[Array, "S S 3"], colour: Array, grain: Array, config: ConfigDict
) -> Float[Array, "S S 3"]:
    """Random brightness, contrast, saturation and tint by key `colour`, at most as strong as `config` says; noise by
    key `grain`; 0..1."""
    brightness, contrast, saturation, *tint = jax.random.uniform(colour, (6,), minval=-1, maxval=1)
    grey = (pixels * jnp.asarray(_LUMA).reshape(1, 1, 3)).sum(-1, keepdims=True)  # [S, S, 1]
    pixels = grey + (pixels - grey) * (1 + config.saturation * saturation)
    mean = grey.mean()
    pixels = mean + (pixels - mean) * (1 + config.contrast * contrast)
    pixels = pixels * (1 + config.tint * jnp.stack(tint)).reshape(1, 1, 3) + config.brightness * brightness
    if config.noise:
        pixels = pixels + config.noise * _uniform_noise(grain, pixels.shape[0])
    return pixels.clip(0, 1)


def _uniform_noise(key: Array, size: int) -> Float[Array, "S S 3"]:
    """Noise of mean 0 and deviation 1, from three bytes of one random word: 8 times cheaper than normal."""
    words = jax.random.bits(key, (size, size), jnp.uint32)
    levels = jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].astype(jnp.float32)  # [S, S, 3], 0..255
    return (levels - 127.5) * math.sqrt(12 / (256**2 - 1))
