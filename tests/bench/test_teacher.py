import json

import pytest

from painjax import console
from painjax.bench import teacher


@pytest.mark.slow
def test_three_ways_are_measured_and_what_they_mean_is_worked_out():
    settings = {"image_size": 32, "batch_size": 8, "dtype": "float32", "rounds": 2, "seconds": 0.05}
    result = teacher.main("tiny", **settings)
    json.dumps(result, allow_nan=False)
    rates = result["images_per_second"]
    assert set(rates) == {"inside", "stored", "alone"} and min(rates.values()) > 0
    assert result["ratio"] == rates["stored"] / rates["inside"]
    assert result["bytes_read_per_example"] == 2 * 2 * 32 * 2 + 40  # 4 patches of 32 numbers of two bytes
    assert result["bytes_per_example"] == 2 * result["bytes_read_per_example"]
    # What is saved on so many images is what precomputing one costs.
    saved = 1 / rates["inside"] - 1 / rates["stored"]
    if saved > 0:
        assert result["epochs_to_pay"] * saved == pytest.approx(1 / result["precomputed_per_second"])
        assert result["steps_to_pay_per_1000_examples"] == pytest.approx(result["epochs_to_pay"] * 1000 / 8)
    else:
        assert result["epochs_to_pay"] is None


def test_what_it_says():
    result = {
        "images_per_second": {"inside": 100.0, "stored": 150.0, "alone": 160.0},
        "ratio": 1.5,
        "ratio_per_round": {"min": 1.4, "max": 1.6},
        "bytes_per_example": 592,
        "bytes_read_per_example": 296,
        "precomputed_per_second": 200.0,
        "epochs_to_pay": 1.5,
        "steps_to_pay_per_1000_examples": 187.5,
    }
    text = console.bench_teacher_text(result)
    assert "stored outputs" in text and "1.50  (1.40 to 1.60" in text and "after 1.5 passes over the data" in text
    assert "does not pay" in console.bench_teacher_text(result | {"epochs_to_pay": None})


@pytest.mark.slow
def test_a_teacher_has_a_size_of_its_own():
    settings = {"image_size": 32, "batch_size": 8, "dtype": "float32", "rounds": 1, "seconds": 0.05}
    result = teacher.main("tiny", teacher_size="quick", **settings)
    assert result["settings"]["teacher_size"] == "quick"
    assert result["bytes_read_per_example"] == 2 * 2 * 192 * 2 + 40  # patch tokens are the teacher's
