"""Metrics against the authors' golden numbers, scikit-learn, and formulas written out a second way."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from painjax import metrics
from painjax.metrics import Predictions


def test_matches_the_authors(shared):
    golden = json.loads((shared / "golden" / "official_metrics.json").read_text())
    data = np.load(shared / "golden" / "official_metrics_io.npz")
    prediction, truth = data["test_pred"], data["test_true"]
    assert metrics.pcc(prediction, truth) == pytest.approx(golden["pcc"], abs=1e-12)
    for k in (1, 2, 3):  # theirs passed through float32
        assert metrics.auroc(prediction, truth >= k) == pytest.approx(golden[f"auroc@{k}"], abs=1e-7)


def test_icc_is_the_anova_of_shrout_and_fleiss():
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    b = 0.7 * a + rng.normal(size=50) * 0.3 + 2
    n, x = 50, np.stack([a, b], 1)
    bms = 2 * ((x.mean(1) - x.mean()) ** 2).sum() / (n - 1)
    jms = n * ((x.mean(0) - x.mean()) ** 2).sum() / 1
    ems = (((x - x.mean()) ** 2).sum() - bms * (n - 1) - jms) / (n - 1)
    assert metrics.icc(a, b) == pytest.approx((bms - ems) / (bms + ems), rel=1e-10)
    # For two raters it equals covariance over mean variance.
    assert metrics.icc(a, b) == pytest.approx(
        2 * np.cov(a, b)[0, 1] / (np.var(a, ddof=1) + np.var(b, ddof=1)), rel=1e-10
    )


def test_icc_sees_what_correlation_does_not():
    x = np.arange(10.0)
    assert metrics.icc(x, x + 5) == pytest.approx(1)  # consistency: a constant offset of a rater does not count
    assert metrics.pcc(0.1 * x, x) == pytest.approx(1) and metrics.icc(0.1 * x, x) < 0.3
    assert metrics.icc(x, -x) == pytest.approx(-1)


@pytest.mark.parametrize("levels", [3, 10, 10**6])
def test_auroc_with_ties(levels):
    rng = np.random.default_rng(levels)
    score, positive = rng.integers(levels, size=200).astype(float), rng.random(200) < 0.3
    pairs = score[positive][:, None] - score[~positive][None, :]
    by_definition = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert metrics.auroc(score, positive) == pytest.approx(by_definition, rel=1e-12)
    assert metrics.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), rel=1e-12)


def test_errors():
    prediction, truth = np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 1.0])
    assert metrics.mae(prediction, truth) == pytest.approx(2)
    assert metrics.rmse(prediction, truth) == pytest.approx(np.sqrt((0 + 4 + 16) / 3))


def test_undefined_is_nan():
    one, constant, ramp = np.array([3.0]), np.full(5, 2.0), np.arange(5.0)
    assert np.isnan(metrics.pcc(one, one)) and np.isnan(metrics.icc(one, one))
    assert np.isnan(metrics.pcc(constant, ramp)) and np.isnan(metrics.pcc(ramp, constant))
    assert np.isnan(metrics.icc(constant, constant))
    assert np.isnan(metrics.auroc(ramp, np.ones(5, bool))) and np.isnan(metrics.auroc(ramp, np.zeros(5, bool)))
    assert np.isnan(metrics.mae(np.zeros(0), np.zeros(0)))
    assert np.isnan(metrics.auroc(np.array([1.0, np.nan]), np.array([True, False])))


def test_metrics_do_not_broadcast():
    for metric in (metrics.mae, metrics.rmse, metrics.pcc, metrics.icc):
        with pytest.raises((ValueError, TypeError)):
            metric(np.zeros(3), np.zeros(1))
        with pytest.raises((ValueError, TypeError)):
            metric(np.zeros((3, 1)), np.zeros((3, 1)))


def test_constant_baseline_is_the_best_constant_of_the_training_labels():
    train, test = np.array([0.0, 0.0, 1.0, 8.0, 9.0]), np.array([0.0, 2.0, 9.0])
    baseline = metrics.constant_baseline(train, test)
    assert baseline == pytest.approx({"mae": 10 / 3, "rmse": np.sqrt(np.mean((test - 3.6) ** 2)), "value": 1.0})
    on_train = metrics.constant_baseline(train, train)
    grid = np.linspace(0, 16, 1601)
    assert on_train["mae"] == pytest.approx(min(np.mean(np.abs(train - c)) for c in grid))
    assert on_train["rmse"] == pytest.approx(min(np.sqrt(np.mean((train - c) ** 2)) for c in grid))


def test_patch_alignment():
    heat = np.array([[0, 0, 4, 2.0], [0, 0, 0, 0], [1, 0, 0, 0]])
    attention = np.array([[0.1, 0.5, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]])
    correlation, overlap = metrics.patch_alignment(attention, heat)
    assert correlation[0] == pytest.approx(np.corrcoef(attention[0], heat[0])[0, 1])
    assert np.isnan(correlation[1]) and np.isnan(overlap[1])  # a neutral face has nothing to look at
    assert overlap[0] == pytest.approx(1 / 3)  # hot {2, 3}, attended {1, 2}
    assert correlation[2] == pytest.approx(1) and overlap[2] == 1


def draw_predictions(n, seed=0, start=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 17, n).astype(np.float32)
    return Predictions(
        index=np.arange(start, start + n),
        identity=np.arange(n) // 4,
        pspi=np.clip(truth + rng.normal(size=n), 0, 16).astype(np.float32),
        pspi_true=truth,
        aus=rng.uniform(0, 5, (n, 6)).astype(np.float32),
        aus_true=rng.integers(0, 2, (n, 6)).astype(np.float32),
        threshold_probability=rng.random((n, 3)).astype(np.float32),
        heatmap_pcc=np.where(truth > 0, rng.random(n), np.nan),
        attention_pcc=np.where(truth > 0, rng.random(n), np.nan),
        attention_iou=np.where(truth > 0, rng.random(n), np.nan),
    )


def rows(predictions, keep):
    return Predictions(**{name: values[keep] for name, values in vars(predictions).items()})


def test_merging_in_any_order_changes_nothing():
    whole = draw_predictions(40)
    parts = [rows(whole, np.arange(40) % 3 == i) for i in (2, 0, 1)]
    merged = Predictions.merge([*parts, parts[0]])  # a part that arrives twice counts once
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(merged, name), values)
    assert len(merged) == 40
    with pytest.raises(ValueError, match="no predictions"):
        Predictions.merge([])


def test_summary_has_every_metric_on_all_examples():
    predictions = draw_predictions(40)
    summary = predictions.summary()
    assert list(summary["pspi"]) == ["mae", "rmse", "pcc", "icc", "auroc@1", "auroc@2", "auroc@3"]
    assert summary["pspi"]["mae"] == pytest.approx(np.abs(predictions.pspi - predictions.pspi_true).mean(), rel=1e-6)
    assert summary["aus"]["AU43"]["prevalence"] == pytest.approx((predictions.aus_true[:, 5] > 0).mean())
    assert summary["heatmap"]["n"] == (predictions.pspi_true > 0).sum()
    assert summary["heatmap"]["pcc"] == pytest.approx(np.nanmean(predictions.heatmap_pcc))


def test_saved_predictions_come_back(tmp_path):
    predictions = draw_predictions(7)
    predictions.save(tmp_path / "predictions_test.npz")
    back = Predictions.load(tmp_path / "predictions_test.npz")
    for name, values in vars(predictions).items():
        np.testing.assert_array_equal(getattr(back, name), values)
    assert [p.name for p in tmp_path.iterdir()] == ["predictions_test.npz"]
