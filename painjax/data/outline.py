"""A training batch as shapes, for compiling and counting where there is no data set."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from painjax.data.pipeline import image_fields
from painjax.data.precomputed import read_manifest
from painjax.data.transforms import NORMALISATION
from painjax.pspi import AU_NAMES


def batch_outline(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """A global batch as `painjax.data.pipeline.train_batches` makes it, on all processes together.

    The pictures are taken to be stored at `model.image_size`; a data set of another size is resized inside the step.
    """
    rows, side = config.batch_size, config.model.image_size

    def shape(dtype: type, *rest: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *rest), dtype)

    def picture(field: str) -> jax.ShapeDtypeStruct:
        figures = NORMALISATION["heatmap" if field == "heatmap" else "image"]
        several = field == "neutral_image" and config.data.get("neutral", "same_view") == "several"
        count = (config.data.neutrals,) if several else ()
        return shape(jnp.uint8, *count, side, side, len(figures.mean))

    landmarks = {"landmarks": shape(jnp.float32, 68, 2), "landmarks_visible": shape(jnp.bool_, 68)}
    taught = {}
    if config.get("teacher_outputs"):
        manifest = read_manifest(config.teacher_outputs)
        record = manifest.unpack(bytes(manifest.record_bytes))
        taught = {field: shape(values.dtype.type, *values.shape) for field, values in record.items()}
    return (
        {field: picture(field) for field in image_fields(config)}
        | taught
        | {
            "aus": shape(jnp.float32, len(AU_NAMES)),
            "pspi": shape(jnp.float32),
            "identity": shape(jnp.int32),
            "index": shape(jnp.int32),
            "row": shape(jnp.int32),
            "flip": shape(jnp.bool_),
            "valid": shape(jnp.bool_),
        }
        | (landmarks if config.data.get("landmarks", False) else {})
    )
