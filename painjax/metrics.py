"""Metrics of predicted pain, in NumPy float64, on whole splits.

Correlation and ranking metrics are no averages of batch values: `Predictions` keeps every example and is concatenated.
A metric that its data do not define (a correlation with a constant, an AUROC without positives) is NaN, never 0.
"""

import dataclasses
import io
import os
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int

from painjax.files import write_atomically
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

Values = Float[np.ndarray, "N"]


def mae(prediction: Values, truth: Values) -> float:
    """Mean absolute error, in the unit of the values."""
    return _mean(np.abs(_float64(prediction, truth)[0] - truth))


def rmse(prediction: Values, truth: Values) -> float:
    """Root of the mean squared error, in the unit of the values."""
    return float(np.sqrt(_mean((_float64(prediction, truth)[0] - truth) ** 2)))


def pcc(prediction: Values, truth: Values) -> float:
    """Pearson's correlation, -1..1; NaN for fewer than two values or a constant."""
    x, y = _float64(prediction, truth)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y)))


def icc(prediction: Values, truth: Values) -> float:
    """ICC(3,1): consistency of two fixed raters, single measure; at most 1, NaN for fewer than two examples.

    Source: Shrout & Fleiss, "Intraclass correlations", Psychological Bulletin 86 (1979): two-way mixed model,
    (BMS - EMS) / (BMS + (k - 1) EMS) with k = 2.
    """
    ratings = np.stack(_float64(prediction, truth), axis=1)  # [N, 2]
    n, k = ratings.shape
    if n < 2:
        return float("nan")
    total = ratings.mean()
    between = k * np.sum((ratings.mean(axis=1) - total) ** 2) / (n - 1)
    residual = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0, keepdims=True) + total
    error = np.sum(residual**2) / ((n - 1) * (k - 1))
    spread = between + (k - 1) * error
    return float((between - error) / spread) if spread > 0 else float("nan")


def auroc(score: Values, positive: Bool[np.ndarray, "N"]) -> float:
    """Chance that a positive example scores above a negative one, ties counting half.

    NaN without both kinds, or if a score is NaN.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives or np.isnan(score).any():
        return float("nan")
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[group]  # 1-based, tied scores share their mean rank
    return float((rank[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model said about each example of a split, beside the truth: the mergeable state of all metrics.

    Predictions are clipped to the range of their quantity. `threshold_probability` is the model's own probability of
    PSPI >= 1, 2, 3. The last three compare per patch with the true pain heatmap; NaN where the heatmap is empty.
    """

    index: Int[np.ndarray, "N"]  # position in the split
    identity: Int[np.ndarray, "N"]
    pspi: Float[np.ndarray, "N"]
    pspi_true: Float[np.ndarray, "N"]
    aus: Float[np.ndarray, "N A"]
    aus_true: Float[np.ndarray, "N A"]
    threshold_probability: Float[np.ndarray, "N T"]
    heatmap_pcc: Float[np.ndarray, "N"]  # predicted heatmap against the true one
    attention_pcc: Float[np.ndarray, "N"]  # AU attention, weighted by the true intensities, against the true heatmap
    attention_iou: Float[np.ndarray, "N"]  # of the hot patches and as many most attended ones

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def merge(cls, parts: Iterable["Predictions"]) -> "Predictions":
        """All parts as one, in the order of `index`; an index that two parts hold is kept once.

        Raises:
          ValueError: if there is no part.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("There are no predictions to merge: the split gave no batch.")
        joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(cls)}
        order = np.unique(joined["index"], return_index=True)[1]
        return cls(**{name: values[order] for name, values in joined.items()})

    def save(self, path: str | os.PathLike) -> None:
        """Writes all arrays to `path` (.npz), whole or not at all."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Predictions":
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{f.name: arrays[f.name] for f in dataclasses.fields(cls)})

    def summary(self) -> dict:
        """The metrics: `pspi` {mae, rmse, pcc, icc, auroc@1, @2, @3}, `aus` {AU4: {mae, pcc, icc, prevalence}, ...} and
        `heatmap` {pcc, attention_pcc, attention_iou, n}. AUROC ranks by the predicted PSPI, as the field does."""
        ranking = {f"auroc@{k}": auroc(self.pspi, self.pspi_true >= k) for k in PSPI_THRESHOLDS}
        aus = {}
        for i, name in enumerate(AU_NAMES):
            prediction, truth = self.aus[:, i], self.aus_true[:, i]
            aus[name] = agreement(prediction, truth, ("mae", "pcc", "icc")) | {"prevalence": _mean(truth > 0)}
        defined = np.isfinite(self.heatmap_pcc)
        return {
            "pspi": agreement(self.pspi, self.pspi_true, ("mae", "rmse", "pcc", "icc")) | ranking,
            "aus": aus,
            "heatmap": {
                "pcc": _mean(self.heatmap_pcc[defined]),
                "attention_pcc": _mean(self.attention_pcc[np.isfinite(self.attention_pcc)]),
                "attention_iou": _mean(self.attention_iou[np.isfinite(self.attention_iou)]),
                "n": int(defined.sum()),
            },
        }


def agreement(prediction: Values, truth: Values, names: Iterable[str]) -> dict[str, float]:
    """The metrics of `names` (mae, rmse, pcc, icc) as a dict."""
    functions = {"mae": mae, "rmse": rmse, "pcc": pcc, "icc": icc}
    return {name: functions[name](prediction, truth) for name in names}


def constant_baseline(train_truth: Float[np.ndarray, "M"], truth: Values) -> dict[str, float]:
    """The best that a constant learned on the training labels does on `truth`: what a useful model must beat.

    The median is best for the absolute error (`value`, `mae`), the mean for the squared one (`rmse`).
    """
    if not len(train_truth):
        raise ValueError("There are no training labels to take a constant from.")
    median, mean = float(np.median(train_truth)), float(np.mean(train_truth))
    truth = np.asarray(truth, np.float64)
    return {
        "mae": mae(np.full_like(truth, median), truth),
        "rmse": rmse(np.full_like(truth, mean), truth),
        "value": median,
    }


def patch_alignment(
    prediction: Float[np.ndarray, "N P"], heat: Float[np.ndarray, "N P"]
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """How well a map over the patches lies on the true heat, for each example; NaN where there is no heat.

    Returns:
      Pearson's correlation over the patches; and the intersection over union of the hot patches (at least half of the
      hottest) and as many highest patches of `prediction`. Chance is about 0 for the first.
    """
    if prediction.shape != heat.shape:
        raise ValueError(f"Maps of shape {prediction.shape} and {heat.shape} differ; expected the same patches.")
    correlation, overlap = np.full(len(heat), np.nan), np.full(len(heat), np.nan)
    for i in np.flatnonzero(heat.max(axis=1, initial=0) > 0):
        correlation[i] = pcc(prediction[i], heat[i])
        hot = heat[i] >= heat[i].max() / 2
        best = np.zeros_like(hot)
        best[np.argsort(-prediction[i], kind="stable")[: hot.sum()]] = True
        overlap[i] = np.sum(hot & best) / np.sum(hot | best)
    return correlation, overlap


def _float64(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if prediction.shape != truth.shape or prediction.ndim != 1:
        raise ValueError(
            f"Shapes {prediction.shape} and {truth.shape} are not two equal lists; metrics do not broadcast."
        )
    return np.asarray(prediction, np.float64), np.asarray(truth, np.float64)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
