"""The studio: paints the portraits that are not in the cache yet, looks at each, and paints refused ones again.

Side views follow when all portraits are done, for they may want another model.
"""

import collections
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm

from data_gen.diffusion import cache, checks, conditions, pipelines, prompts, side_views
from data_gen.diffusion.config import DiffusionConfig
from data_gen.diffusion.prompts import Prompt
from data_gen.diffusion.sitting import PORTRAIT, Sitting, sit
from data_gen.face_models import FaceModel
from data_gen.render import Renderer
from data_gen.scene import Identity
from data_gen.textures import procedural

BASE_TEXELS = 256  # of the procedural texture whose hair and clothes the camera sees: colours do not matter here


@dataclasses.dataclass(frozen=True)
class Report:
    """How many portraits were `found` in the cache, `painted`, and given up, now or before (`procedural`); how many
    pictures were refused now for which `faults`."""

    found: int
    painted: int
    procedural: int
    faults: dict[str, int]

    def __str__(self):
        faults = ", ".join(f"{fault} {count}" for fault, count in self.faults.items()) or "none"
        return (
            f"portraits: {self.painted} painted, {self.found} found in the cache, {self.procedural} identities left "
            f"procedural; pictures refused: {faults}"
        )


@dataclasses.dataclass(eq=False)
class _Job:
    """One portrait to paint: `marks` (68, 3) mm are the landmarks of the head, `faults` those of its tries so far."""

    person: Identity
    marks: np.ndarray
    shaping: dict[str, Any]
    prompt: Prompt
    faults: list[str] = dataclasses.field(default_factory=list)
    sitting: Sitting | None = None


def shaping(person: Identity, face_model: str, config: DiffusionConfig) -> dict[str, Any]:
    """What shapes the portrait of a person, by pinned settings."""
    return cache.record(person, face_model, prompts.compose(person, config), config)


def paint_missing(people: Sequence[Identity], face_model: FaceModel, config: DiffusionConfig) -> Report:
    """Paints the portraits of people that the cache lacks, and side views where they are asked for, and keeps each as
    soon as it is done.

    `config` is pinned (`sources.pinned`).
    """
    if config.side_views is None:
        return _paint_portraits(people, face_model, config)
    missing, found, given_up = [], 0, 0
    for person in people:
        entry = _entry(person, face_model, config)
        if entry is None:
            missing.append(person)
        elif entry.portrait is None:
            given_up += 1
        else:
            found += 1
    frontal = dataclasses.replace(config, side_views=None)  # portraits are kept for settings without side views too
    report = _paint_portraits(missing, face_model, frontal)
    refused = _paint_sides(missing, face_model, config, frontal)
    faults = dict(collections.Counter(report.faults) + refused)
    return Report(found + report.found, report.painted, given_up + report.procedural, faults)


def _paint_sides(
    people: Sequence[Identity], face_model: FaceModel, config: DiffusionConfig, frontal: DiffusionConfig
) -> collections.Counter[str]:
    """Adds side views to the portraits that the settings `frontal` painted, and counts the faults of those refused."""
    seated, faults = [], collections.Counter()
    for person in people:
        entry = _entry(person, face_model, frontal)
        if entry.portrait is None:
            cache.save(shaping(person, face_model.name, config), entry)
        else:
            seated.append(person)
    if not seated:
        return faults
    batch = config.side_views.batch
    with (
        Renderer(face_model.topology, config.side_views.size) as renderer,
        tqdm.tqdm(total=len(seated), unit="person", desc="painting side views") as bar,
    ):
        for begin in range(0, len(seated), batch):
            some = seated[begin : begin + batch]
            entries = [_entry(person, face_model, frontal) for person in some]
            for person, before, entry in zip(
                some, entries, side_views.paint(some, entries, face_model, renderer, config), strict=True
            ):
                cache.save(shaping(person, face_model.name, config), entry)
                faults.update(entry.record["faults"][len(before.record["faults"]) :])
                bar.update()
    return faults


def _entry(person: Identity, face_model: FaceModel, config: DiffusionConfig) -> cache.Entry | None:
    marks = face_model.neutral(person)[face_model.topology.landmarks]
    return cache.load(shaping(person, face_model.name, config), marks)


def _paint_portraits(people: Sequence[Identity], face_model: FaceModel, config: DiffusionConfig) -> Report:
    waiting, found, given_up = collections.deque(), 0, 0  # a job goes with its pictures as soon as it is done
    landmarks = face_model.topology.landmarks
    for person in people:
        marks, prompt = face_model.neutral(person)[landmarks].astype(np.float32), prompts.compose(person, config)
        job = _Job(person, marks, cache.record(person, face_model.name, prompt, config), prompt)
        entry = cache.load(job.shaping, marks)
        if entry is None:
            waiting.append(job)
        elif entry.portrait is None:
            given_up += 1
        else:
            found += 1
    if not waiting:
        return Report(found, 0, given_up, {})
    find, painter = checks.detector(config.check), pipelines.load(config)
    painter.check_lengths([text for job in waiting for text in (job.prompt.text, job.prompt.negative)])
    painted, faults = 0, collections.Counter()
    with (
        Renderer(face_model.topology, config.size) as renderer,
        tqdm.tqdm(total=len(waiting), unit="portrait", desc="painting") as bar,
    ):
        while waiting:
            batch = [waiting.popleft() for _ in range(min(config.batch, len(waiting)))]
            for job, picture in zip(batch, _painted(batch, painter, face_model, renderer, config), strict=True):
                fault = picture.fault or _fault(picture.picture, job.sitting, config, find)
                if fault:
                    job.faults.append(fault)
                    faults[fault] += 1
                    if len(job.faults) < config.tries:
                        waiting.appendleft(job)  # next, so that few are begun at a time
                        continue
                    given_up += 1
                    logging.warning(
                        "Identity %d stays procedural: %d portraits were refused (%s).",
                        job.person.id, len(job.faults), "; ".join(job.faults),
                    )  # fmt: skip
                else:
                    painted += 1
                _keep(job, None if fault else picture.picture, painter)
                bar.update()
    return Report(found, painted, given_up, dict(faults))


def _painted(
    batch: list[_Job], painter: pipelines.Painter, face_model: FaceModel, renderer: Renderer, config: DiffusionConfig
) -> list[pipelines.Painting]:
    for job in batch:
        if job.sitting is None:
            base = procedural.paint(job.person, face_model, BASE_TEXELS)
            job.sitting = sit(face_model.neutral(job.person), face_model, base, renderer)
    return painter.paint(
        [conditions.draw(config, job.sitting.depth, PORTRAIT.fov, job.sitting.landmarks) for job in batch],
        [job.prompt.text for job in batch],
        [job.prompt.negative for job in batch],
        [prompts.seed(job.person, len(job.faults)) for job in batch],
    )


def _fault(picture: np.ndarray, sitting: Sitting, config: DiffusionConfig, find: checks.Detector | None) -> str:
    return "" if config.check == "none" else checks.fault(picture, sitting, find)


def _keep(job: _Job, portrait: np.ndarray | None, painter: pipelines.Painter) -> None:
    told = {
        "painted": portrait is not None,
        "tries": len(job.faults) + (portrait is not None),
        "faults": job.faults,
        "seed": prompts.seed(job.person, len(job.faults) - (portrait is None)),
        "about": painter.about,
    }
    cache.save(job.shaping, cache.Entry(portrait, job.sitting, job.marks, told))
