"""What happens to a picture's pixels where they are: colours, noise, blur, and a patch hidden."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_ERASED = (0.1, 0.4)  # height and width of an erased rectangle, of the picture's side


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


def blur(pixels: Float[Array, "S S C"], key: Array, strongest: float) -> Float[Array, "S S C"]:
    """Out of focus: a Gaussian whose standard deviation is drawn from 0 to `strongest`, a fraction of the side."""
    size = pixels.shape[0]
    deviation = jnp.maximum(jax.random.uniform(key) * strongest * size, 0.01)  # pixels; 0.01 leaves all as it is
    at = jnp.arange(size, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * ((at[:, None] - at[None, :]) / deviation) ** 2)
    weights = weights / weights.sum(axis=1, keepdims=True)  # [S, S]
    exact = jax.lax.Precision.HIGHEST
    pixels = jnp.einsum("rs,sxc->rxc", weights, pixels, precision=exact)
    return jnp.einsum("cx,rxd->rcd", weights, pixels, precision=exact)


def erase(pixels: Float[Array, "S S C"], key: Array, chance: float) -> Float[Array, "S S C"]:
    """With that chance, a rectangle at a random place in one random colour: a hand, a mask, a tube."""
    size, channels = pixels.shape[1:]
    whether, *draws = jax.random.split(key, 4)
    sides = jax.random.uniform(draws[0], (2,), minval=_ERASED[0], maxval=_ERASED[1]) * size
    first = jax.random.uniform(draws[1], (2,)) * (size - sides)  # row, column
    at = jnp.arange(size, dtype=jnp.float32) + 0.5
    rows, columns = ((at >= first[i]) & (at < first[i] + sides[i]) for i in range(2))  # [S], [S]
    hidden = (jax.random.uniform(whether) < chance) & rows[:, None] & columns[None, :]
    return jnp.where(hidden[..., None], jax.random.uniform(draws[2], (1, 1, channels)), pixels)


def _uniform_noise(key: Array, size: int) -> Float[Array, "S S 3"]:
    """Noise of mean 0 and deviation 1, from three bytes of one random word: 8 times cheaper than normal."""
    words = jax.random.bits(key, (size, size), jnp.uint32)
    levels = jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].astype(jnp.float32)  # [S, S, 3], 0..255
    return (levels - 127.5) * math.sqrt(12 / (256**2 - 1))
