"""Prediction for pictures on disk: one image or a folder of them, with or without a neutral reference.

`painjax predict --workdir=W --image=face.jpg [--neutral=calm.jpg] [--output=DIR]`
"""

import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict
from PIL import Image, ImageOps
from tqdm import tqdm

from painjax import checkpoint
from painjax.data.transforms import Normalisation, normalisation, normalise
from painjax.errors import UserError
from painjax.evaluate import clip_to_range
from painjax.files import write_atomically
from painjax.models.vit import unpatchify
from painjax.overlay import lay_over, spread
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

PathLike = str | os.PathLike
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_ASPECT = 3.0  # longer strips than this are no portrait
MIN_SIDE = 32  # pixels: less holds no expression
# What Pillow has been seen to raise for truncated, mislabelled, absurdly large or foreign files.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Picture(NamedTuple):
    """A square uint8 picture of the model's size, and what had to be done to make it one."""

    pixels: UInt8[np.ndarray, "S S C"]
    warnings: list[str]


def main(
    workdir: PathLike, image: PathLike, neutral: PathLike | None = None, output: PathLike | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Predicts PSPI and action units of `image`, a file or a folder of jpg, png and webp files.

    Args:
      workdir: of a trained model.
      image: file, or folder (not searched below its first level).
      neutral: a picture of the same person at rest, for all images; only for a model that can use one.
      output: folder for one overlay picture per image: the face, the predicted pain heatmap, the AU queries' attention.

    Returns:
      `predictions`: one dict per image with `image` (path), `pspi`, `aus` by name, `thresholds` (probability of PSPI
      >= 1, 2, 3) and `warnings`; `errors`: {image, error} for every file of a folder that could not be used.

    Raises:
      UserError: if the image, or the neutral reference, cannot be used, or a folder holds no image.
      FileNotFoundError: if `workdir` has no checkpoint.
    """
    paths = find_images(image)
    model, config, _ = checkpoint.restore_model(workdir)
    if neutral is not None and config.model.neutral == "none":
        raise UserError(
            f"The model in {workdir} was trained without neutral references (config.model.neutral = 'none') and cannot "
            "use one; leave out --neutral, or take a model trained with --config.model.neutral=channels."
        )
    reference = read_picture(neutral, config) if neutral is not None else None
    result: dict[str, list[dict[str, Any]]] = {"predictions": [], "errors": []}
    progress = tqdm(total=len(paths), desc="predict", unit="image", leave=False, disable=None)
    for start in range(0, len(paths), config.batch_size):
        batch = []
        for path in paths[start : start + config.batch_size]:
            try:
                batch.append((path, read_picture(path, config)))
            except UserError as error:
                if not Path(image).is_dir():
                    raise
                result["errors"].append({"image": str(path), "error": str(error)})
        for (path, picture), prediction in zip(batch, _predict(model, config, batch, reference), strict=True):
            warnings = picture.warnings + (reference.warnings if reference else [])
            result["predictions"].append({"image": str(path)} | _record(prediction) | {"warnings": warnings})
            if output is not None:
                _save_overlay(Path(output) / f"{path.name}.overlay.png", picture, prediction)
        progress.update(len(paths[start : start + config.batch_size]))
    progress.close()
    return result


def find_images(path: PathLike) -> list[Path]:
    """The file itself, or the images of a folder in the order of their names.

    Raises:
      UserError: if there is no such path or no image in the folder.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no image {path}. Give an existing file or folder with --image.")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"The folder {path} holds no image; expected files that end in {', '.join(SUFFIXES)}.")
    return found


def read_picture(path: PathLike, config: ConfigDict) -> Picture:
    """Reads a picture upright, cuts the square from its middle and scales it to the model's size.

    Raises:
      UserError: if it cannot be read, or cannot be a portrait (too small or too long).
    """
    path, size = Path(path), config.model.image_size
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB" if config.data.input == "image" else "L")
    except _UNREADABLE as error:
        raise UserError(
            f"The image {path} cannot be read ({str(error).strip() or type(error).__name__}). Expected a complete jpg, "
            "png or webp file; open it in an image viewer, and export it again if it shows."
        ) from error
    width, height = picture.size
    short, long = sorted(picture.size)
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        raise UserError(
            f"The image {path} has {width} x {height} pixels; that is no portrait. Expected a face that fills about "
            f"four fifths of the picture's height, at least {MIN_SIDE} pixels on its short side (better {size}), "
            f"and sides that differ by no more than {MAX_ASPECT:g} times. Crop the picture around the face."
        )
    warnings = []
    if long > 1.02 * short:
        warnings.append(
            f"{path.name}: {width} x {height} pixels is not square; only the middle {short} x {short} is looked at. If "
            "the face is not there, crop the picture around it first."
        )
    if short < 0.75 * size:
        warnings.append(
            f"{path.name}: {width} x {height} pixels is small for a model of {size} x {size}; expect a worse estimate."
        )
    square = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS, centering=(0.5, 0.5))
    pixels = np.asarray(square)
    return Picture(pixels if pixels.ndim == 3 else pixels[..., None], warnings)


