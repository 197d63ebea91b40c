"""Drives the generator: identities in, finished examples out, in order, on one process or many.

The unit of work is one identity (all expressions and views), because its texture, its rest shape and its neutral
references are shared by its frames. Nothing crosses from one identity to the next.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import os
import sys
import types
from collections.abc import Iterator, Sequence

import tqdm

from data_gen import camera as cameras
from data_gen import face_models, record, rig
from data_gen.face_models import FaceModel
from data_gen.heatmap import displacement, visible_landmarks
from data_gen.render import Renderer
from data_gen.scene import (
    EXPRESSIONS,
    REFERENCE_EXPRESSION,
    VIEWS,
    Identity,
    Scene,
    identity,
    scene,
    scenes,
    unpack_seed,
)
from data_gen.textures import paint
from data_gen.textures.background import background


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Everything beside the seed that shapes an example.

    Attributes:
      face_model: one of `face_models.FACE_MODELS`.
      texture_backend: 'procedural'.
      image_size: side of the frames in pixels.
      texture_size: side of the UV atlas in texels.
      dataset_seed: 0 <= seed < 2**24; 0 is a seed like any other.
    """

    face_model: str
    image_size: int
    texture_backend: str = "procedural"
    texture_size: int = 512
    dataset_seed: int = 0


def generate(
    config: GeneratorConfig, identities: Sequence[int], workers: int | None = None
) -> Iterator[tuple[str, dict]]:
    """Yields (key, example) of all frames of the identities, in the same order whatever the number of workers.

    Args:
      config: what to generate.
      identities: indices of identities.
      workers: number of processes; None reads the environment's PAINJAX_WORKERS, default one per core.

    Raises:
      ValueError: if PAINJAX_WORKERS is not a positive number.
    """
    workers = min(worker_count() if workers is None else workers, max(len(identities), 1))
    context = multiprocessing.get_context("spawn")  # a forked child would share the parent's GL and XLA threads
    bar = tqdm.tqdm(total=len(identities) * EXPRESSIONS * VIEWS, unit="frame", desc="rendering", smoothing=0.1)
    with bar, concurrent.futures.ProcessPoolExecutor(workers, context, _one_thread) as pool:
        with _no_main_module():
            results = pool.map(functools.partial(identity_examples, config), identities)
        try:
            for frames in results:
                bar.update(len(frames))
                yield from frames
        except concurrent.futures.process.BrokenProcessPool as error:
            raise RuntimeError(
                f"A rendering process died, most often for want of memory (each of {workers} takes about 1 GB) or in "
                "the OpenGL driver. Set PAINJAX_WORKERS to a smaller number and run the same command again."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # a reader that stops early waits for what is begun, not for everybody


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps new processes from importing the parent's main module.

    They need nothing of it, and `tfds` would bring TensorFlow, whose LLVM crashes that of Mesa's rasteriser.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def worker_count() -> int:
    """Processes to generate with: PAINJAX_WORKERS, else one per core this process may use."""
    text = os.environ.get("PAINJAX_WORKERS", str(len(os.sched_getaffinity(0))))
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PAINJAX_WORKERS is {text!r}; expected a positive whole number of processes.")
    return int(text)


def _one_thread() -> None:
    os.environ["LP_NUM_THREADS"] = "1"  # Mesa's rasteriser: the processes already fill the cores


def identity_examples(config: GeneratorConfig, index: int) -> list[tuple[str, dict]]:
    """All frames of one identity: [(key, example)], in scene order."""
    model, renderer = _stage(config)
    person = identity(config.dataset_seed, index)
    renderer.set_texture(paint(config.texture_backend, person, model, config.texture_size))
    takes = [(*unpack_seed(s.seed)[2:], s, take) for s, take in _takes(config, person, model, renderer)]
    images = {(expression, view): take["image"] for expression, view, _, take in takes}
    examples = []
    for expression, view, s, take in takes:
        if expression != REFERENCE_EXPRESSION:  # which exists only as the neutral reference of the neutral frames
            reference = REFERENCE_EXPRESSION if expression == 0 else 0
            key = f"{index:06d}_{expression:02d}_{view}"
            examples.append((key, record.example(s, neutral_image=images[reference, view], **take)))
    return examples


def regenerate(config: GeneratorConfig, seed: int) -> dict:
    """The example whose field `seed` this is, bit for bit on the same software; it renders the whole identity for it.

    Args:
      config: that of the data set; its own dataset seed is not looked at, for `seed` holds it.
      seed: field `seed` of an example made by the same `record.GENERATOR_VERSION`.

    Raises:
      ValueError: if no example has this seed.
    """
    dataset_seed, index, _, _ = unpack_seed(scene(seed).seed)
    for _, example in identity_examples(dataclasses.replace(config, dataset_seed=dataset_seed), index):
        if example["seed"] == seed:
            return example
    raise ValueError(f"seed {seed} names a neutral reference, which is no example of its own; expected an example's.")


def _takes(
    config: GeneratorConfig, person: Identity, model: FaceModel, renderer: Renderer
) -> Iterator[tuple[Scene, dict]]:
    """Every scene of a person with what its pixels say: pictures encoded, landmarks in pixels."""
    landmarks, size = model.topology.landmarks, config.image_size
    neutral = model.neutral(person)  # [V, 3]
    frontal = cameras.aim(cameras.FRONTAL, neutral[landmarks], size)
    room = background(person.seed, size)
    for _, views in itertools.groupby(scenes(config.dataset_seed, person.id), lambda s: unpack_seed(s.seed)[2]):
        views = list(views)
        weights = rig.shape_weights(views[0].aus, views[0].asymmetry)
        pain = model.deform(person, weights)
        face = model.deform(person, weights | dict(views[0].distractors))
        heat = displacement(neutral, pain, model.topology)  # [V]
        heatmap_frontal = record.png(renderer.field(face, heat, frontal).values)
        for s in views:
            camera = cameras.aim(s.view, neutral[landmarks], size)
            field = renderer.field(face, heat, camera)
            xy, visible = visible_landmarks(face[landmarks], camera, field.depth)
            yield (
                s,
                {
                    "image": record.jpeg(renderer.color(face, camera, s.light, room)),
                    "heatmap": record.png(field.values),
                    "heatmap_frontal": heatmap_frontal,
                    "mask": record.png(field.mask),
                    "landmarks": xy,
                    "landmarks_visible": visible,
                },
            )


@functools.cache
def _stage(config: GeneratorConfig) -> tuple[FaceModel, Renderer]:
    """Face model and renderer of this process: loaded and uploaded to the GPU once."""
    model = face_models.load(config.face_model)
    return model, Renderer(model.topology, config.image_size)
