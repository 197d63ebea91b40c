"""How light the painted people are: `python -m data_gen.textures.ita_table --people=20`.

Prints, for every cell of age x gender x ethnicity and for each ethnicity, the individual typology angle (`tone`) of the
painted skin of cheeks and forehead: mean, deviation and the 5th and 95th percentile over people.
"""

import argparse
import dataclasses
import itertools
import sys

import numpy as np

from data_gen import face_models
from data_gen.scene import AGE_GROUPS, CELLS, ETHNICITIES, GENDERS, Identity, identity
from data_gen.textures.anatomy import Anatomy, locate
from data_gen.textures.atlas import bake
from data_gen.textures.skin import skin
from data_gen.textures.skin_ground import SkinGround
from data_gen.textures.tone import typology_angle

SIZE = 128  # of the atlas: enough for an average


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row: the names of a group and the angles of its people, degrees."""

    ethnicity: str
    gender: str
    age_group: str
    angles: np.ndarray


def ground_of(face_model: str, size: int = SIZE) -> SkinGround:
    """What `angle` measures on: the texels of a face model's atlas."""
    topology = face_models.load(face_model).topology
    atlas = bake(topology, size)
    return SkinGround(locate(topology, atlas.positions, atlas.normals))


def angle(person: Identity, ground: SkinGround) -> float:
    """The individual typology angle of the average colour of a person's cheeks and forehead, in degrees."""
    color = skin(person, ground).color()
    return float(typology_angle(color[_bare(ground.face)].mean(0, dtype=np.float64)))


def table(face_model: str, people: int, dataset_seed: int = 0) -> list[Cell]:
    """The angles of the first `people` identities of every cell of a data set, cell by cell."""
    ground = ground_of(face_model)
    angles: dict[tuple[int, int, int], list[float]] = {}
    for index in range(people * CELLS):  # every cell is visited once in so many identities
        person = identity(dataset_seed, index)
        cell = person.ethnicity, person.gender, person.age_group
        angles.setdefault(cell, []).append(angle(person, ground))
    return [Cell(ETHNICITIES[e], GENDERS[g], AGE_GROUPS[a], np.array(v)) for (e, g, a), v in sorted(angles.items())]


def _bare(face: Anatomy) -> np.ndarray:
    x, y, _ = face.points.T
    cheek = (np.abs(np.abs(x) - 38) < 9) & (np.abs(y + 36) < 8)
    forehead = (np.abs(x) < 22) & (np.abs(y - 42) < 9)
    return (cheek | forehead) & (face.front > 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10, help="people per cell")
    parser.add_argument("--face_model", choices=face_models.FACE_MODELS, default="procedural")
    options = parser.parse_args()
    cells = table(options.face_model, options.people)
    lines = [f"{'ethnicity':16}{'gender':9}{'age':9}{'mean':>7}{'dev.':>7}{'5 %':>7}{'95 %':>7}   ITA, degrees"]
    groups = [
        Cell(name, "all", "all", np.concatenate([cell.angles for cell in members]))
        for name, members in itertools.groupby(cells, lambda cell: cell.ethnicity)
    ]
    for cell in cells + groups:
        numbers = (cell.angles.mean(), cell.angles.std(), *np.percentile(cell.angles, (5, 95)))
        lines.append(
            f"{cell.ethnicity:16}{cell.gender:9}{cell.age_group:9}" + "".join(f"{value:7.1f}" for value in numbers)
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