def _predict(
    model: nnx.Module, config: ConfigDict, batch: list[tuple[Path, Picture]], reference: Picture | None
) -> Iterator[dict[str, np.ndarray]]:
    if not batch:
        return iter(())
    graphdef, state = nnx.split(model)
    pixels = np.stack([picture.pixels for _, picture in batch])
    # A short batch is filled up, so that a folder compiles once.
    fill = [(0, config.batch_size - len(batch) if len(batch) > 1 else 0)] + [(0, 0)] * 3
    rows = _forward(
        state,
        np.pad(pixels, fill, mode="edge"),
        None if reference is None else reference.pixels[None],
        graphdef=graphdef,
        figures=normalisation(config.data, config.data.input),
        patch_size=config.model.patch_size,
    )
    rows = jax.device_get(rows)
    return ({name: values[i] for name, values in rows.items()} for i in range(len(batch)))


@functools.partial(jax.jit, static_argnames=("graphdef", "figures", "patch_size"))
def _forward(
    state: nnx.State,
    pixels: UInt8[Array, "B S S C"],
    reference: UInt8[Array, "1 S S C"] | None,
    *,
    graphdef: nnx.GraphDef,
    figures: Normalisation,
    patch_size: int,
) -> dict[str, Float[Array, "B *rest"]]:
    def to_input(pixels):
        return normalise(pixels.astype(jnp.float32) / 255, figures)

    image = to_input(pixels)
    neutral = None if reference is None else jnp.broadcast_to(to_input(reference), image.shape)
    output = nnx.merge(graphdef, state)(image, neutral)
    grid = pixels.shape[1] // patch_size
    heat = unpatchify(jax.nn.sigmoid(output.heatmap), patch_size, grid, grid)[..., 0]  # [B, S, S]
    return clip_to_range(output) | {"heatmap": heat, "au_attention": output.au_attention}


def _record(prediction: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "pspi": round(float(prediction["pspi"]), 3),
        "aus": {name: round(float(value), 3) for name, value in zip(AU_NAMES, prediction["aus"], strict=True)},
        "thresholds": {
            f"pspi>={k}": round(float(p), 4)
            for k, p in zip(PSPI_THRESHOLDS, prediction["threshold_probability"], strict=True)
        },
    }


def _save_overlay(path: Path, picture: Picture, prediction: dict[str, np.ndarray]) -> None:
    """Side by side: the picture, the predicted heatmap over it, the mean attention of the AU queries over it."""
    image = np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3))
    attention = spread(prediction["au_attention"].mean(axis=0), image.shape[0])
    strip = np.concatenate([image, lay_over(image, prediction["heatmap"]), lay_over(image, attention)], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
