"""One training example, changed at random: pictures, landmarks and labels."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from painjax.data.colour import blur, erase, jitter_colours
from painjax.data.geometry import draw_placement, move_landmarks, warp
from painjax.pspi import AU_MAX, pspi


def augment(example: Mapping[str, Array], flip: Bool[Array, ""], key: Array, config: ConfigDict) -> dict[str, Any]:
    """The same geometry for every picture and the landmarks, the same colours for frame and neutral, blur and noise
    apart; and labels as uncertain as `label_noise` says.

    Frame and neutral come from one session, under one light and camera. With colours drawn apart, the model would learn
    to expect a difference that evaluation never shows, and its scores would all shift.

    A rectangle is erased from the frame alone. Labels and heatmap say what the face does, not what can be seen of it:
    under the rectangle they stay as they are, so that the model learns to infer the hidden part from the rest, and what
    a teacher says of the whole heatmap stays true.

    Args:
      example: pictures [S, S, C] in 0..1, `neutral_image` also [K, S, S, 3]; `landmarks` [68, 2] in pixels of these
        and `landmarks_visible` [68]; `aus` [6]. Only what is there is changed and returned.
      flip: whether to mirror it.
      key: random key of this example.
      config: `config.data`.

    Returns:
      The changed fields; `neutral_valid` bool, whether the neutral reference may be used; with `label_noise` `aus` and
      `pspi`.
    """
    place, drop, colour, *grains = jax.random.split(key, 5)
    turn, soften, hide, doubt = jax.random.split(jax.random.fold_in(key, 5), 4)
    settings = config.augment
    pictures = _apart(example)
    size = next(iter(pictures.values())).shape[0]

    # ---- Geometry ----
    placement = draw_placement(flip, place, turn, size, settings)
    ends, total = [], 0
    for picture in pictures.values():
        total += picture.shape[-1]
        ends.append(total)
    stacked = warp(jnp.concatenate(list(pictures.values()), axis=-1), placement, turned=bool(settings.rotation))
    pictures = dict(zip(pictures, jnp.split(stacked, ends[:-1], axis=-1), strict=True))
    changed: dict[str, Any] = {"neutral_valid": jax.random.uniform(drop) >= config.drop_neutral}
    if "landmarks" in example:
        points, visible = move_landmarks(example["landmarks"], example["landmarks_visible"], placement, size)
        changed |= {"landmarks": points, "landmarks_visible": visible}

    # ---- Colour ----
    for (name, number), picture in pictures.items():
        if name == "heatmap":
            continue
        if settings.blur:
            focus = jax.random.fold_in(soften, number + (name == "neutral_image"))
            picture = blur(picture, focus, settings.blur)
        grain = grains[name == "neutral_image"]
        picture = jitter_colours(picture, colour, jax.random.fold_in(grain, number) if number else grain, settings)
        if settings.erase and name == "image":
            picture = erase(picture, hide, settings.erase)
        pictures[name, number] = picture

    # ---- Labels ----
    if config.label_noise:
        changed["aus"] = noisy_aus(example["aus"], doubt, config.label_noise)
        changed["pspi"] = pspi(changed["aus"])
    return changed | _together(pictures, example)


def noisy_aus(aus: Float[Array, "A"], key: Array, deviation: float) -> Float[Array, "A"]:
    """Action units as another coder might have scored them: normal noise of `deviation` on the scale of 0..5, of AU43,
    whose scale is 0..1, a fifth of it; kept inside their ranges."""
    most = jnp.asarray(AU_MAX, jnp.float32)
    return jnp.clip(aus + deviation * most / 5 * jax.random.normal(key, aus.shape), 0, most)


def _apart(example: Mapping[str, Array]) -> dict[tuple[str, int], Float[Array, "S S C"]]:
    """The pictures one by one, neutral ones numbered."""
    pictures = {}
    for name in ("heatmap", "image", "neutral_image"):
        if name in example:
            several = example[name] if example[name].ndim == 4 else example[name][None]
            pictures |= {(name, number): several[number] for number in range(several.shape[0])}
    return pictures


def _together(pictures: dict[tuple[str, int], Array], example: Mapping[str, Array]) -> dict[str, Array]:
    """The pictures by name again, in the shapes that they had."""
    found = {}
    for name in dict.fromkeys(name for name, _ in pictures):
        several = jnp.stack([picture for (of, _), picture in pictures.items() if of == name])
        found[name] = several.reshape(example[name].shape)
    return found
