"""The backend 'diffusion': textures of people from their portraits."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from data_gen import face_models
from data_gen.diffusion import cache, sources, studio
from data_gen.diffusion.canvas import canvas
from data_gen.diffusion.config import DiffusionConfig
from data_gen.diffusion.projection import project
from data_gen.diffusion.studio import Report
from data_gen.face_models import FaceModel
from data_gen.scene import Identity
from data_gen.textures import Texture, procedural


def prepare(people: Sequence[Identity], face_model: str, config: DiffusionConfig) -> tuple[DiffusionConfig, Report]:
    """Paints the portraits of people that the cache lacks, in batches; the settings with their models pinned, for
    `paint`, and what came of it."""
    config = sources.pinned(config)
    return config, studio.paint_missing(people, face_models.load(face_model), config)


def paint(person: Identity, face_model: FaceModel, size: int, config: DiffusionConfig) -> Texture:
    """The texture of a person; where their portrait is not in the cache, it is painted first."""
    config = _pinned(config)
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
        albedo = project(entry.portrait, entry.sitting, canvas(face_model.topology, size), base, neutral)
    return dataclasses.replace(
        base, albedo=base.albedo if albedo is None else albedo, origin=_origin(entry, config, albedo is not None)
    )


@functools.lru_cache
def _pinned(config: DiffusionConfig) -> DiffusionConfig:
    """Once in a process: reading gigabytes for each person would take longer than drawing them."""
    return sources.pinned(config)


def _origin(entry: cache.Entry, config: DiffusionConfig, painted: bool) -> dict[str, object]:
    """What each frame records of its portrait: the fields of `record.DIFFUSION`."""
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
        "seed": np.uint64(told["seed"]),
        "tries": np.int32(told["tries"]),
    }
