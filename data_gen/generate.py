"""Drives the generator: identities in, finished examples out, in order, on one process or many.

The unit of work is one identity (all expressions and views), because its texture, its rest shape and its neutral
references are shared by its frames. Nothing crosses from one identity to the next.
"""

import concurrent.futures.process
import dataclasses
import functools
import itertools
import logging
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

import numpy as np
import tqdm

from data_gen import camera as cameras
from data_gen import face_models, finished, lens, plan, processes, record, rig, rooms
from data_gen.diffusion import album, backdrop, painter, scenery, studio
from data_gen.diffusion.album import Backdrop
from data_gen.diffusion.backdrop import Shot
from data_gen.face_models import FaceModel
from data_gen.generator_config import GeneratorConfig
from data_gen.heatmap import displacement, visible_landmarks
from data_gen.render import Pose, Renderer, over
from data_gen.scene import Identity, Scene, identity, stream, unpack_seed
from data_gen.textures import Texture, paint, wrinkle_depths

SHOTS_IN_MEMORY = 48  # of 1024 pixels, half a GB


def generate(
    config: GeneratorConfig, identities: Sequence[int], workers: int | None = None, keep: Path | None = None
) -> Iterator[tuple[str, dict]]:
    """Yields (key, example) of all frames of the identities, in the same order whatever the number of workers.

    Processes that die are replaced, and cost the identities that they were at.

    Args:
      config: what to generate.
      identities: indices of identities.
      workers: number of processes; None reads the environment's PAINJAX_WORKERS, default one per core.
      keep: folder (`finished.folder`) where finished identities are kept, and taken from if they are there.

    Raises:
      ValueError: if PAINJAX_WORKERS is not a positive number.
      RuntimeError: if processes die `processes.TRIES` times before one more identity is drawn.
    """
    workers = min(processes.worker_count() if workers is None else workers, max(len(identities), 1))
    config = with_portraits(config, identities)
    bar = tqdm.tqdm(
        total=len(identities) * plan.frames_per_identity(config.plan), unit="frame", desc="rendering", smoothing=0.1
    )
    done = deaths = 0
    with bar:
        while done < len(identities):
            with processes.pool(workers) as pool:
                with processes.while_starting():
                    results = pool.map(functools.partial(_kept_examples, config, keep), identities[done:])
                try:
                    for frames in results:
                        bar.update(len(frames))
                        yield from frames
                        done, deaths = done + 1, 0
                except concurrent.futures.process.BrokenProcessPool as error:
                    deaths += 1
                    if deaths == processes.TRIES:
                        raise RuntimeError(processes.DIED.format(workers)) from error
                    logging.warning("A rendering process died; new ones go on with identity %d.", identities[done])
                finally:
                    pool.shutdown(cancel_futures=True)  # who stops early waits for what is begun, not for everybody


def generate_apart(config: GeneratorConfig, index: int, keep: Path | None = None) -> finished.Frames:
    """All frames of one identity, drawn in a process that this one keeps for the next: for the processes of another
    engine, which may hold TensorFlow and have threads. Portraits must have been painted.

    A process that dies is replaced, and costs the identity that it was at.

    Args:
      config: what to generate.
      index: of the identity.
      keep: folder where finished identities are kept, and taken from if they are there.

    Raises:
      RuntimeError: if as many processes as `processes.TRIES` have died of this identity.
    """
    for left in reversed(range(processes.TRIES)):
        try:
            with processes.kept_process() as process:
                with processes.while_starting():
                    drawing = process.submit(_kept_examples, config, keep, index)
                return drawing.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            if not left:
                raise RuntimeError(processes.DIED.format(processes.worker_count())) from error
            logging.warning("A rendering process died; another one draws identity %d again.", index)


def with_portraits(config: GeneratorConfig, identities: Sequence[int]) -> GeneratorConfig:
    """Paints the portraits and backdrops that are missing, in one process that then gives its GPU memory back: the
    settings with their models pinned. Nothing is to be done where no diffusion model paints."""
    if config.diffusion is None:
        return config
    with processes.pool(1) as pool:
        try:
            with processes.while_starting():
                painting = pool.submit(_paint_missing, config, identities)
            config, report, surroundings = painting.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise RuntimeError(
                "The process that paints with diffusion models died, most often for want of memory: choose a smaller "
                "diffusion.batch or model. The same command goes on with the pictures that are finished."
            ) from error
    logging.log(logging.WARNING if report.procedural else logging.INFO, "%s", report)
    if config.diffusion.backdrop is not None:
        logging.log(logging.WARNING if surroundings.rendered else logging.INFO, "%s", surroundings)
    return config


