"""Record: one frame's arrays -> the example of the data contract, pictures encoded."""

import io

import numpy as np
from PIL import Image

from data_gen.scene import Scene
from painjax.pspi import pspi

GENERATOR_VERSION = "1.0.0"  # raise it whenever the same seed would give another example
JPEG_QUALITY = 92


def jpeg(image: np.ndarray) -> bytes:
    """(S, S, 3) uint8 -> JPEG without chroma subsampling: redness of skin is signal here."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def png(values: np.ndarray) -> bytes:
    """(S, S) float in 0..1 or bool -> single-channel PNG, 0..255."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(values * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def example(
    scene: Scene,
    *,
    image: bytes,
    neutral_image: bytes,
    heatmap: bytes,
    heatmap_frontal: bytes,
    mask: bytes,
    landmarks: np.ndarray,
    landmarks_visible: np.ndarray,
) -> dict:
    """One example of `tfds_builders/pain3d`: every field of the data contract, pictures as encoded bytes.

    `landmarks` is (68, 2) float32 pixel xy, `landmarks_visible` (68,) bool; the other labels come from the scene.
    """
    aus = np.asarray(scene.aus, np.float32)
    return {
        "image": image,
        "neutral_image": neutral_image,
        "heatmap": heatmap,
        "heatmap_frontal": heatmap_frontal,
        "mask": mask,
        "aus": aus,
        "pspi": np.float32(pspi(aus)),
        "landmarks": landmarks,
        "landmarks_visible": landmarks_visible,
        "identity": {
            "id": scene.identity.id,
            "age_group": scene.identity.age_group,
            "gender": scene.identity.gender,
            "ethnicity": scene.identity.ethnicity,
        },
        "expression_id": scene.expression_id,
        "view": {"id": scene.view.id, "yaw": scene.view.yaw, "pitch": scene.view.pitch, "fov": scene.view.fov},
        "seed": scene.seed,
        "generator_version": GENERATOR_VERSION,
    }
