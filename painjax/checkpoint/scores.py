"""How good the model of a checkpoint was on the validation split, and which checkpoint is the best.

The scores lie in the checkpoint, as the validation's summary by dotted names: {'pspi.mae': 1.2, 'aus.AU4.pcc': 0.8}.
"""

import functools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from painjax.files import jsonable, write_atomically
from painjax.metrics import Predictions
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

DEFAULT_METRIC = "pspi.mae"
# What to do with a metric, by the last part of its name. What stands in neither, such as a count, is none.
_LOWER_IS_BETTER = r"mae|rmse"
_HIGHER_IS_BETTER = r"pcc|icc|auroc@\d+|attention_pcc|attention_iou"
_BEFORE_NAMES = {"pspi_mae": "pspi.mae"}  # the only score of earlier versions


@functools.cache
def known_metrics() -> tuple[str, ...]:
    """The names that 'best' can be said by."""
    nobody = np.zeros(0)
    flat = {name: nobody for name in ("pspi", "pspi_true", "heatmap_pcc", "attention_pcc", "attention_iou")}
    per_unit, whole = np.zeros((0, len(AU_NAMES))), np.zeros(0, int)
    thresholds = np.zeros((0, len(PSPI_THRESHOLDS)))
    empty = Predictions(
        index=whole, identity=whole, aus=per_unit, aus_true=per_unit, threshold_probability=thresholds, **flat
    )
    names = dotted(empty.summary())
    return tuple(n for n in names if re.fullmatch(f"{_LOWER_IS_BETTER}|{_HIGHER_IS_BETTER}", n.split(".")[-1]))


def goodness(scores: Mapping[str, float | None], metric: str) -> float:
    """What the best checkpoint has most of; -infinity for one that has not been validated, or whose metric is undefined
    there."""
    value = scores.get(metric)
    if value is None:
        return -math.inf
    return -value if re.fullmatch(_LOWER_IS_BETTER, metric.split(".")[-1]) else value


def best(checkpoints: Mapping[int, Mapping[str, float | None]], metric: str) -> int:
    """The step with the best scores; of equals, such as steps that were never validated, the last one."""
    return max(checkpoints, key=lambda step: (goodness(checkpoints[step], metric), step))


def read_scores(checkpoint: Path) -> dict[str, float | None]:
    """The scores of a checkpoint; {} if it has not been validated. Where they cannot be read, its weights still may be:
    it counts as not validated."""
    if not _file(checkpoint).is_file():
        return {}
    try:
        scores = dict(json.loads(_file(checkpoint).read_text()))
    except (OSError, ValueError, TypeError) as error:
        logging.warning("The scores of %s cannot be read (%s); it counts as not validated.", checkpoint, error)
        return {}
    return {_BEFORE_NAMES.get(name, name): value for name, value in jsonable(scores).items()}


def write_scores(checkpoint: Path, summary: Mapping[str, Any]) -> None:
    """Writes the summary of a validation into the checkpoint of the model that was validated."""
    write_atomically(_file(checkpoint), json.dumps(jsonable(dotted(summary)), allow_nan=False))


def dotted(summary: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """{'pspi': {'mae': 1.0}} -> {'pspi.mae': 1.0}."""
    flat = {}
    for name, value in summary.items():
        flat |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _file(checkpoint: Path) -> Path:
    return checkpoint / "metrics" / "metrics"
