"""Side views: what a portrait hardly shows of a face, painted on the head as far as it is textured.

The cameras stand beside the portrait's, one after another. A model sees the head with the skin of all pictures before,
and paints what none of them saw well.
"""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from data_gen.diffusion import checks, conditions, pipelines, projection, prompts
from data_gen.diffusion.backdrop import LOST, STRAY
from data_gen.diffusion.cache import Entry
from data_gen.diffusion.canvas import canvas
from data_gen.diffusion.config import DiffusionConfig
from data_gen.diffusion.sitting import PORTRAIT, Sitting, camera, sit
from data_gen.face_models import FaceModel
from data_gen.render import Renderer
from data_gen.scene import Identity, Light
from data_gen.textures import Texture, procedural
from data_gen.textures.atlas import vertex_normals

KNOWN = 0.5  # weight from which on skin is not painted again
TEXELS = 2  # of the drawn head's texture, per pixel of the picture's side
GREY = 150  # behind the head


@dataclasses.dataclass(frozen=True, eq=False)
class _Shot:
    """The head from one side, and `missing` (W, W) bool, the skin that is to be painted in its `picture`."""

    picture: np.ndarray
    missing: np.ndarray
    sitting: Sitting


def paint(
    people: Sequence[Identity], entries: Sequence[Entry], face_model: FaceModel, renderer: Renderer,
    config: DiffusionConfig,
) -> list[Entry]:  # fmt: skip
    """The entries of people with portraits, with the side views that were accepted and word of all.

    `renderer` has the size of the side views; `config` is pinned.

    Raises:
      ValueError: if the prompt is longer than the model reads.
    """
    settings = config.side_views
    painter, find = pipelines.load(config, settings), checks.detector(config.check)
    told = [prompts.side_view(person, settings) for person in people]
    painter.check_lengths([text for prompt in told for text in (prompt.text, prompt.negative)])
    bases = [procedural.paint(person, face_model, TEXELS * settings.size) for person in people]
    done = [dataclasses.replace(e, record=e.record | {"side_views": [], "side_about": painter.about}) for e in entries]
    for yaw in settings.yaws:
        shots = [
            _shot(entry, face_model.neutral(person), base, face_model, renderer, yaw)
            for entry, person, base in zip(done, people, bases, strict=True)
        ]
        painted: list[np.ndarray | None] = [None] * len(shots)
        faults: list[list[str]] = [[] for _ in shots]
        waiting = [i for i, shot in enumerate(shots) if shot.missing.any()]
        for attempt in range(settings.tries):
            if not waiting:
                break
            pictures = painter.paint(
                [_conditions(shots[i].sitting, config) for i in waiting],
                [told[i].text for i in waiting],
                [told[i].negative for i in waiting],
                [prompts.side_view_seed(people[i], yaw, attempt) for i in waiting],
                [pipelines.Start(shots[i].picture, shots[i].missing) for i in waiting],
            )
            for i, picture in zip(waiting, pictures, strict=True):
                said = picture.fault or _fault(picture.picture, shots[i], config, find)
                if said:
                    faults[i].append(said)
                else:
                    painted[i] = picture.picture
            waiting = [i for i in waiting if painted[i] is None]
        for i in waiting:
            logging.warning(
                "Identity %d has no side view at %g degrees: %d were refused (%s).",
                people[i].id, yaw, len(faults[i]), "; ".join(faults[i]),
            )  # fmt: skip
        done = [
            _with(entry, person, yaw, picture, shot.sitting, refused)
            for entry, person, picture, shot, refused in zip(done, people, painted, shots, faults, strict=True)
        ]
    return done


def light(yaw: float) -> Light:
    """What shines on a head that is painted from the side: soft, from beside the camera."""
    return Light(key_azimuth=yaw, key_elevation=0, key=0.5, fill=0.0, ambient=0.8, kelvin=5500, rim=0.0)


def _shot(
    entry: Entry, neutral: np.ndarray, base: Texture, face_model: FaceModel, renderer: Renderer, yaw: float
) -> _Shot:
    topology, seen = face_model.topology, ((entry.portrait, entry.sitting), *entry.sides)
    board = canvas(topology, len(base.albedo))
    albedo = projection.project(entry.portrait, entry.sitting, board, base, neutral, entry.sides)
    # the shade of hair would stay in the skin
    drawn = dataclasses.replace(base, albedo=base.albedo if albedo is None else albedo, shade=None)
    beside = sit(neutral, face_model, drawn, renderer, yaw)
    view = camera(neutral, topology, renderer.size, yaw)
    grey = np.full((renderer.size, renderer.size, 3), GREY, np.uint8)
    pose = renderer.pose(neutral)
    normals = vertex_normals(dataclasses.replace(topology, template=neutral))
    known = np.max([_weight(picture, sat, neutral, normals, face_model) for picture, sat in seen], axis=0)  # [V]
    missing = beside.skin & (renderer.field(pose, known, view).values < KNOWN) & (albedo is not None)
    return _Shot(renderer.color(pose, view, light(yaw), grey), missing, beside)


def _conditions(sitting: Sitting, config: DiffusionConfig) -> list[np.ndarray]:
    return conditions.draw(config, sitting.depth, PORTRAIT.fov, sitting.landmarks)


def _weight(
    picture: np.ndarray, sitting: Sitting, neutral: np.ndarray, normals: np.ndarray, face_model: FaceModel
) -> np.ndarray:
    """(V,) float32 0..1, how well a picture shows each vertex."""
    view = camera(neutral, face_model.topology, len(picture), sitting.yaw)
    return projection.look(projection.linear(picture), sitting, view, neutral, normals).weight


def _fault(picture: np.ndarray, shot: _Shot, config: DiffusionConfig, find: checks.Detector | None) -> str:
    """What is wrong with a painted side view (W, W, 3) uint8, in a few words; '' if nothing is found."""
    if config.check == "none":
        return ""
    known = shot.sitting.skin & ~shot.missing
    if not known.any():
        return "hardly any skin in sight"
    face = shot.picture[known].astype(np.float32)
    off = picture[known] - face
    if np.abs(off).mean() > STRAY or off.std() > LOST * face.std():
        return "face is lost"
    bare = shot.missing & checks.like_skin(shot.picture, known)  # without beard
    if bare.any() and checks.like_skin(picture, known)[bare].mean() < checks.LEAST_SKIN:
        return "skin is missing"
    return checks.landmarks(find(picture), shot.sitting) if find else ""


def _with(
    entry: Entry, person: Identity, yaw: float, picture: np.ndarray | None, sitting: Sitting, refused: list[str]
) -> Entry:
    """An entry with one side view more, or with word that there is none."""
    painted, told = picture is not None, entry.record
    last = len(refused) - (not painted)
    seed = prompts.side_view_seed(person, yaw, max(last, 0))
    words = {"yaw": yaw, "painted": painted, "tries": len(refused) + painted, "seed": seed}
    faults = [*told["faults"], *(f"side view {yaw:g}: {fault}" for fault in refused)]
    record = told | {"side_views": [*told["side_views"], words], "faults": faults}
    return dataclasses.replace(
        entry, record=record, sides=(*entry.sides, (picture, sitting)) if painted else entry.sides
    )
