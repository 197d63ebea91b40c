"""How well a model does for whom: figures for each demographic group of a data set."""

from typing import NamedTuple

import numpy as np

from painjax.data.sources import FrameSource
from painjax.metrics import Predictions, mae, pcc


class GroupFigures(NamedTuple):
    """PSPI of the frames of one group: mean absolute error and Pearson's correlation (NaN where not defined)."""

    people: int
    frames: int
    mae: float
    pcc: float


def by_group(predictions: Predictions, source: FrameSource) -> dict[str, dict[str, GroupFigures]]:
    """Figures by age group, gender and ethnicity, or whatever groupings the data set has.

    Args:
      predictions: of a split.
      source: that split; no pictures are read.

    Returns:
      {'gender': {'female': figures, ...}, ...}; empty if the data set knows no groups.
    """
    people, first = np.unique(predictions.identity, return_index=True)
    groups = {int(who): source.groups(int(predictions.index[at])) for who, at in zip(people, first, strict=True)}
    groupings = sorted({grouping for found in groups.values() for grouping in found})
    return {grouping: _figures(predictions, {who: groups[who][grouping] for who in groups}) for grouping in groupings}


def _figures(predictions: Predictions, group_of: dict[int, str]) -> dict[str, GroupFigures]:
    groups = np.array([group_of[int(who)] for who in predictions.identity])
    figures = {}
    for group in sorted(set(group_of.values())):
        rows = groups == group
        pspi, truth = predictions.pspi[rows], predictions.pspi_true[rows]
        people = len(np.unique(predictions.identity[rows]))
        figures[group] = GroupFigures(people, int(rows.sum()), mae(pspi, truth), pcc(pspi, truth))
    return figures
