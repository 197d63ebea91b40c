"""Plans: which frames a person has, and the scene of each. A seed names its frame whatever the plan.

The third byte of a seed counts expressions: 0 neutral, 1..10 pain, 11 the second neutral take; from 32 on distractors;
from 128 on clips, whose fourth byte is the frame number instead of the view.
"""

from collections.abc import Sequence

from data_gen import aus_sampling, sessions, trajectories, views
from data_gen.aus_sampling import EXPRESSIONS
from data_gen.distractors import DISTRACTORS, distractor
from data_gen.scene import ClipFrame, Scene, identity, pack_seed, stream, unpack_seed
from data_gen.views import VIEWS
from painjax.pspi import AU_NAMES

EXPRESSION_NAMES = ("neutral", "pain", *DISTRACTORS)
REFERENCE_EXPRESSION = EXPRESSIONS  # a second neutral take, the neutral reference of the neutral frames
FIRST_DISTRACTOR, FIRST_CLIP = 32, 128
TAKES = {  # of each plan: the third bytes of its seeds, and how many fourth bytes go with each
    "pain": (range(EXPRESSIONS), VIEWS),
    "distractors": (range(FIRST_DISTRACTOR, FIRST_DISTRACTOR + len(DISTRACTORS)), VIEWS),
    "clips": (range(FIRST_CLIP, FIRST_CLIP + trajectories.CLIPS), trajectories.FRAMES),
}
PLANS = tuple(TAKES)
REFERENCE_FRAME = 255  # of a clip: the face at rest before its camera
MAX_ASYMMETRY = 0.12

_NOTHING = (0.0,) * len(AU_NAMES)


def example_seeds(dataset_seed: int, index: int, plan: str) -> list[int]:
    """Seeds of all examples of one identity, in order.

    Raises:
      ValueError: if there is no such plan.
    """
    if plan not in TAKES:
        raise ValueError(f"plan is {plan!r}; expected one of {', '.join(PLANS)}.")
    takes, frames = TAKES[plan]
    return [pack_seed(dataset_seed, index, take, frame) for take in takes for frame in range(frames)]


def frames_per_identity(plan: str) -> int:
    """Number of examples of each identity."""
    return len(example_seeds(0, 0, plan))


def reference_seed(seed: int) -> int:
    """Seed of the neutral frame that goes with an example: same person, same camera, all action units 0.

    The neutral frames' own is a take that is no example, so that it is never a copy of the frame itself.
    """
    dataset_seed, index, take, frame = unpack_seed(seed)
    if take >= FIRST_CLIP:
        return pack_seed(dataset_seed, index, take, REFERENCE_FRAME)
    return pack_seed(dataset_seed, index, REFERENCE_EXPRESSION if take == 0 else 0, frame)


def is_example(seed: int) -> bool:
    """Whether an example has this seed, rather than a neutral reference or nothing."""
    _, _, take, frame = unpack_seed(seed)
    return any(take in takes and frame < frames for takes, frames in TAKES.values())


def needed(seeds: Sequence[int], neutral_variation: bool) -> tuple[list[Scene], list[Scene], list[Scene]]:
    """The scenes of examples, their neutral references, and each of all these once, in order of drawing."""
    scenes = [scene(seed, neutral_variation) for seed in seeds]
    references = [scene(reference_seed(seed)) for seed in seeds]  # still, whatever neutral frames do
    once = sorted({*scenes, *references}, key=lambda s: (s.seed, s.others))  # one expression after the other
    return scenes, references, once


def scenes(dataset_seed: int, index: int, plan: str = "pain") -> list[Scene]:
    """Scenes of all examples of one identity, in order."""
    return [scene(seed) for seed in example_seeds(dataset_seed, index, plan)]


def scene(seed: int, neutral_variation: bool = False) -> Scene:
    """The scene that a packed 64-bit seed names: the `seed` field of an example gives its frame back.

    Args:
      seed: of an example or of a neutral reference.
      neutral_variation: whether a still at rest moves a little (`aus_sampling.resting_variation`). Neutral references
        are asked for without it: nothing moves on them.

    Raises:
      ValueError: if the seed names no frame.
    """
    seed = int(seed)
    if not is_example(seed) and not _is_reference(seed):
        _, _, take, frame = unpack_seed(seed)
        raise ValueError(f"seed {seed} names expression {take}, view {frame}, which no plan has.")
    return _clip_scene(seed) if unpack_seed(seed)[2] >= FIRST_CLIP else _still(seed, neutral_variation)


def _is_reference(seed: int) -> bool:
    _, _, take, frame = unpack_seed(seed)
    return (take == REFERENCE_EXPRESSION and frame < VIEWS) or (take in TAKES["clips"][0] and frame == REFERENCE_FRAME)


def _still(seed: int, neutral_variation: bool) -> Scene:
    dataset_seed, index, take, view = unpack_seed(seed)
    person, take_seed = identity(dataset_seed, index), pack_seed(dataset_seed, index, take)
    kind, name, aus, others = "neutral", "neutral", _NOTHING, ()
    if take >= FIRST_DISTRACTOR:
        kind, name = "distractor", DISTRACTORS[take - FIRST_DISTRACTOR]
        aus, others = distractor(take_seed, name)
    elif 1 <= take < EXPRESSIONS:
        kind = name = "pain"
        aus = aus_sampling.pain_aus(take_seed, aus_sampling.pspi_target(dataset_seed, index, take))
        others = aus_sampling.companions(take_seed)
    elif neutral_variation:
        others = aus_sampling.resting_variation(take_seed)
    return Scene(
        identity=person,
        expression_id=0 if kind == "neutral" else take,
        kind=kind,
        expression=name,
        view=views.view(person.seed, view),
        aus=aus,
        asymmetry=_asymmetry(take_seed),
        others=others,
        light=sessions.light(person.seed, take_seed),  # the views of an expression are of one moment
        room=sessions.room(person.seed),
        lens=sessions.lens(person.seed, seed),
        seed=seed,
    )


def _clip_scene(seed: int) -> Scene:
    dataset_seed, index, take, frame = unpack_seed(seed)
    person, clip_seed, number = identity(dataset_seed, index), pack_seed(dataset_seed, index, take), take - FIRST_CLIP
    if frame == REFERENCE_FRAME:
        moment, position = trajectories.Moment("neutral", "neutral", _NOTHING, ()), None
    else:
        moment = trajectories.clip(clip_seed, dataset_seed, index, number)[frame]
        time = frame / trajectories.FRAMES_PER_SECOND
        position = ClipFrame(trajectories.CLIPS * index + number, frame, time)
    return Scene(
        identity=person,
        expression_id=take,
        kind=moment.kind,
        expression=moment.expression,
        view=views.clip_view(person.seed, number),
        aus=moment.aus,
        asymmetry=_asymmetry(clip_seed),
        others=moment.others,
        light=sessions.light(person.seed, clip_seed),  # one drift for the whole clip: pictures must not flicker
        room=sessions.room(person.seed),
        lens=sessions.lens(person.seed, clip_seed),
        seed=seed,
        clip=position,
    )


def _asymmetry(take_seed: int) -> float:
    return float(stream(take_seed, "asymmetry").uniform(-MAX_ASYMMETRY, MAX_ASYMMETRY))
