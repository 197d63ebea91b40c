"""How long each stage of the generator takes on one core, and what of that cannot be saved.

Runs in a process of its own, for processor time counts all of a process' threads.
"""

import contextlib
import resource
import time
from collections import defaultdict
from collections.abc import Iterator

from data_gen import face_models, generate, lens, record, rig, rooms
from data_gen.generator_config import GeneratorConfig
from data_gen.render import Renderer

REPEATS = 15


def identity_seconds(config: GeneratorConfig, index: int) -> dict[str, float]:
    """Processor seconds of each stage for all frames of an identity; 'other' is what belongs to none."""
    stages = defaultdict(float)
    with _watched(stages, type(face_models.load(config.face_model))), clock() as seconds:
        generate.identity_examples(config, index)
    return stages | {"other": seconds() - sum(stages.values())}


def peak_memory_mib() -> int:
    """The most memory this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextlib.contextmanager
def clock() -> Iterator:
    """A clock of processor seconds, read by calling it after the block."""
    start, end = time.process_time(), []
    yield lambda: end[0] - start
    end.append(time.process_time())


def lower_bound_ms(config: GeneratorConfig) -> dict[str, float]:
    """Processor milliseconds of one picture, one field, and the encoding of a frame's picture, heatmap and mask.

    The last of an identity, again and again of a pose that lies on the GPU already: OpenGL with next to no Python.
    """
    calls = {}
    with contextlib.ExitStack() as stack:
        for owner, name in ((Renderer, "color"), (Renderer, "field"), (record, "jpeg"), (record, "png")):
            stack.enter_context(_patched(owner, name, _keeping(getattr(owner, name), calls.setdefault(name, []))))
        generate.identity_examples(config, 1)
    times = {name: min(_times(*made[-1])) for name, made in calls.items()}
    return {"color": times["color"], "field": times["field"], "encode": times["jpeg"] + 2 * times["png"]}


def _times(function, arguments: tuple) -> Iterator[float]:
    for _ in range(REPEATS):
        with clock() as seconds:
            function(*arguments)
        yield 1000 * seconds()


def _keeping(function, made: list):
    def keep(*arguments):
        made[:] = [(function, arguments)]
        return function(*arguments)

    return keep


@contextlib.contextmanager
def _watched(stages: dict[str, float], model: type) -> Iterator[None]:
    """Adds to each stage the processor seconds spent in the functions that make it up, the outermost one counting."""
    parts = {
        "texture": [(generate, "paint"), (Renderer, "set_texture")],
        "deform": [(model, "deform"), (rig, "shape_weights"), (generate, "wrinkle_depths"), (Renderer, "pose")],
        "render": [(Renderer, "color")],
        "heatmap": [(Renderer, "field"), (generate, "displacement"), (generate, "visible_landmarks")],
        "room_and_lens": [(rooms, "panorama"), (rooms, "behind"), (lens, "develop")],
        "encode": [(record, "jpeg"), (record, "png")],
    }
    inside = []

    def timed(function, stage: str):
        def call(*arguments, **named):
            inside.append(stage)
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                inside.pop()
                if not inside:
                    stages[stage] += time.process_time() - start

        return call

    with contextlib.ExitStack() as stack:
        for stage, functions in parts.items():
            for owner, name in functions:
                stack.enter_context(_patched(owner, name, timed(getattr(owner, name), stage)))
        yield


@contextlib.contextmanager
def _patched(owner, name: str, replacement) -> Iterator[None]:
    original = owner.__dict__[name]
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
