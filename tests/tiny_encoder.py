"""A small DINOv3 encoder with random weights, as a model folder: what `painjax import` would write."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from painjax.model_folder import flatten, unflatten, write_model_folder
from painjax.models.vit import ViT, ViTConfig

MODEL = {"patch_size": 8, "width": 32, "depth": 2, "heads": 2, "qkv_bias": "query_value", "registers": 4}
PREPROCESSING = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "size": 32, "crop": 1.0, "interpolation": "bicubic"}


def preprocessing(channels: int) -> dict[str, Any]:
    """Of pictures with so many channels."""
    figures = {name: [PREPROCESSING[name][channel % 3] for channel in range(channels)] for name in ("mean", "std")}
    return PREPROCESSING | figures


def random_params(module: nnx.Module, seed: int) -> dict[str, Any]:
    """Parameters of `module`'s shapes, none of them zero: untouched LayerScale and biases would prove nothing."""
    rng = np.random.default_rng(seed)
    shapes = flatten(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    return unflatten(
        {
            path: (rng.normal(size=x.shape) * 0.2 + path.endswith("scale")).astype(np.float32)
            for path, x in shapes.items()
        }
    )


def write(folder: Path, seed: int = 0, **fields: Any) -> Path:
    """Writes the encoder to `folder`, with other fields of `ViTConfig` where given; returns `folder`."""
    model = MODEL | fields
    encoder = nnx.eval_shape(lambda: ViT(ViTConfig(**model), rngs=nnx.Rngs(0)))
    return write_model_folder(
        folder,
        jax.tree.map(np.asarray, random_params(encoder, seed)),
        kind="encoder",
        model=model,
        preprocessing=preprocessing(model.get("in_channels", 3)),
        source={"from": "a test", "revision": None, "file": None, "sha256": None},
        card="# A tiny encoder\n",
    )
