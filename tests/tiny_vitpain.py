"""A small ViTPain with random weights as a model folder, and pictures for it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from painjax.model_folder import build_model, read_model_folder, write_model_folder
from painjax.models.vitpain import ViTPain, ViTPainConfig, ViTPainOutput
from tests.tiny_encoder import MODEL, PREPROCESSING, preprocessing, random_params

SIZE = PREPROCESSING["size"]
OFFICIAL = {
    "width": 64,
    "position": "none",
    "registers": 0,
    "neutral": "separate",
    "heads_layout": "official",
    "qkv_bias": "none",
}


def write(folder: Path, seed: int = 0, **fields: Any) -> Path:
    """Writes a ViTPain to `folder`, with other fields of its configuration where given; returns `folder`."""
    model = MODEL | {"image_size": SIZE} | fields
    module = nnx.eval_shape(lambda: ViTPain(ViTPainConfig(**model), rngs=nnx.Rngs(0)))
    return write_model_folder(
        folder,
        random_params(module, seed),
        kind="vitpain",
        model=model,
        preprocessing=preprocessing(model.get("in_channels", 3)),
        source={"from": "a test", "revision": None, "file": None, "sha256": None},
        card="# A tiny ViTPain\n",
    )


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Noise [count, 32, 32, 3], uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def normalised(pixels: np.ndarray) -> jax.Array:
    """What the model itself takes, by the formula."""
    mean, std = (np.asarray(PREPROCESSING[name]) for name in ("mean", "std"))
    return jnp.asarray((pixels / 255 - mean) / std, jnp.float32)


def outputs(folder: Path, image: np.ndarray, neutral: np.ndarray) -> dict[str, ViTPainOutput]:
    """What the model itself says in float32 of uint8 pictures: alone, with the pictures
    in reverse as neutral ones, enrolled."""
    saved = read_model_folder(folder)
    saved.config["model"] |= {"dtype": "float32"}
    graphdef, state = nnx.split(build_model(saved))

    @jax.jit
    def run(state, image, neutral):
        model = nnx.merge(graphdef, state, copy=True)
        found = {"predict": model(image)}
        if model.config.neutral != "none":
            found["predict_with_neutral"] = model(image, image[::-1])
            found["predict_enrolled"] = model(image, reference=model.enrol(neutral[None]))
        return found

    return run(state, normalised(image), normalised(neutral))


def expected(output: ViTPainOutput) -> dict[str, np.ndarray]:
    """The outputs that exports name, by hand from a `ViTPainOutput`."""
    found = {
        "pspi": np.clip(output.pspi, 0, 16),
        "aus": np.clip(output.aus, 0, [5, 5, 5, 5, 5, 1]),
        "pspi_from_aus": np.asarray(output.pspi_from_aus),
        "threshold_probability": 1 / (1 + np.exp(-np.asarray(output.threshold_logits))),
        "au_attention": np.asarray(output.au_attention),
    }
    if output.pspi_log_variance is not None:
        found["pspi_std"] = np.sqrt(np.exp(output.pspi_log_variance))
    if output.heatmap is not None:
        heat = 1 / (1 + np.exp(-np.asarray(output.heatmap)))  # [B, P, p*p]
        grid = SIZE // MODEL["patch_size"]
        heat = heat.reshape(len(heat), grid, grid, MODEL["patch_size"], MODEL["patch_size"])
        found["heatmap"] = heat.transpose(0, 1, 3, 2, 4).reshape(len(heat), SIZE, SIZE)
    return found
