"""The gallery: what a configuration draws, to look at before it is built.

    python -m data_gen.gallery --config=full_ict --output=gallery

writes contact sheets (people by demographic cell, action units, rising pain, views, heatmaps, distractors), a clip as
an animated WebP, and the joint tables of action units as text. `painjax gallery` is the same command.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tqdm
from PIL import Image

from data_gen import array_file, plan, statistics
from data_gen.contact_sheet import Cell, decoded, sheet, warm
from data_gen.distractors import DISTRACTORS
from data_gen.generate import takes
from data_gen.generator_config import GeneratorConfig
from data_gen.scene import AGE_GROUPS, CELLS, ETHNICITIES, GENDERS, Identity, Scene, identity, pack_seed
from data_gen.trajectories import CLIPS, FRAMES, FRAMES_PER_SECOND
from data_gen.variants import VARIANTS, Variant
from data_gen.views import VIEWS
from painjax.pspi import AU_MAX, AU_NAMES, PSPI_MAX, pspi

# One way to every other PSPI: its units rise together, and the eyes close at the end.
PAIN = ((0, 0, 0, 0, 0, 0), (1, 1, 0, 0, 0, 0), (1, 2, 1, 1, 1, 0), (2, 2, 2, 2, 1, 0), (3, 3, 2, 2, 2, 0),
        (4, 3, 3, 3, 3, 0), (4, 4, 4, 4, 3, 0), (5, 5, 4, 4, 4, 0), (5, 5, 5, 5, 5, 1))  # fmt: skip
MOST_COUNTED = 500  # identities in the tables


def write(variant: Variant, directory: Path, people: int = 3) -> list[Path]:
    """Draws every sheet into `directory` and returns the files' paths.

    Args:
      variant: which configuration of the data set.
      directory: made if it does not exist.
      people: how many are shown in the sheets of one person a row.
    """
    if people < 1:
        raise ValueError(f"people is {people}; expected at least 1.")
    config = variant.generator
    shown = _varied(config.dataset_seed, people)
    files: dict[str, Callable[[Path], object]] = {
        "people.png": lambda path: _people(config).save(path),
        "action_units.png": lambda path: _action_units(config, shown[0]).save(path),
        "pain.png": lambda path: _pain(config, shown).save(path),
        "views.png": lambda path: _views(config, shown).save(path),
        "distractors.png": lambda path: _distractors(config, shown).save(path),
        "clip.webp": lambda path: _clip(config, shown[0], path),
        "action_units.txt": lambda path: path.write_text("\n".join(_table(variant, each) for each in plan.PLANS)),
    }
    directory.mkdir(parents=True, exist_ok=True)
    bar = tqdm.tqdm(files.items(), desc="gallery", unit="file", file=sys.stderr)
    return [_written(directory / name, save) for name, save in bar]


def _written(path: Path, save: Callable[[Path], object]) -> Path:
    """`path`, once `save` has filled it under another name."""
    partial = path.with_name(f".partial.{path.name}")
    try:
        with array_file.named_errors(path):
            save(partial)
            return partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _table(variant: Variant, of: str) -> str:
    faces = statistics.faces(variant.generator.dataset_seed, range(min(variant.identities, MOST_COUNTED)), of)
    return f"== {of}\n{statistics.table(statistics.statistics(faces))}"


def _varied(dataset_seed: int, count: int) -> list[int]:
    """The first identities of which no two share gender and age group, or ethnicity."""
    found: list[Identity] = []
    for index in itertools.count():
        if len(found) == count or index == CELLS:
            return [person.id for person in found]
        one = identity(dataset_seed, index)
        groups = {(p.gender, p.age_group) for p in found}, {p.ethnicity for p in found}
        if (one.gender, one.age_group) not in groups[0] and one.ethnicity not in groups[1]:
            found.append(one)
    raise AssertionError


def _people(config: GeneratorConfig) -> Image.Image:
    """The first identity of each cell, at rest: gender and age by row, ethnicity by column."""
    cells = {}
    for index in range(CELLS):
        person = identity(config.dataset_seed, index)
        caption = f"{person.age:.0f} years"
        (cell,) = _pictures(config, [_rest(config, index)], lambda _, caption=caption: caption)
        cells[person.gender, person.age_group, person.ethnicity] = cell
    rows = [
        [cells[gender, age, ethnicity] for ethnicity in range(len(ETHNICITIES))]
        for gender in range(len(GENDERS))
        for age in range(len(AGE_GROUPS))
    ]
    return sheet(rows, f"{', '.join(GENDERS)}; {', '.join(AGE_GROUPS)} (rows); {', '.join(ETHNICITIES)} (columns)")


def _action_units(config: GeneratorConfig, person: int) -> Image.Image:
    """Each unit alone, from rest to its maximum."""
    rows = []
    for unit, (name, top) in enumerate(zip(AU_NAMES, AU_MAX, strict=True)):
        levels = [tuple(float(level) if i == unit else 0.0 for i in range(6)) for level in range(int(top) + 1)]
        rest = _rest(config, person)
        rows.append(
            _pictures(config, [_with(rest, aus) for aus in levels], lambda s, i=unit, n=name: f"{n} = {s.aus[i]:g}")
        )
    return sheet(rows, "each action unit alone")


def _pain(config: GeneratorConfig, people: Iterable[int]) -> Image.Image:
    """From PSPI 0 to 16, and the heatmaps below."""
    rows = []
    for person in people:
        rest = _rest(config, person)
        scenes = [_with(rest, tuple(map(float, aus))) for aus in PAIN]
        rows.append(_pictures(config, scenes, lambda s: f"PSPI {pspi(np.array(s.aus)):g} of {PSPI_MAX:g}"))
        rows.append(_pictures(config, scenes, lambda s: f"AUs {' '.join(f'{v:g}' for v in s.aus)}", heat=True))
    return sheet(rows, "rising pain and its heatmap")


def _views(config: GeneratorConfig, people: Iterable[int]) -> Image.Image:
    """The three views of one frame, and their heatmaps."""
    rows = []
    for person in people:
        expressions = [plan.scene(pack_seed(config.dataset_seed, person, 9, view)) for view in range(VIEWS)]
        row = _pictures(config, expressions, lambda s: f"yaw {s.view.yaw:.0f}, pitch {s.view.pitch:.0f} degrees")
        row += _pictures(config, expressions, lambda s: f"heatmap, PSPI {pspi(np.array(s.aus)):g}", heat=True)
        rows.append(row)
    return sheet(rows, "views, and the heatmap of each")


def _distractors(config: GeneratorConfig, people: Iterable[int]) -> Image.Image:
    """Expressions that are no pain, with the PSPI that the formula gives them."""
    rows = []
    for person in people:
        scenes = [
            plan.scene(pack_seed(config.dataset_seed, person, plan.FIRST_DISTRACTOR + i))
            for i in range(len(DISTRACTORS))
        ]
        rows.append(_pictures(config, scenes, lambda s: f"{s.expression}, PSPI {pspi(np.array(s.aus)):g}"))
    return sheet(rows, "no pain: the configurations `distractors`")


def _clip(config: GeneratorConfig, person: int, path: Path) -> None:
    """The most painful clip of a person with its heatmap beside it, repeated without end."""
    clips = [
        [plan.scene(pack_seed(config.dataset_seed, person, plan.FIRST_CLIP + number, i)) for i in range(FRAMES)]
        for number in range(CLIPS)
    ]
    scenes = max(clips, key=lambda clip: max(pspi(np.array(s.aus)) * (s.kind == "pain") for s in clip))
    frames = _pictures(config, scenes, lambda s: f"{s.clip.time:.2f} s  PSPI {pspi(np.array(s.aus)):.1f}")
    heats = _pictures(config, scenes, lambda s: "pain heatmap", heat=True)
    pictures = [sheet([pair]) for pair in zip(frames, heats, strict=True)]
    animated = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / FRAMES_PER_SECOND), "loop": 0}
    pictures[0].save(path, quality=85, **animated)


def _rest(config: GeneratorConfig, person: int) -> Scene:
    return plan.scene(pack_seed(config.dataset_seed, person))


def _with(scene: Scene, aus: tuple[float, ...]) -> Scene:
    return dataclasses.replace(scene, aus=aus, kind="pain" if any(aus) else "neutral")


def _pictures(
    config: GeneratorConfig, scenes: list[Scene], caption: Callable[[Scene], str], heat: bool = False
) -> list[Cell]:
    return [
        Cell(warm(decoded(take["image"]), decoded(take["heatmap"])) if heat else decoded(take["image"]), caption(s))
        for s, take in takes(config, scenes)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="painjax gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="full", choices=VARIANTS, metavar="NAME", help="%(choices)s")
    parser.add_argument("--output", type=Path, default=Path("gallery"), help="folder to write")
    parser.add_argument("--size", type=int, help="side of a frame in pixels; default: the configuration's")
    parser.add_argument("--people", type=int, default=3, help="rows in the sheets of one person a row")
    options = parser.parse_args(arguments)
    variant = VARIANTS[options.config]
    if options.size is not None:
        generator = dataclasses.replace(variant.generator, image_size=options.size)
        variant = dataclasses.replace(variant, generator=generator)
    for path in write(variant, options.output, options.people):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
