"""Figures by demographic group are those of the group's own frames."""

import dataclasses

import numpy as np
import pytest

from painjax.data.sources import FrameSource
from painjax.demographics import by_group
from tests.test_metrics import draw_predictions


@pytest.fixture(scope="module")
def predictions(synthetic_dataset):
    """Made-up predictions for the test split's frames, in another order."""
    source = FrameSource("pain3d/quick", "test", (), str(synthetic_dataset))
    drawn, order = draw_predictions(len(source)), np.random.default_rng(0).permutation(len(source))
    people = np.array([source[int(i)]["identity"] for i in order], np.int32)
    return dataclasses.replace(drawn, index=order.astype(np.int32), identity=people), source


def test_figures_of_each_group(predictions):
    predictions, source = predictions
    found = by_group(predictions, source)
    assert list(found) == ["gender"] and list(found["gender"]) == ["female", "male"]
    for group, parity in (("female", 0), ("male", 1)):
        rows = predictions.identity % 2 == parity  # as the stand-in data set draws them
        error = np.abs(predictions.pspi[rows] - predictions.pspi_true[rows]).mean()
        figures = found["gender"][group]
        assert (figures.people, figures.frames) == (len(set(predictions.identity[rows].tolist())), rows.sum())
        assert figures.mae == pytest.approx(error, rel=1e-6)
        assert figures.pcc == pytest.approx(np.corrcoef(predictions.pspi[rows], predictions.pspi_true[rows])[0, 1])


def test_a_data_set_without_groups_has_no_figures(predictions, monkeypatch):
    predictions, source = predictions
    monkeypatch.setattr(source, "_groupings", {})
    assert by_group(predictions, source) == {}
