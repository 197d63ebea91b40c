"""Record: one frame's arrays -> the example of the data contract, pictures encoded."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from data_gen.plan import EXPRESSION_NAMES
from data_gen.rig import OTHER_AUS
from data_gen.scene import AGE_GROUPS, ETHNICITIES, GENDERS, KINDS, Lens, Light, Room, Scene, View
from data_gen.sessions import RIGS, ROOMS
from painjax.pspi import pspi

PNG_LEVEL = 3  # of 9: half the time of the default 6, 12 % more bytes
# What is recorded of a diffusion texture; `painted` is false where no portrait passed the check and the texture is the
# procedural one; `seed` is that of the last try; `side_views` says which were painted, by what.
PORTRAIT = {
    "painted": np.bool_, "prompt": str, "negative_prompt": str, "model": str, "revision": str, "controlnet": str,
    "controlnet_revision": str, "more_controls": str, "scheduler": str, "steps": np.int32, "seed": np.uint64,
    "tries": np.int32, "faults": str, "side_views": str, "side_prompt": str,
}  # fmt: skip
# What is recorded of the backdrop, beside the plane `kept`; `painted` is false where no painting was accepted and hair,
# clothes and room are the rendered ones, `neutral_painted` the same of the neutral reference.
BACKDROP = {
    "painted": np.bool_, "neutral_painted": np.bool_, "prompt": str, "negative_prompt": str, "model": str,
    "revision": str, "steps": np.int32, "strength": np.float32, "seed": np.uint64, "tries": np.int32, "faults": str,
}  # fmt: skip
LABELS = {  # fields that are one of these names, stored as its place among them
    "kind": KINDS, "expression": EXPRESSION_NAMES, "light/rig": RIGS, "room/kind": ROOMS,
    "identity/age_group": AGE_GROUPS, "identity/gender": GENDERS, "identity/ethnicity": ETHNICITIES,
}  # fmt: skip
GENERATOR_VERSION = "3.1.0"  # raise it whenever the same seed would give another example


def jpeg(image: np.ndarray, quality: int) -> bytes:
    """(S, S, 3) uint8 -> JPEG of quality 1..100, without chroma subsampling: redness of skin is signal here."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def png(values: np.ndarray) -> bytes:
    """(S, S) float in 0..1 or bool -> single-channel PNG, 0..255."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(values * 255).astype(np.uint8)).save(buffer, "PNG", compress_level=PNG_LEVEL)
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
    distance_mm: float,
    portrait: Mapping[str, Any] | None = None,
    backdrop: Mapping[str, Any] | None = None,
) -> dict:
    """One example of `tfds_builders/pain3d`: every field of the data contract, pictures as encoded bytes.

    `landmarks` is (68, 2) float32 pixel xy, `landmarks_visible` (68,) bool, `distance_mm` how far the camera stands;
    `portrait` how a diffusion texture was made (`PORTRAIT`), `backdrop` how what is around the face (`BACKDROP` and the
    plane `kept`); the other labels come from the scene. Clips alone have the field `clip`, diffusion textures alone the
    field `portrait`, and painted backdrops alone the field `backdrop`.
    """
    aus, others = np.asarray(scene.aus, np.float32), dict(scene.others)
    person, view, light, room, lens = scene.identity, scene.view, scene.light, scene.room, scene.lens
    fields = {
        "image": image,
        "neutral_image": neutral_image,
        "heatmap": heatmap,
        "heatmap_frontal": heatmap_frontal,
        "mask": mask,
        "aus": aus,
        "other_aus": np.asarray([others.get(name, 0.0) for name in OTHER_AUS], np.float32),
        "asymmetry": np.float32(scene.asymmetry),
        "pspi": np.float32(pspi(aus)),
        "kind": scene.kind,
        "expression": scene.expression,
        "expression_id": scene.expression_id,
        "landmarks": landmarks,
        "landmarks_visible": landmarks_visible,
        "identity": {
            "id": person.id,
            "age_group": person.age_group,
            "age_years": np.float32(person.age),
            "gender": person.gender,
            "ethnicity": person.ethnicity,
        },
        "view": _floats(view) | {"id": view.id, "distance_mm": np.float32(distance_mm)},
        "light": _floats(light) | {"rig": light.rig},
        "room": _floats(room) | {"kind": room.kind},
        "lens": _floats(lens) | {"jpeg_quality": lens.jpeg_quality},
        "seed": scene.seed,
        "generator_version": GENERATOR_VERSION,
    }
    if scene.clip is not None:
        fields["clip"] = {"id": scene.clip.id, "frame": scene.clip.frame, "time_s": np.float32(scene.clip.time)}
    if portrait is not None:
        fields["portrait"] = dict(portrait)
    if backdrop is not None:
        fields["backdrop"] = dict(backdrop)
    return fields


def _floats(part: View | Light | Room | Lens) -> dict[str, np.float32]:
    """The attributes of a part of the scene that are numbers with a fraction."""
    return {name: np.float32(value) for name, value in dataclasses.asdict(part).items() if isinstance(value, float)}
