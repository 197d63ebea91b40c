import pytest
from ml_collections import ConfigDict

from painjax import meter


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    monkeypatch.setattr(meter, "time", clock := Clock())
    return clock


def test_speed_leaves_out_compilation_and_validation(clock):
    watch = meter.Meter(ConfigDict({"batch_size": 16, "steps": 100}), 10, devices=4, peak_images_per_s=80.0)
    for seconds in (30.0, 1.0):  # the first one compiles
        with watch.waiting():
            clock.now += 0.25
        with watch.stepping():
            clock.now += seconds
        clock.now += 0.5
    with watch.paused():
        clock.now += 7.0
    # Two steps of 16 in 2 * 0.25 + 1 + 2 * 0.5 seconds.
    assert watch.read(12) == {
        "images_per_s": 12.8,
        "examples_per_s_per_device": 3.2,
        "mfu": 0.16,
        "data_wait": 0.2,
        "eta_s": 88 * 1.25,
    }
    clock.now += 4.0
    reading = watch.read(16)  # since the last one only
    assert reading["images_per_s"] == 16.0 and reading["data_wait"] == 0.0


def test_without_a_known_peak_there_is_no_mfu(clock):
    watch = meter.Meter(ConfigDict({"batch_size": 8, "steps": 2}), 0, devices=1, peak_images_per_s=None)
    clock.now += 1.0
    assert watch.read(1)["mfu"] is None
