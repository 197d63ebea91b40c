"""What a plan shows, counted without rendering: `python -m data_gen.statistics --plan=pain --identities=500`."""

import argparse
import dataclasses
import sys
from collections.abc import Iterable

import numpy as np

from data_gen.plan import EXPRESSION_NAMES, PLANS, example_seeds, scene
from data_gen.rig import OTHER_AUS
from data_gen.scene import Scene, unpack_seed
from painjax.pspi import AU_NAMES, PSPI_MAX, pspi

LEVELS = 6  # FACS intensities 0, A..E


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Counts over faces: expressions, not pictures, for the views of an expression show the same face.

    Attributes:
      levels: (6, 6) faces with each unit of `AU_NAMES` (rows) at each intensity (columns), fractions rounded.
      together: (6, 6) faces that show both of two units; on the diagonal, the one.
      correlation: (6, 6) of the intensities; NaN where a unit never changes.
      pspi: (17,) faces by PSPI, rounded.
      others: (10,) faces that show each unit of `rig.OTHER_AUS`.
      expressions: (E,) faces by name, in the order of `plan.EXPRESSION_NAMES`.
    """

    levels: np.ndarray
    together: np.ndarray
    correlation: np.ndarray
    pspi: np.ndarray
    others: np.ndarray
    expressions: np.ndarray


def statistics(scenes: Iterable[Scene]) -> Statistics:
    """Counts of scenes, one for each face."""
    scenes = list(scenes)
    aus = np.array([s.aus for s in scenes])  # [N, 6]
    shown = aus > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(aus, rowvar=False)
    names = [s.expression for s in scenes]
    return Statistics(
        levels=(np.round(aus)[:, :, None] == np.arange(LEVELS)).sum(0),
        together=shown.astype(int).T @ shown.astype(int),
        correlation=correlation,
        pspi=np.bincount(np.round(pspi(aus)).astype(int), minlength=int(PSPI_MAX) + 1),
        others=np.array([sum(name in dict(s.others) for s in scenes) for name in OTHER_AUS]),
        expressions=np.array([names.count(name) for name in EXPRESSION_NAMES]),
    )


def faces(dataset_seed: int, identities: Iterable[int], plan: str) -> list[Scene]:
    """One scene for each face of a plan: of a clip every frame, of an expression its first view."""
    seeds = (seed for index in identities for seed in example_seeds(dataset_seed, index, plan))
    return [scene(seed) for seed in seeds if plan == "clips" or unpack_seed(seed)[3] == 0]


def table(counts: Statistics) -> str:
    """The counts as text."""
    total = counts.pspi.sum()
    lines = [f"{total} faces", "", "intensity" + "".join(f"{level:>8}" for level in range(LEVELS))]
    lines += [
        f"{name:<9}" + "".join(f"{n / total:8.1%}" for n in row)
        for name, row in zip(AU_NAMES, counts.levels, strict=True)
    ]
    header = "".join(f"{name:>8}" for name in AU_NAMES)
    lines += ["", "shown with" + header]
    lines += [
        f"{name:<10}" + "".join(f"{n / total:8.1%}" for n in row)
        for name, row in zip(AU_NAMES, counts.together, strict=True)
    ]
    lines += ["", "correlation" + header]
    lines += [
        f"{name:<11}" + "".join(f"{r:8.2f}" for r in row)
        for name, row in zip(AU_NAMES, counts.correlation, strict=True)
    ]
    lines += ["", "PSPI  " + "  ".join(f"{score}: {n / total:.1%}" for score, n in enumerate(counts.pspi) if n)]
    for title, names, row in (("others", OTHER_AUS, counts.others), ("faces", EXPRESSION_NAMES, counts.expressions)):
        lines += [f"{title}  " + "  ".join(f"{name} {n / total:.1%}" for name, n in zip(names, row, strict=True) if n)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="pain")
    parser.add_argument("--identities", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="dataset seed")
    options = parser.parse_args()
    sys.stdout.write(table(statistics(faces(options.seed, range(options.identities), options.plan))))


if __name__ == "__main__":
    main()