def _paint_missing(
    config: GeneratorConfig, identities: Sequence[int]
) -> tuple[GeneratorConfig, studio.Report, scenery.Report]:
    """Paints what the cache lacks, first all portraits, for backdrops want another model: the settings with their
    models pinned, and what came of both."""
    people = [identity(config.dataset_seed, index) for index in identities]
    diffusion, report = painter.prepare(people, config.face_model, config.diffusion)
    config, surroundings = dataclasses.replace(config, diffusion=diffusion), scenery.Report()
    if diffusion.backdrop is not None:
        model = face_models.load(config.face_model)
        for person in tqdm.tqdm(people, unit="person", desc="painting backdrops"):
            seeds = plan.example_seeds(config.dataset_seed, person.id, config.plan)
            _backdrops(config, person, model, None, plan.needed(seeds, config.neutral_variation)[2], surroundings)
    return config, report, surroundings


def _kept_examples(config: GeneratorConfig, keep: Path | None, index: int) -> finished.Frames:
    if keep is None:
        return identity_examples(config, index)
    frames = finished.load(keep, index)
    if frames is None:
        frames = identity_examples(config, index)
        finished.save(keep, index, frames)
    return frames


def identity_examples(config: GeneratorConfig, index: int) -> list[tuple[str, dict]]:
    """All frames of one identity: [(key, example)], in scene order."""
    return _examples(config, index, plan.example_seeds(config.dataset_seed, index, config.plan))


def regenerate(config: GeneratorConfig, seed: int) -> dict:
    """The example whose field `seed` this is, bit for bit on the same software.

    Args:
      config: that of the data set; its own dataset seed and plan are not looked at, for `seed` holds them.
      seed: field `seed` of an example made by the same `record.GENERATOR_VERSION`.

    Raises:
      ValueError: if no example has this seed.
    """
    dataset_seed, index, _, _ = unpack_seed(plan.scene(seed).seed)
    if not plan.is_example(seed):
        raise ValueError(f"seed {seed} names a neutral reference, no example of its own; expected an example's.")
    ((_, example),) = _examples(dataclasses.replace(config, dataset_seed=dataset_seed), index, [int(seed)])
    return example


def takes(config: GeneratorConfig, scenes: Sequence[Scene]) -> list[tuple[Scene, dict]]:
    """Any scenes of one person, of a plan or made by hand, with their pictures (encoded) and what their pixels say.

    Returns:
      (scene, `image`, `heatmap`, `heatmap_frontal`, `mask`, `landmarks`, `landmarks_visible`, `distance_mm`, and
      `backdrop` where backdrops are painted), in order.

    Raises:
      ValueError: if the scenes are of several people.
    """
    people = {s.identity for s in scenes}
    if len(people) != 1:
        raise ValueError(f"scenes are of {len(people)} people; expected those of one.")
    (person,) = people
    model, renderer = _stage(config.face_model, config.image_size)
    return list(_takes(config, person, model, renderer, _look(config, person, model), scenes, set(scenes)))


def _examples(config: GeneratorConfig, index: int, seeds: list[int]) -> list[tuple[str, dict]]:
    """[(key, example)] of some frames of one identity, and of no others of it than they need."""
    model, renderer = _stage(config.face_model, config.image_size)
    person = identity(config.dataset_seed, index)
    look = _look(config, person, model)
    scenes, references, needed = plan.needed(seeds, config.neutral_variation)
    takes = dict(_takes(config, person, model, renderer, look, needed, set(scenes)))
    examples = []
    for s, reference in zip(scenes, references, strict=True):
        _, _, expression, frame = unpack_seed(s.seed)
        key = f"{index:06d}_{expression:03d}_{frame:03d}"
        take, neutral = dict(takes[s]), takes[reference]
        if "backdrop" in take:
            take["backdrop"] |= {"neutral_painted": neutral["backdrop"]["painted"]}
        examples.append((key, record.example(s, neutral_image=neutral["image"], portrait=look.origin, **take)))
    return examples


def _look(config: GeneratorConfig, person: Identity, model: FaceModel) -> Texture:
    return paint(config.texture_backend, person, model, config.texture_size, config.diffusion)


@dataclasses.dataclass(frozen=True, eq=False)
class _Drawn:
    """A scene; `picture` (S, S, 3) uint8 of it before the lens, and the head's `coverage` (S, S) uint8 of its pixels;
    and what it is a picture of: `face` (V, 3) mm, its `heat` (V,) 0..1, and the camera."""

    scene: Scene
    picture: np.ndarray
    coverage: np.ndarray
    camera: cameras.Camera
    face: np.ndarray
    pose: Pose
    heat: np.ndarray


def _drawn(person: Identity, model: FaceModel, renderer: Renderer, scenes: Sequence[Scene]) -> Iterator[_Drawn]:
    """Scenes of a person whose texture the renderer has, those of one expression one after the other."""
    landmarks, size = model.topology.landmarks, renderer.size
    neutral = model.neutral(person)  # [V, 3]
    panorama = functools.cache(functools.partial(rooms.panorama, person.seed))
    behind = functools.cache(lambda room, view: rooms.behind(panorama(room), view, size))
    for (aus, asymmetry, others), views in itertools.groupby(scenes, lambda s: (s.aus, s.asymmetry, s.others)):
        pain = model.deform(person, rig.shape_weights(aus, asymmetry))
        face = model.deform(person, rig.shape_weights(aus, asymmetry, dict(others))) if others else pain
        folds = wrinkle_depths(model, aus, asymmetry, dict(others))  # [V, 2]
        heat = displacement(neutral, pain, model.topology)  # [V]
        pose = renderer.pose(face, folds)
        for s in views:
            camera = cameras.aim(s.view, neutral[landmarks], size)
            head = renderer.color(pose, camera, s.light, None)
            yield _Drawn(s, over(head, behind(s.room, s.view)), head[..., 3], camera, face, pose, heat)


