"""The backend 'diffusion': textures of people from their portraits."""

import dataclasses
import functools
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data_gen import face_models, lens, record
from data_gen.diffusion import backdrop, cache, prompts, sources, studio
from data_gen.diffusion.album import Backdrop
from data_gen.diffusion.canvas import canvas
from data_gen.diffusion.config import DiffusionConfig
from data_gen.diffusion.projection import project
from data_gen.diffusion.studio import Report
from data_gen.face_models import FaceModel
from data_gen.scene import Identity, Scene, stream
from data_gen.textures import Texture, procedural


def prepare(people: Sequence[Identity], face_model: str, config: DiffusionConfig) -> tuple[DiffusionConfig, Report]:
    """Paints the portraits of people that the cache lacks, in batches; the settings with their models pinned, for
    `paint`, and what came of it."""
    config = sources.pinned(config)
    return config, studio.paint_missing(people, face_models.load(face_model), config)


def paint(person: Identity, face_model: FaceModel, size: int, config: DiffusionConfig) -> Texture:
    """The texture of a person; where their portrait is not in the cache, it is painted first."""
    config = pinned(config)
    shaping = studio.shaping(person, face_model.name, config)
    neutral = face_model.neutral(person)
    marks = neutral[face_model.topology.landmarks]
    entry = cache.load(shaping, marks)
    if entry is None:
        studio.paint_missing([person], face_model, config)
        entry = cache.load(shaping, marks)
    base = procedural.paint(person, face_model, size)
    albedo = None
    if entry.portrait is not None:
        board = canvas(face_model.topology, size)
        albedo = project(entry.portrait, entry.sitting, board, base, neutral, entry.sides)
    return dataclasses.replace(
        base, albedo=base.albedo if albedo is None else albedo, origin=_origin(entry, config, albedo is not None)
    )


@functools.lru_cache
def pinned(config: DiffusionConfig) -> DiffusionConfig:
    """Once in a process: reading gigabytes for each person would take longer than drawing them."""
    return sources.pinned(config)


def _origin(entry: cache.Entry, config: DiffusionConfig, painted: bool) -> dict[str, object]:
    """What each frame records of its portrait: the fields of `record.PORTRAIT`."""
    told = entry.record
    return {
        "painted": painted,
        "prompt": told["prompt"],
        "negative_prompt": told["negative_prompt"],
        "model": config.model,
        "revision": config.revision,
        "controlnet": config.controlnet,
        "controlnet_revision": config.controlnet_revision,
        "scheduler": config.scheduler,
        "steps": np.int32(config.steps),
        "more_controls": ", ".join(f"{each.kind}: {each.model} {each.revision}" for each in config.more_controls),
        "seed": np.uint64(told["seed"]),
        "tries": np.int32(told["tries"]),
        "faults": "; ".join(told["faults"]),
        **_sides(told, config),
    }


def _sides(told: dict[str, object], config: DiffusionConfig) -> dict[str, str]:
    """What each frame records of the side views; empty texts where there are none."""
    settings, done = config.side_views, [each for each in told.get("side_views", ()) if each["painted"]]
    if not done:
        return {"side_views": "", "side_prompt": ""}
    model = settings if settings.model else config
    views = "; ".join(f"{each['yaw']:g} degrees, seed {each['seed']}, tries {each['tries']}" for each in done)
    return {
        "side_views": f"{model.model} {model.revision}: {views}",
        "side_prompt": told["settings"]["side_views"]["prompt"],
    }


def surround(
    picture: np.ndarray, face: np.ndarray, scene: Scene, done: Backdrop, config: DiffusionConfig
) -> tuple[np.ndarray, dict[str, object]]:
    """A frame through its lens, with what was painted around its face, and what it records of that.

    Args:
      picture: (S, S, 3) uint8 as rendered.
      face: (S, S) bool, `backdrop.kept`.
      done: what was painted; without a painting the frame stays as rendered.

    Returns:
      (S, S, 3) uint8, and the fields of `record.BACKDROP` but that of the neutral reference.
    """
    config, painted = pinned(config), done.painting is not None
    settings, model = config.backdrop, config.backdrop if config.backdrop.model else config
    if painted:
        painting = np.asarray(Image.open(io.BytesIO(done.painting)))
        developed = backdrop.develop(picture, painting, face, scene.lens, scene.seed)
    else:
        developed = lens.develop(picture, scene.lens, stream(scene.seed, "noise"))
    prompt = prompts.backdrop(scene.identity, settings)
    return developed, {
        "painted": painted,
        "kept": record.png(face | np.bool_(not painted)),
        "prompt": prompt.text,
        "negative_prompt": prompt.negative,
        "model": model.model,
        "revision": model.revision,
        "steps": np.int32(settings.steps),
        "strength": np.float32(settings.strength),
        "seed": np.uint64(done.seed),
        "tries": np.int32(done.tries),
        "faults": "; ".join(done.faults),
    }
