"""From a batch of uint8 arrays to what the model is trained on: normalised and, for training, augmented.

Runs inside the jitted step, on the device. Every random draw is keyed by the example's row of the global batch, so
that augmentation does not depend on how the batch is laid out over devices and processes, and a frame that stands in it
twice is changed in two ways. Whether a frame is mirrored the batch says (`painjax.data.flip`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from painjax.data.augment import augment


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

_MOVING = ("landmarks", "landmarks_visible", "aus")  # that augmentation changes beside the pictures


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
      batch: as `painjax.data.pipeline` yields it; images uint8 [B, S, S, C]; with a `key` also `row` [B] and `flip` [B]
        bool.
      config: reads `data.{input, image_mean, image_std, augment, drop_neutral, label_noise}` and `model.image_size`.
      key: augment, and drop neutral references, with this random key, of the step; None for evaluation.

    Returns:
      `batch` with these fields set or added, images being float32 [B, model.image_size, model.image_size, C]:
      `image` the model's own input, normalised (the heatmap, for a model whose `data.input` is 'heatmap');
      `neutral` the neutral reference, normalised, and `neutral_valid` [B] bool ([B, K] of several); both None if the
      model takes none;
      `heatmap` in 0..1, aligned with `image`; `heatmap_input` the same, normalised (what a teacher takes); both None
      for a batch without heatmaps. `landmarks`, where the batch has them, are in pixels of `image`. Augmentation with
      `label_noise` changes `aus` and `pspi`.
    """
    size = config.model.image_size
    images = {name: batch[name] for name in ("image", "neutral_image", "heatmap") if name in batch}
    stored = next(iter(images.values())).shape[-2]
    images = {name: _resize(jnp.asarray(pixels), size) for name, pixels in images.items()}
    rest = {name: value for name, value in batch.items() if name != "neutral_image"}
    if "landmarks" in rest:
        rest["landmarks"] = jnp.asarray(rest["landmarks"]) * (size / stored)
    neutral_valid = jnp.ones(batch["index"].shape, bool)
    if key is not None:
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.asarray(batch["row"]))
        fields = images | {name: jnp.asarray(rest[name]) for name in _MOVING if name in rest}
        change = jax.vmap(lambda example, flip, key: augment(example, flip, key, config.data))
        changed = change(fields, jnp.asarray(batch["flip"]), keys)
        neutral_valid = changed.pop("neutral_valid")
        images = {name: changed.pop(name) for name in images}
        rest |= changed
    heatmap = images.get("heatmap")
    neutral = None
    if "neutral_image" in images:
        neutral = normalise(images["neutral_image"], normalisation(config.data, "image"))
        if neutral.ndim == 5:  # several: all of them or none
            neutral_valid = jnp.broadcast_to(neutral_valid[:, None], neutral.shape[:2])
    return rest | {
        "image": normalise(images[config.data.input], normalisation(config.data, config.data.input)),
        "neutral": neutral,
        "neutral_valid": None if neutral is None else neutral_valid,
        "heatmap": heatmap,
        "heatmap_input": None if heatmap is None else normalise(heatmap, NORMALISATION["heatmap"]),
    }


def _resize(pixels: UInt8[Array, "*B H W C"], size: int) -> Float[Array, "*B S S C"]:
    """Pixels in 0..1, antialiased when made smaller."""
    pixels = pixels.astype(jnp.float32) / 255
    if pixels.shape[-3:-1] == (size, size):
        return pixels
    return jax.image.resize(pixels, (*pixels.shape[:-3], size, size, pixels.shape[-1]), "linear")