def _takes(
    config: GeneratorConfig,
    person: Identity,
    model: FaceModel,
    renderer: Renderer,
    look: Texture,
    scenes: Sequence[Scene],
    labelled: Container[Scene],
) -> Iterator[tuple[Scene, dict]]:
    """Scenes of a person with what their pixels say: pictures encoded, landmarks in pixels.

    Those not among `labelled` are neutral references: of them the picture alone, and what was painted around it.
    """
    landmarks, neutral = model.topology.landmarks, model.neutral(person)  # [V, 3]
    frontal, posed, heatmap_frontal = cameras.aim(cameras.FRONTAL, neutral[landmarks], renderer.size), None, None
    backdrops = _backdrops(config, person, model, look, scenes, scenery.Report())
    bare = backdrop.face_vertices(look, len(neutral))
    renderer.set_texture(look, neutral)
    for drawn in _drawn(person, model, renderer, scenes):
        s, take = drawn.scene, {}
        if s in backdrops:
            face = backdrop.kept(renderer.field(drawn.pose, bare, drawn.camera), drawn.coverage)
            picture, take["backdrop"] = painter.surround(drawn.picture, face, s, backdrops[s], config.diffusion)
        else:
            picture = lens.develop(drawn.picture, s.lens, stream(s.seed, "noise"))
        take["image"] = record.jpeg(picture, s.lens.jpeg_quality)
        if s in labelled:
            if drawn.pose is not posed:
                posed = drawn.pose
                heatmap_frontal = record.png(renderer.field(posed, drawn.heat, frontal).values)
            field = renderer.field(posed, drawn.heat, drawn.camera)
            xy, visible = visible_landmarks(drawn.face[landmarks], drawn.camera, field.depth)
            take |= {
                "heatmap": record.png(field.values),
                "heatmap_frontal": heatmap_frontal,
                "mask": record.png(field.mask),
                "landmarks": xy,
                "landmarks_visible": visible,
                "distance_mm": cameras.distance(s.view, neutral[landmarks]),
            }
        yield s, take


def _backdrops(
    config: GeneratorConfig,
    person: Identity,
    model: FaceModel,
    look: Texture | None,
    scenes: Sequence[Scene],
    report: scenery.Report,
) -> dict[Scene, Backdrop]:
    """What a model painted around the faces of scenes of a person; those that no album has are painted now, and
    `report` counts them. {} where no backdrops are asked for. The texture `look` is painted where it is None."""
    if config.diffusion is None or config.diffusion.backdrop is None:
        return {}
    diffusion, neutral = painter.pinned(config.diffusion), model.neutral(person)
    shaping = album.shaping(person, model.name, config.image_size, config.texture_size, diffusion)
    book = album.load(shaping, neutral[model.topology.landmarks].astype(np.float32))
    missing = [s for s in scenes if album.name(s) not in book.frames]
    given_up = sum(book.frames[album.name(s)].painting is None for s in scenes if s not in missing)
    report.found += len(scenes) - len(missing) - given_up
    report.rendered += given_up
    if missing:
        look = look or _look(config, person, model)
        _, renderer = _stage(config.face_model, diffusion.backdrop.size)
        renderer.set_texture(look, neutral)
        bare = backdrop.face_vertices(look, len(neutral))
        shots = ((d.scene, _shot(d, bare, model, renderer)) for d in _drawn(person, model, renderer, missing))
        while some := list(itertools.islice(shots, SHOTS_IN_MEMORY)):
            painted, book.about = scenery.paint([shot for _, shot in some], person, config.image_size, diffusion)
            for (s, _), done in zip(some, painted, strict=True):
                book.frames[album.name(s)] = done
                report.count(done)
        book.save()
    return {s: book.frames[album.name(s)] for s in scenes}


def _shot(drawn: _Drawn, bare: np.ndarray, model: FaceModel, renderer: Renderer) -> Shot:
    field = renderer.field(drawn.pose, bare, drawn.camera)
    xy, visible = visible_landmarks(drawn.face[model.topology.landmarks], drawn.camera, field.depth)
    return Shot(drawn.picture, backdrop.kept(field, drawn.coverage), field.depth, drawn.camera.fov, xy[visible])


@functools.cache
def _stage(face_model: str, image_size: int) -> tuple[FaceModel, Renderer]:
    """Face model and renderer of this process: loaded and uploaded to the GPU once."""
    model = face_models.load(face_model)
    return model, Renderer(model.topology, image_size)
